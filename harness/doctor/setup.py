"""Check the machine and the configuration: disk, open files, clock, vocabulary, providers, keys."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from harmony import vocabulary
from harness.doctor.lines import Line, note, ok, problem, warning
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
DISK_FOR_A_RUN = GIBIBYTE
"""Bytes; the 3,000 attempts of a long eval take a few hundred MB."""


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
        return warning("disk", text, "free some space, or choose another folder with --out")
    return ok("disk", text)


def open_files(limit: int, concurrency: int) -> Line:
    """Check the hard limit of open files, up to which a run raises its own limit."""
    needed = concurrency + SPARE_FILES
    shown = "no limit" if limit == resource.RLIM_INFINITY else f"at most {limit:,}"
    text = f"{shown}; {concurrency} attempts in flight use up to {needed}"
    if limit != resource.RLIM_INFINITY and limit < needed:
        return warning("open files", text, "raise `ulimit -Hn`, or lower --concurrency")
    return ok("open files", text)


def clock(now: datetime, installed: datetime) -> Line:
    """Check that the current time is not before the installation."""
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < installed:
        return warning("clock", f"{text}, before the tool was installed", "set the clock")
    return ok("clock", text)


def vocabulary_line(environ: Mapping[str, str] = os.environ) -> Line:
    """Find the harmony vocabulary; download it if necessary, as a run does."""
    folder = environ.get(vocabulary.FOLDER_VARIABLE)
    try:
        path = vocabulary.vocabulary_file()
    except vocabulary.VocabularyError as error:
        text = f"{error} Without it, the prompt probes and the reference engine do not work."
        return warning("vocabulary", text)
    if folder and path.parent != Path(folder):
        text = f"{path}; {folder} has no {vocabulary.FILE_NAME} with the right hash"
        return warning("vocabulary", text, f"fix or unset {vocabulary.FOLDER_VARIABLE}")
    return ok("vocabulary", f"{path}, SHA-256 correct")


def providers_line(path: Path | None) -> tuple[Line, dict[str, Provider]]:
    """Check the user's providers file.

    Returns:
        The result, and the user's entries; the shipped ones where there is no file.
    """
    try:
        own, everything = own_providers(path), load_providers(path)
    except ConfigurationError as error:
        return problem("providers", str(error)), {}
    file = path or LOCAL_FILE
    if not file.exists():
        return ok("providers", f"no {file} here; {len(everything)} shipped entries"), everything
    return ok(
        "providers", f"{file}: {len(own)} entries; {len(everything)} with the shipped ones"
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
                yield warning("keys", str(error))
            else:
                yield ok("keys", f"set: {', '.join(names)} ({provider.name})")
    if unset:
        yield note("keys", f"not set: {', '.join(unset)}")
