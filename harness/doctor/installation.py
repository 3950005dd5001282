"""Compare Python and the installed packages with the requirements of the distribution."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from harness.doctor.lines import Line, note, ok, problem, warning

DISTRIBUTION = "gpt-oss-verify"
EXTRAS: Mapping[str, str] = {
    "evals": "`eval` with the published questions; samples and local files work without it",
    "mcp": "`serve --mcp`",
    "ray": "`eval --executor ray`",
    "reference": "`--provider reference`, `serve`, `selftest`",
}
"""What needs each extra."""


def installation() -> Iterator[Line]:
    """Check Python, the required packages, and those of each extra."""
    ours = distribution(DISTRIBUTION)
    required = _requirements(ours)
    yield _python(ours)
    yield from _base(required)
    for extra, purpose in EXTRAS.items():
        more = [each for each in _requirements(ours, extra) if each not in required]
        yield _extra(extra, purpose, more)


def _python(ours: Distribution) -> Line:
    required = SpecifierSet(ours.metadata["Requires-Python"] or "")
    found = f"{platform.python_version()} at {sys.executable}"
    if required.contains(platform.python_version(), prereleases=True):
        return ok("Python", found)
    remedy = f"install the tool with Python {required}"
    return problem("Python", f"{found}; {required} is required", remedy)


def _requirements(ours: Distribution, extra: str = "") -> list[Requirement]:
    """The packages of a base installation, or of one with an extra, on this system."""
    requirements = map(Requirement, ours.requires or ())
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": extra})]


def _base(required: Sequence[Requirement]) -> Iterator[Line]:
    unmet = [(each, lack) for each in required if (lack := _lack(each)) is not None]
    if not unmet:
        yield ok("packages", f"{len(required)} installed, all in the required versions")
    for each, lack in unmet:
        yield problem("packages", lack, f"pip install '{each.name}{each.specifier}'")


def _extra(extra: str, purpose: str, required: Sequence[Requirement]) -> Line:
    topic = f"extra {extra}"
    lacks = {each.name: lack for each in required if (lack := _lack(each)) is not None}
    remedy = f"pip install '{DISTRIBUTION}[{extra}]'"
    if not lacks:
        return ok(topic, ", ".join(f"{each.name} {version(each.name)}" for each in required))
    if all(_found(name) is None for name in lacks):
        return note(topic, f"{', '.join(lacks)} not installed; needed for {purpose}", remedy)
    return warning(topic, "; ".join(lacks.values()), remedy)


def _lack(required: Requirement) -> str | None:
    """How the installed packages fail a requirement; None if they meet it."""
    found = _found(required.name)
    if found is None:
        return (
            f"{required.name} is not installed; {required.specifier or 'any version'} is required"
        )
    if required.specifier.contains(found, prereleases=True):
        return None
    return f"{required.name} {found} is installed; {required.specifier} is required"


def _found(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
