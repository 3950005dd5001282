"""Check the machine, the installed packages and the configuration."""

import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from harmony import vocabulary
from harness.doctor.lines import Line, problem
from harness.errors import ConfigurationError
from harness.providers.entries import (
    LOCAL_FILE,
    Provider,
    access,
    key_variables,
    load_providers,
    own_providers,
)
from harness.transport.http import SPARE_FILES

GIBIBYTE = 1 << 30
DISK_FOR_A_RUN = GIBIBYTE  # bytes; the 3,000 attempts of a long eval take a few hundred MB


def machine(runs: Path, concurrency: int) -> Iterator[Line]:
    """Check the disk of the folder `runs` and the limit of open files for this concurrency."""
    yield _disk(runs)
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1], concurrency)
    yield clock(datetime.now(UTC), datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC))


def _disk(runs: Path) -> Line:
    place = next(folder for folder in (runs, *runs.absolute().parents) if folder.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        remedy = "choose another folder with --out"
        return problem(
            "disk", f"run folders cannot be created in {runs}: {place} is not writable", remedy
        )
    free = shutil.disk_usage(place).free
    text = f"{free / GIBIBYTE:,.1f} GiB free in {place}"
    if free < DISK_FOR_A_RUN:
        return Line("disk", "warning", text, "free some space, or choose another folder with --out")
    return Line("disk", "ok", text)


def open_files(limit: int, concurrency: int) -> Line:
    """Check the hard limit of open files, up to which a run raises its own limit."""
    needed = concurrency + SPARE_FILES
    shown = "no limit" if limit == resource.RLIM_INFINITY else f"at most {limit:,}"
    text = f"{shown}; {concurrency} attempts in flight use up to {needed}"
    if limit != resource.RLIM_INFINITY and limit < needed:
        return Line("open files", "warning", text, "raise `ulimit -Hn`, or lower --concurrency")
    return Line("open files", "ok", text)


def clock(now: datetime, installed: datetime) -> Line:
    """Check that the current time is not before the installation."""
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < installed:
        return Line("clock", "warning", f"{text}, before the tool was installed", "set the clock")
    return Line("clock", "ok", text)


def vocabulary_line(environ: Mapping[str, str] = os.environ) -> Line:
    """Find the harmony vocabulary; download it if necessary, as a run does."""
    folder = environ.get(vocabulary.FOLDER_VARIABLE)
    try:
        path = vocabulary.vocabulary_file()
    except vocabulary.VocabularyError as error:
        text = f"{error} Without it, the prompt probes and the reference engine do not work."
        return Line("vocabulary", "warning", text)
    if folder and path.parent != Path(folder):
        text = f"{path}; {folder} has no {vocabulary.FILE_NAME} with the right hash"
        return Line("vocabulary", "warning", text, f"fix or unset {vocabulary.FOLDER_VARIABLE}")
    return Line("vocabulary", "ok", f"{path}, SHA-256 correct")


def providers_line(path: Path | None) -> tuple[Line, dict[str, Provider]]:
    """Check the user's providers file; return the result and its entries, or the shipped ones."""
    try:
        own, everything = own_providers(path), load_providers(path)
    except ConfigurationError as error:
        return problem("providers", str(error)), {}
    file = path or LOCAL_FILE
    if not file.exists():
        return Line(
            "providers", "ok", f"no {file} here; {len(everything)} shipped entries"
        ), everything
    return Line(
        "providers",
        "ok",
        f"{file}: {len(own)} of your own; {len(everything)} with the shipped ones",
    ), own


def keys(providers: Mapping[str, Provider], environ: Mapping[str, str]) -> Iterator[Line]:
    """Check which key variables are set and whether their values are valid; never show a value."""
    unset = []
    for provider in providers.values():
        names = key_variables(provider)
        missing = [name for name in names if not environ.get(name, "").strip()]
        unset += [f"{name} ({provider.name})" for name in missing]
        if names and not missing:
            try:
                access(provider, environ)
            except ConfigurationError as error:
                yield Line("keys", "warning", str(error))
            else:
                yield Line("keys", "ok", f"set: {', '.join(names)} ({provider.name})")
    if unset:
        yield Line("keys", "note", f"not set: {', '.join(unset)}")


DISTRIBUTION = "gpt-oss-verify"
EXTRAS: Mapping[str, str] = {
    "evals": "`eval` with the published questions; samples and local files work without it",
    "ray": "`eval --executor ray`",
    "reference": "`--provider reference`, `serve`, `selftest`",
    "search": "`serve --browser` with a search service",
}
"""The purpose of each extra."""


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
        return Line("Python", "ok", found)
    remedy = f"install the tool with Python {required}"
    return problem("Python", f"{found}; {required} is required", remedy)


def _requirements(ours: Distribution, extra: str = "") -> list[Requirement]:
    """The packages of a base installation, or of one with an extra, on this system."""
    requirements = map(Requirement, ours.requires or ())
    return [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": extra})]


def _base(required: Sequence[Requirement]) -> Iterator[Line]:
    unmet = [(each, lack) for each in required if (lack := _lack(each)) is not None]
    if not unmet:
        yield Line("packages", "ok", f"{len(required)} installed, all in the required versions")
    for each, lack in unmet:
        yield problem("packages", lack, f"pip install '{each.name}{each.specifier}'")


def _extra(extra: str, purpose: str, required: Sequence[Requirement]) -> Line:
    topic = f"extra {extra}"
    lacks = {each.name: lack for each in required if (lack := _lack(each)) is not None}
    remedy = f"pip install '{DISTRIBUTION}[{extra}]'"
    if not lacks:
        return Line(
            topic, "ok", ", ".join(f"{each.name} {version(each.name)}" for each in required)
        )
    if all(_found(name) is None for name in lacks):
        return Line(
            topic, "note", f"{', '.join(lacks)} not installed; needed for {purpose}", remedy
        )
    return Line(topic, "warning", "; ".join(lacks.values()), remedy)


def _lack(required: Requirement) -> str | None:
    """How the installed packages violate a requirement; None if they meet it."""
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
