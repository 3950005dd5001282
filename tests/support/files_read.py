"""Notes which files of the project a process reads; as a plugin of pytest, also what passed in it.

    FILES_READ=folder python -m pytest -p files_read ...

Each process that imports this module writes a JSON file into that folder when it ends.
"""

import atexit
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = "FILES_READ"
_opened: set[str] = set()
_passed: list[str] = []


def pytest_runtest_logreport(report: Any) -> None:
    """Note the test, without its folder, if it passed."""
    if report.when == "call" and report.passed:
        file, _, name = report.nodeid.partition("::")
        _passed.append(f"{Path(file).name}::{name}")


def _note_opened(event: str, arguments: Sequence[Any]) -> None:
    if event == "open" and isinstance(arguments[0], str | os.PathLike):
        _opened.add(os.fspath(arguments[0]))


def _of_project(name: str) -> str | None:
    """Return the path in the project; None outside it, and for what tools write into it."""
    path = Path(name).absolute()
    if not path.is_relative_to(ROOT) or not path.is_file():
        return None
    inside = path.relative_to(ROOT)
    made = any(
        part.startswith(".") or part == "__pycache__" or part.endswith(".egg-info")
        for part in inside.parts
    )
    return None if made else inside.as_posix()


def _write() -> None:
    imported = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    found = {_of_project(os.fsdecode(name)) for name in {*imported, *_opened} if name}
    text = json.dumps({"files": sorted(filter(None, found)), "passed": _passed})
    (Path(os.environ[FOLDER]) / f"{os.getpid()}.json").write_text(text, encoding="utf-8")


if FOLDER in os.environ:
    sys.addaudithook(_note_opened)
    atexit.register(_write)
