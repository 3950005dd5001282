"""The recorded healthy run as if its model had other habits, and what the judge says of it.

    .venv/bin/python tests/support/styled_run.py "near-ties in answers" --shares 0.02 1
    .venv/bin/python tests/support/styled_run.py 20b --seeds 0 1 2 --parts chat "tool cases"
    .venv/bin/python tests/support/styled_run.py slips --samples 1 2 --seeds 0 1
    .venv/bin/python tests/support/styled_run.py all --shares 0.02 0.05 0.2 1 --failing

Names are those of habits, slips and mixtures (`harness/selftest/habits.py`), or `all` or `slips`.
With `--samples`, so many samples have a habit, in each of their tries. A line has the
name, share, seed, part, verdict and accused components; each further line a rule that failed (F) or
warned (W), its failures of the applicable replies, and the message of its first finding. A server
is not at fault for what its model writes: neither may be there. `--failing` leaves out what has
neither.
"""

import argparse
from collections.abc import Iterator
from functools import cache
from itertools import product

from corpus import healthy

from harness.records.analysis import Analysis
from harness.selftest.habits import HABITS, MIXTURES, SLIPS, ModelHabit
from harness.selftest.styles import PARTS, Style, StyledRun
from reference_engine.prescribed import PrescribedServer


@cache
def styled_run() -> StyledRun:
    """Return the recorded healthy run, to be judged in other styles."""
    return StyledRun(healthy(), PrescribedServer)


def accusations(analysis: Analysis) -> Iterator[str]:
    """Yield what accuses the server: a line for each rule."""
    for result in analysis.checks:
        if result.status in ("failed", "warned"):
            first = result.examples[0].message if result.examples else ""
            share = f"{result.failures} of {result.applicable}"
            yield f"{result.status[0].upper()} {result.check.id} {share}: {first}"


def main() -> None:
    """Judge each style and print what is said of it."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.05])
    parser.add_argument("--samples", nargs="+", type=int, default=[])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["whole"])
    parser.add_argument("--failing", action="store_true")
    options = parser.parse_args()
    several = {"all": [*HABITS, *MIXTURES], "slips": [*SLIPS]}
    names = [name for given in options.names for name in several.get(given, [given])]
    known = HABITS | SLIPS
    shares: list[tuple[str, object, dict[ModelHabit, float], int | None]] = []
    for name in names:
        if name in MIXTURES:
            shares.append((name, "mixture", {**MIXTURES[name]}, None))
        elif options.samples:
            shares += [(name, f"{n} samples", {known[name]: 1.0}, n) for n in options.samples]
        else:
            shares += [(name, share, {known[name]: share}, None) for share in options.shares]
    for name, share, habits, samples in shares:
        for seed, part in product(options.seeds, options.parts):
            style = Style(habits, seed, part, samples)
            analysis = styled_run().judged(style)
            found = list(accusations(analysis))
            causes = analysis.diagnosis.causes if analysis.diagnosis else ()
            if found or causes or not options.failing:
                head = (name, share, style.seed, style.part, analysis.verdict.decision)
                print(*head, ", ".join(cause.component for cause in causes), sep=" | ")
                print(*(f"    {line}\n" for line in found), sep="", end="", flush=True)


if __name__ == "__main__":
    main()
