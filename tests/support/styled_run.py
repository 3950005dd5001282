"""The recorded healthy run as if its model had other habits, and what the judge says of it.

    .venv/bin/python tests/support/styled_run.py "near-ties in answers" --shares 0.02 1
    .venv/bin/python tests/support/styled_run.py "20b" --seeds 0 1 2 --parts chat tools
    .venv/bin/python tests/support/styled_run.py all --shares 0.02 0.05 0.2 1 --failing

Names are those of habits and mixtures (`harness/selftest/habits.py`), or `all`. A line has the
name, share, seed, part, verdict and accused components; each further line a rule that failed (F) or
warned (W), its failures of the applicable replies, and the message of its first finding. A server
is not at fault for what its model writes: neither may be there. `--failing` leaves out what has
neither.
"""

import argparse
import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache

from corpus import Judgement, Recorded, healthy

from harness.selftest.habits import HABITS, MIXTURES, Habit, shares_of
from harness.selftest.styles import HealthyReplies, Style, styled
from harness.tasks.attempt_order import planned_attempts
from reference_engine.prescribed import PrescribedServer

PARTS = {
    "whole": {},
    "chat": {"apis": ("chat",)},
    "responses": {"apis": ("responses",)},
    "streaming": {"modes": ("streaming",)},
    "non-streaming": {"modes": ("non-streaming",)},
    "tools": {"suite": "tools"},
    "100": {},
}


@cache
def _replies() -> HealthyReplies:
    run = healthy()
    return HealthyReplies({one.id: one for one in planned_attempts(run.tasks)}, run.rollouts)


@cache
def part_of(name: str) -> Recorded:
    """Return a part of the recorded run, with its replies scored."""
    run = healthy()
    if not run.scored:
        run.judged()
    if name == "100":
        return replace(run, rollouts=run.rollouts[:100])
    return run.with_settings(**PARTS[name]) if PARTS[name] else run


def judged(shares: Mapping[Habit, float], run: Recorded, seed: int = 0) -> Judgement:
    """Judge a part of the recorded run whose model has habits in shares of its replies."""
    style = styled(_replies(), run.rollouts, Style(shares, seed), PrescribedServer())
    return run.judged(asyncio.run(style))


def lines(judgement: Judgement) -> Iterator[str]:
    """Yield what accuses the server."""
    for result in judgement.analysis.checks:
        if result.status in ("failed", "warned"):
            first = result.examples[0].message if result.examples else ""
            share = f"{result.failures} of {result.applicable}"
            yield f"    {result.status[0].upper()} {result.check.id} {share}: {first}"


def main() -> None:
    """Judge each style and print what is said of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Text)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.05])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["whole"])
    parser.add_argument("--failing", action="store_true")
    options = parser.parse_args()
    named = {
        name: [(share, shares_of([name], share)) for share in options.shares] for name in HABITS
    }
    named |= {name: [("", MIXTURES[name])] for name in MIXTURES}
    names = [*HABITS, *MIXTURES] if options.names == ["all"] else options.names
    styles = ((name, share, shares) for name in names for share, shares in named[name])
    for name, share, shares in styles:
        for seed in options.seeds:
            for part in options.parts:
                judgement = judged(shares, part_of(part), seed)
                found = list(lines(judgement))
                if found or judgement.causes or not options.failing:
                    causes = ", ".join(judgement.causes)
                    print(f"{name} | {share} | {seed} | {part} | {judgement.verdict} | {causes}")
                    print(*found, sep="\n" if found else "", flush=True)


_Text = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    main()
