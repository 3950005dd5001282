"""Install pinned or newest releases of the clients, each set in an environment of its own."""

import datetime
import json
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_LONGEST = 1800
"""Seconds of one installation: assumed, enough for 500 MB of packages on a slow connection."""


def chosen(clients: Mapping[str, Any], only: Collection[str]) -> dict[str, Any]:
    """Return what clients.yaml says of these clients, or of all if there are none."""
    kept = {n: p for n, p in clients["clients"].items() if not only or n in only}
    python: dict[str, Any] = {}
    for name, each in clients["python"].items():
        processes = [" ".join(c for c in p.split() if c in kept) for p in each["processes"]]
        if processes := [process for process in processes if process]:
            python[name] = {**each, "processes": processes}
    return {"python": python, "npm": clients["npm"], "clients": kept}


def by_npm(clients: Mapping[str, Any]) -> list[str]:
    """Return the clients that are packages of npm."""
    return [name for name, packages in clients["clients"].items() if packages.startswith("npm:")]


def install(
    work: Path, clients: Mapping[str, Any], *, newest: bool, jobs: int
) -> Mapping[str, str]:
    """Install what clients.yaml names, unless it is; return what failed, as sentences.

    The keys are the names of the environments, "npm" among them. The newest releases are those of
    a day: on the next, they are installed again.
    """
    made: dict[str, list[list[str]]] = {}
    for name, each in clients["python"].items():
        wanted = [*each["packages"], *each.get("imports", ())]
        wanted = list(map(unpinned, wanted)) if newest else wanted
        pip = [str(work / name / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
        # Without --no-compile, each of them compiles ten times what it imports.
        pip += ["install", "-qq", "--no-input", "--no-compile", *wanted]
        venv = [each.get("interpreter", sys.executable), "-m", "venv", "--clear", str(work / name)]
        made[name] = [venv, pip] if wanted else [venv]
    wanted = [f"{unpinned(p)}@latest" if newest else p for p in clients["npm"]["packages"]]
    npm = ["npm", "install", "--loglevel=error", "--no-audit", "--no-fund", f"--prefix={work}"]
    made |= {"npm": [[*npm, *wanted]]} if by_npm(clients) else {}
    day = datetime.datetime.now(tz=datetime.UTC).date().isoformat() if newest else ""
    with ThreadPoolExecutor(jobs) as pool:
        failed = pool.map(lambda name: _installed(work, name, made[name], day), made)
        return {name: why for name, why in zip(made, failed, strict=True) if why}


def _installed(work: Path, name: str, commands: Sequence[Sequence[str]], day: str) -> str:
    """Run the commands, unless they were on that day; return why one failed, or ''."""
    done = work / f"{name}.installed"
    stamp = [day, *commands[-1]]
    if done.exists() and json.loads(done.read_text("utf-8")) == stamp:
        return ""
    for command in commands:
        try:
            ran = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_LONGEST,
                check=False,
            )
        except FileNotFoundError:
            return f"{name} cannot be installed: there is no command {command[0]}."
        except subprocess.TimeoutExpired:
            return f"{name} cannot be installed: {command[0]} takes more than {_LONGEST} s."
        if ran.returncode:
            return f"{name} cannot be installed: {reason(ran.stderr or ran.stdout)}"
    done.write_text(json.dumps(stamp), encoding="utf-8")
    return ""


def reason(output: str) -> str:
    """Return the line in which pip or npm says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    of_npm = [line for line in lines if line.startswith("npm error ")]
    of_npm = [line for line in of_npm if not line.startswith(_CODES)]
    of_pip = [line for line in lines if line.startswith("ERROR:")]
    of_pip = [line for line in of_pip if "ResolutionImpossible" not in line]  # names no package
    return (of_npm[:1] or of_pip[-1:] or lines[-1:] or ["it says nothing"])[0]


_CODES = ("npm error code", "npm error errno", "npm error syscall")
"""How lines of npm begin that name a code; the next one explains it."""


def unpinned(package: str) -> str:
    """Return a package without its version: `name==1.2`, `@scope/name@1.2`."""
    name = package.partition("==")[0]
    return name[0] + name[1:].partition("@")[0]


def versions(work: Path, clients: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the versions of the packages that are installed, those of npm with `npm:`."""
    found: dict[str, str] = {}
    for name, each in clients["python"].items():
        for package in map(unpinned, each["packages"]):
            stem = package.partition("[")[0].replace("-", "_")
            for info in (work / name / "lib").glob(f"python*/site-packages/{stem}-*.dist-info"):
                found[package] = info.name.removesuffix(".dist-info").rpartition("-")[2]
    for package in map(unpinned, clients["npm"]["packages"]):
        path = work / "node_modules" / package / "package.json"
        if path.exists():
            found[f"npm:{package}"] = json.loads(path.read_text("utf-8"))["version"]
    return found
