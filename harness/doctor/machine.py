"""What the machine has to offer: room, open files, the right time."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from harness.doctor.lines import Line, ok, problem, warning
from harness.transport.http import SPARE_FILES

GIBIBYTE = 1 << 30
ROOM_FOR_A_RUN = GIBIBYTE
"""Bytes; the 3,000 tries of a long eval with their exchanges take a few hundred MB."""


def machine(runs: Path, concurrency: int) -> Iterator[Line]:
    """Look at the folder that runs go to, and at what so many requests at a time need."""
    yield _room(runs)
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1], concurrency)
    yield clock(datetime.now(UTC), datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC))


def _room(runs: Path) -> Line:
    place = next(folder for folder in (runs, *runs.absolute().parents) if folder.exists())
    if not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
        remedy = "name another folder with --out"
        return problem("disk", f"run folders cannot be made in {runs}: {place} is closed", remedy)
    free = shutil.disk_usage(place).free
    text = f"{free / GIBIBYTE:,.1f} GiB free in {place}"
    if free < ROOM_FOR_A_RUN:
        return warning("disk", text, "make room, or name another folder with --out")
    return ok("disk", text)


def open_files(limit: int, concurrency: int) -> Line:
    """Whether a process may have enough connections; `limit` is the hard one, which runs take."""
    needed = concurrency + SPARE_FILES
    shown = "no limit" if limit == resource.RLIM_INFINITY else f"at most {limit:,}"
    text = f"{shown}; {concurrency} attempts in flight take up to {needed}"
    if limit != resource.RLIM_INFINITY and limit < needed:
        return warning("open files", text, "raise `ulimit -Hn`, or lower --concurrency")
    return ok("open files", text)


def clock(now: datetime, installed: datetime) -> Line:
    """Whether the time can be right: it is not before the tool was installed."""
    text = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < installed:
        return warning("clock", f"{text}, before the tool was installed", "set the clock")
    return ok("clock", text)
