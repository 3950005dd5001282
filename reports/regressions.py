"""Changes since the previous run, and results of tests of differences, in sentences."""

from collections.abc import Sequence

from harness.compare.comparison_types import Regressions
from harness.statistics.differences import Difference
from harness.statistics.intervals import ALPHA
from harness.text import first_few
from reports.text import counted

_NAMED = 5


def sentences(found: Regressions) -> list[str]:
    """The changes since the previous run; the first sentence names that run."""
    since = f"Since {found.previous} ({moment(found.previous_at)})"
    if found.unchanged:
        return [f"{since}: no change beyond chance."]
    checks = {"newly failing": found.broken, "no longer failing": found.fixed}
    cases = {
        f"{word} than before, beyond chance": [c for c in found.cases if c.better == better]
        for word, better in (("worse", False), ("better", True))
    }
    parts = [
        *(
            _listed(
                what,
                [
                    f"{one.id} ({_of(one.here)} failed, previously {_of(one.there)}"
                    f"{'' if one.beyond_chance else '; this may be chance'})"
                    for one in changed
                ],
                "check",
            )
            for what, changed in checks.items()
            if changed
        ),
        *(
            _listed(
                what,
                [
                    f"{c.sample}, {c.group} (passed {_of(c.here)}, previously {_of(c.there)})"
                    for c in changed
                ],
                "case",
            )
            for what, changed in cases.items()
            if changed
        ),
        *(f"{one.name} is {result(one.difference)}." for one in found.scores),
    ]
    return [f"{since}: {parts[0]}", *parts[1:]]


def result(found: Difference) -> str:
    """The result of a test, as a sentence without a subject."""
    paired = "" if found.pairs is None else f", {counted(found.pairs, 'sample')} paired"
    size = (
        f"{_points(found.value)} points (95 % interval {_points(found.low)} to "
        f"{_points(found.high)}{paired})"
    )
    if found.seen != "none":
        return f"{found.seen}: {size}"
    chance = ", which may be chance among so many tests" if found.p < ALPHA else ""
    return f"no difference found: {size}{chance}; {detectable(found.detectable)}"


def detectable(worsening: float | None) -> str:
    """The size of the worsening that a test can detect."""
    if worsening is None:
        return "no worsening is detectable with so few attempts"
    return f"a worsening of {worsening * 100:.1f} points or more is detectable"


def moment(at: str) -> str:
    """A time to the minute: `2026-11-20 14:13`."""
    return at[:16].replace("T", " ")


def _points(difference: float) -> str:
    return f"{difference * 100:+.1f}"


def _of(counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]}"


def _listed(what: str, names: Sequence[str], one: str) -> str:
    return f"{counted(len(names), one)} {what}: {first_few(names, _NAMED, '; ')}."
