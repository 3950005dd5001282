"""Suites of tests that run again when something changed that their recorded results depend on.

A suite is some test files in a process of its own. Its results are recorded with the digest of each
file of the project that it read, and with the machine, Python, compiler and settings. If one of
them differs, or if coverage is measured, the suite runs.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from files_read import FOLDER, ROOT

_PACKAGES = ("numpy", "torch", "triton")
_SETTINGS = "TRITON_"  # the start of the environment variables that change what Triton does


class SuiteFailedError(AssertionError):
    """A suite has no results; the message is what pytest said, or the reason."""


@dataclass(frozen=True)
class Suite:
    """Test files that share a process; `environment` is that of the process."""

    files: tuple[Path, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *options: str) -> dict[str, Any]:
        """Run the tests, and return what is to be recorded.

        Raises SuiteFailedError, also if a file that the suite read was changed meanwhile.
        """
        began = time.time()
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                # The fixtures and plugins of the other tests take as long to import as PyTorch.
                [
                    sys.executable, "-m", "pytest", "-p", "files_read", "-p", "no:cacheprovider",
                    "--noconftest", "-c", os.devnull, f"--rootdir={ROOT}", "-W", "error",
                    *map(str, self.files), *options,
                ],
                env=_environment() | self.environment | {FOLDER: folder},
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise SuiteFailedError(done.stdout + done.stderr)
            noted = [json.loads(path.read_text("utf-8")) for path in Path(folder).iterdir()]
        files = sorted({name for each in noted for name in each["files"]})
        changed = [name for name in files if (ROOT / name).stat().st_mtime >= began]
        if changed:
            raise SuiteFailedError(f"changed while the suite ran: {', '.join(changed)}")
        return {
            "made_with": made_with(),
            "files": {name: digest(name) for name in files},
            "passed": sorted(test for each in noted for test in each["passed"]),
        }


def outdated(recorded: Mapping[str, Any] | None) -> str:
    """Return why recorded results do not hold here; "" if they do."""
    if not recorded or not recorded["passed"]:
        return "nothing is recorded"
    if recorded["made_with"] != made_with():
        return f"recorded with {recorded['made_with']}, this is {made_with()}"
    changed = [name for name, known in recorded["files"].items() if digest(name) != known]
    if changed:
        return f"changed since: {', '.join(changed)}"
    coverage = sys.modules.get("coverage")
    measured = coverage is not None and coverage.Coverage.current() is not None
    return "coverage is measured" if measured else ""


def made_with() -> dict[str, Any]:
    """Return what results depend on beside the files: platform, versions, settings.

    The local part of a version ("+cpu") names the libraries for a GPU, and no suite uses one.
    """
    packages = {name: version(name).partition("+")[0] for name in _PACKAGES}
    settings = {name: text for name, text in os.environ.items() if name.startswith(_SETTINGS)}
    python = ".".join(platform.python_version_tuple()[:2])
    return {"machine": platform.machine(), "python": python, **packages, **settings}


def digest(name: str) -> str:
    """Return the digest of a file of the project; "" if there is none."""
    path = ROOT / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24] if path.is_file() else ""


def _environment() -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if name != "TRITON_INTERPRET"}
    paths = [str(ROOT), str(Path(__file__).parent)]
    return kept | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join(paths)}
