"""Addresses from one page to another."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from harness.storage.run_folder import PAGE_FILE


def report_of(run: str, folder: Path) -> str | None:
    """The address of a run's own report.

    Args:
        run: The run's folder.
        folder: Where the page lies that has the link.

    Returns:
        None if the run has no report.
    """
    report = Path(run).resolve() / PAGE_FILE
    if not report.exists():
        return None
    try:
        return quote(Path(os.path.relpath(report, folder.resolve())).as_posix())
    except ValueError:  # another drive
        return report.as_uri()
