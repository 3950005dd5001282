"""The formats of reports, and the file of each in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from harness.storage.run_folder import ANALYSIS_FILE, JUNIT_FILE, PAGE_FILE, REPORT_FILE

Format = Literal["html", "md", "junit", "json"]
FORMATS: tuple[Format, ...] = ("html", "md", "junit", "json")
FILES: Mapping[Format, str] = {
    "html": PAGE_FILE,
    "md": REPORT_FILE,
    "junit": JUNIT_FILE,
    "json": ANALYSIS_FILE,
}
