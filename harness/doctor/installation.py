"""Python and packages, held against what the installed distribution asks for."""

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
    "evals": "`eval` with real questions; samples and local files go without",
    "ray": "`eval --executor ray`",
    "reference": "`--provider reference`, `serve`, `selftest`",
}
"""What is gone without each extra that users may want."""


def installation() -> Iterator[Line]:
    """Python, the packages of a base install, and of each extra."""
    ours = distribution(DISTRIBUTION)
    yield _python(ours)
    yield from _base(_asked(ours))
    for extra, purpose in EXTRAS.items():
        yield _extra(extra, purpose, [r for r in _asked(ours, extra) if r not in _asked(ours)])
    yield _triton()


def _python(ours: Distribution) -> Line:
    asked = SpecifierSet(ours.metadata["Requires-Python"] or "")
    found = platform.python_version()
    if asked.contains(found, prereleases=True):
        return ok("Python", f"{found} at {sys.executable}")
    remedy = f"install the tool with a Python {asked}"
    return problem("Python", f"{found} at {sys.executable}; {asked} is needed", remedy)


def _asked(ours: Distribution, extra: str = "") -> list[Requirement]:
    """What a base install, or one with an extra, brings on this system."""
    requirements = map(Requirement, ours.requires or ())
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": extra})]


def _base(asked: Sequence[Requirement]) -> Iterator[Line]:
    unfit = [each for each in asked if _lack(each) is not None]
    if not unfit:
        yield ok("packages", f"{len(asked)} installed, all in the versions asked for")
    for each in unfit:
        yield problem("packages", f"{_lack(each)}", _install(f"{each.name}{each.specifier}"))


def _extra(extra: str, purpose: str, asked: Sequence[Requirement]) -> Line:
    topic = f"extra {extra}"
    lacks = {each.name: lack for each in asked if (lack := _lack(each)) is not None}
    remedy = _install(f"{DISTRIBUTION}[{extra}]")
    if not lacks:
        found = (f"{each.name} {version(each.name)}" for each in asked)
        return ok(topic, ", ".join(found))
    if all(_is_missing(each) for each in asked if each.name in lacks):
        missing = ", ".join(lacks)
        return note(topic, f"{missing} not installed; needed for {purpose}", remedy)
    return warning(topic, "; ".join(lacks.values()), remedy)


def _triton() -> Line:
    try:
        return ok("Triton", version("triton"))
    except PackageNotFoundError:
        text = "not installed; the engine's kernels for CUDA devices need it, nothing else does"
        return note("Triton", text, _install("triton"))


def _lack(asked: Requirement) -> str | None:
    """What is wrong with the package that is asked for, if anything is."""
    if _is_missing(asked):
        return f"{asked.name} is not installed; {asked.specifier or 'any version'} is needed"
    found = version(asked.name)
    if asked.specifier.contains(found, prereleases=True):
        return None
    return f"{asked.name} {found} is installed; {asked.specifier} is needed"


def _is_missing(asked: Requirement) -> bool:
    try:
        version(asked.name)
    except PackageNotFoundError:
        return True
    return False


def _install(what: str) -> str:
    return f"pip install '{what}'"
