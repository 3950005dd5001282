"""Links between pages."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from harness.storage.run_folder import PAGE_FILE


def report_of(run: str, folder: Path) -> str | None:
    """The address of the report of a run.

    Args:
        run: The run folder.
        folder: The folder of the page that has the link.

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
