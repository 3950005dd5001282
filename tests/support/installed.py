"""The tool as a user installs it: built from the sources, in a separate environment.

No package is downloaded: the environment sees the packages of the one that runs the tests, either
all of them or only those of a base install.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PACKAGES = ("evals", "gpt_oss_verify", "harmony", "harness", "reference_engine", "reports")
FILES = ("LICENSE", "MANIFEST.in", "README.md", "providers.yaml", "pyproject.toml", "setup.py")
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, f"build_{sys.argv[1]}")(sys.argv[2]))
"""
SITE = Path(sysconfig.get_path("purelib"))
OURS = "gpt-oss-verify"


@dataclass(frozen=True)
class Built:
    """The source distribution, the wheel that was built from it, and their sources."""

    tree: Path
    sdist: Path
    wheel: Path


def built(folder: Path) -> Built:
    """Build as a build front end does, but in this environment, which has setuptools."""
    tree, dist = folder / "tree", folder / "dist"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, tree / name)
    sdist = dist / call([sys.executable, "-c", BUILD, "sdist", dist], cwd=tree).splitlines()[-1]
    shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    wheel = dist / call([sys.executable, "-c", BUILD, "wheel", dist], cwd=unpacked).splitlines()[-1]
    return Built(tree, sdist, wheel)


class Installation:
    """A virtual environment with only our wheel and the packages of a base install."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        venv.create(folder, symlinks=True)
        self._python = folder / "bin" / "python"
        self._site = next(folder.glob("lib/python*/site-packages"))
        pip = [sys.executable, "-m", "pip", "--python", self._python, "install", "--quiet"]
        call([*pip, "--no-deps", "--no-index", "--no-compile", wheel], cwd=folder)
        (ours,) = self._site.glob("gpt_oss_verify-*.dist-info")
        self._see(_linked(_needed(Distribution.at(ours)), folder / "base"))
        # pipx and uv put a link to the script where the user's shell looks.
        self._command = folder / "linked" / OURS
        self._command.parent.mkdir()
        self._command.symlink_to(self._python.with_name(OURS))

    def add_all_extras(self) -> None:
        """Make every package of the tests available."""
        self._see(SITE)

    def run(self, *arguments: str, cwd: Path, code: int = 0) -> str:
        """The output of the installed command."""
        return call([self._command, *arguments], cwd=cwd, code=code)

    def python(self, code: str, cwd: Path) -> str:
        return call([self._python, "-c", code], cwd=cwd)

    def start(self, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._command, *arguments],
            cwd=cwd,
            env=_environment(),
            stderr=subprocess.PIPE,
            text=True,
        )

    def _see(self, packages: Path) -> None:
        # Python searches a folder named in a .pth file but does not read the .pth files in it, so
        # our checkout, which the tests see through such a file, is not visible.
        with (self._site / "borrowed.pth").open("a", encoding="utf-8") as file:
            file.write(f"{packages}\n")


def call(command: list[str | Path], cwd: Path, code: int = 0) -> str:
    """The output of a command. Fails if its exit code is not `code`."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, f"{command} ended with {done.returncode}\n{done.stderr}"
    return done.stdout


def _environment() -> dict[str, str]:
    """The environment variables without those that could lead to the checkout."""
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return kept | {"NO_COLOR": "1", "COLUMNS": "100", "OMP_NUM_THREADS": "1"}


def _needed(
    ours: Distribution, extra: str = "", seen: frozenset[str] = frozenset()
) -> frozenset[str]:
    """The names of the distributions that are installed with `ours`."""
    for text in ours.requires or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name not in seen:
            seen |= {requirement.name}
            for wanted in ("", *requirement.extras):
                seen = _needed(distribution(requirement.name), wanted, seen)
    return seen


def _linked(names: frozenset[str], folder: Path) -> Path:
    """A folder with links to the files of these distributions in site-packages."""
    folder.mkdir()
    for name in names:
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top not in {"..", "__pycache__"} and not (folder / top).exists():
                (folder / top).symlink_to(SITE / top)
    return folder
