"""The rates of rare defects that a run detects: the table of docs/rare-defects.md for any run.

    python benchmarks/detectable.py RUN

RUN is the folder of a judged run. For each rule, the table has the number of attempts that the rule
judged, and the smallest share of affected attempts that this number detects with a probability of
90 %, for defects that affect attempts independently.
"""

import math
import sys
from pathlib import Path

from scipy.special import betaincinv

from harness.errors import RunLogError
from harness.probes.rule_results import RULES
from harness.run.run_folder import read_analysis
from harness.statistics.rates import LEVEL, at_least

DEFECTS = {
    "reply.id.shared": "only a server can cause it: an id of another request",
    "chat.schema": "a violated schema in Chat Completions",
    "responses.schema": "a violated schema in Responses",
    "reply.empty": "an empty answer",
    "chat.reasoning.missing": "no CoT in a first reply in Chat Completions",
    "responses.reasoning.missing": "no CoT in a first reply in Responses",
    "reasoning.missing.after_result": "no CoT after a tool result",
    "calls.name.unknown": "a call of an unknown tool",
    "calls.arguments.json": "arguments that are not JSON",
    "stream.cut": "a stream that is cut",
    "request.failed": "a request that fails",
    "state.previous_response": "a stored response that is lost",
}
"""Rules for rare defects, and the defects that they find."""


POWER = 0.9  # probability with which a stated rate is detected


def detectable(trials: int, rate: float = 0.0) -> float | None:
    """The smallest rate of a defect that this many trials detect with probability `POWER`.

    `rate` is the maximum rate that the model causes; if it is 0, one occurrence proves a defect.
    The result is rounded up to 9 digits; None if even a rate of 1 is not detected.
    """
    for hits in range(1, trials + 1):
        if at_least(hits, trials, rate) <= LEVEL:
            least: float = betaincinv(hits, trials - hits + 1, POWER)
            return math.ceil(least * 1e9) / 1e9
    return None


def main() -> None:
    """Print the table as Markdown."""
    if len(sys.argv) != 2:
        sys.exit("Give the folder of a run: python benchmarks/detectable.py runs/NAME")
    try:
        analysis = read_analysis(Path(sys.argv[1]))
    except RunLogError as error:
        sys.exit(f"{error}")
    judged = {result.check.id: result.applicable for result in analysis.checks}
    sys.stdout.write("| defect | rule | judged | detected share |\n| --- | --- | ---: | ---: |\n")
    for rule, defect in DEFECTS.items():
        trials = judged.get(rule) or 0
        share = detectable(trials, RULES[rule].tolerated) if trials else None
        shown = "none" if share is None else f"{share:.1%}"
        sys.stdout.write(f"| {defect} | `{rule}` | {trials} | {shown} |\n")


if __name__ == "__main__":
    main()
