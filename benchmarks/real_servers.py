"""Findings of real servers with the small checkpoint, compared with verified findings.

    python benchmarks/real_servers.py [NAME …] [--work DIR] [--list]

Each file `benchmarks/real/NAME.yaml` describes one version of one server: how it is installed and
started, and the findings that a person has confirmed, each with the reason. For each server, this
script creates a virtual environment, exports the small checkpoint, runs the quick suite and
compares the findings. Installed environments are kept in `--work` and reused.

The exit code is 1 if a run has an error or a warning that its file does not list, or lacks one that
the file expects in every run, and 2 if a server could not be installed or started.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from harmony.vocabulary import FILE_NAME, vocabulary_file

DESCRIPTIONS = Path(__file__).parent / "real"
COMMAND = str(Path(sys.executable).with_name("gpt-oss-verify"))
RUN = ("--suite", "standard", "-n", "6", "-k", "1", "-t", "4", "--max-tokens", "300")
_SEVERITIES = {"failed": "error", "warned": "warning"}


class Expectation(BaseModel):
    """A finding that was verified by reading the records.

    `reason` describes the server's behavior. `always` is whether every run has the finding; if not,
    it depends on what the model writes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str
    always: bool = True


class Server(BaseModel):
    """One version of one server.

    In the commands and values, `{env}` is the virtual environment, `{checkpoint}` the exported
    checkpoint, `{vocabulary}` the folder with harmony's vocabulary, `{work}` the server's folder,
    `{python}` this interpreter, and `{port}` the port. `install` are the arguments of
    `pip install`; `prepare` are shell commands that run once; `ready` is the path that answers when
    the server is ready; `provider` are other settings of the provider's entry. `coverage` is the
    share of the suite that the verified run reached, on the date `measured`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    version: str
    measured: date
    coverage: str
    install: str
    prepare: tuple[str, ...] = ()
    serve: str
    ready: str
    model: str
    environment: dict[str, str] = Field(default_factory=dict)
    provider: dict[str, Any] = Field(default_factory=dict)
    expected: dict[str, Expectation]


@dataclass(frozen=True)
class Bench:
    """A server with its folder."""

    name: str
    server: Server
    work: Path
    checkpoint: Path

    @property
    def folder(self) -> Path:
        """The server's folder."""
        return self.work / self.name

    def filled(self, text: str) -> str:
        """A command or value with its placeholders filled in, except `{port}`."""
        values = {
            "{env}": self.folder / "env",
            "{checkpoint}": self.checkpoint,
            "{work}": self.folder,
            "{python}": sys.executable,
            "{vocabulary}": self.work / "vocabulary",
        }
        for placeholder, value in values.items():
            text = text.replace(placeholder, str(value))
        return text

    def install(self) -> None:
        """Create the environment, unless it exists."""
        done = self.folder / "installed"
        if done.exists():
            return
        env = self.folder / "env"
        called(sys.executable, "-m", "venv", "--clear", str(env))
        called(f"{env}/bin/python", "-m", "pip", "install", "-q", *shlex.split(self.server.install))
        for command in self.server.prepare:
            called("sh", "-ec", self.filled(command))
        done.touch()

    def environment(self) -> dict[str, str]:
        """The environment variables of the server."""
        return {name: self.filled(value) for name, value in self.server.environment.items()}

    def providers(self) -> Path:
        """Write the file with the provider's entry."""
        launch = {
            "command": self.filled(self.server.serve),
            "ready_url": f"http://127.0.0.1:{{port}}{self.server.ready}",
            "ready_timeout": 900,
            "env": self.environment(),
        }
        entry = {
            "base_url": "http://127.0.0.1:{port}/v1",
            "model": self.filled(self.server.model),
            "concurrency": 1,
            "timeout": 400,
            **self.server.provider,
            "launch": launch,
        }
        path = self.folder / "providers.yaml"
        path.write_text(yaml.safe_dump({"providers": {self.name: entry}}), encoding="utf-8")
        return path

    def run(self) -> dict[str, str]:
        """Run the quick suite; returns the severity of each rule with a finding."""
        runs = self.folder / "runs"
        before = set(runs.glob("*"))
        command = [COMMAND, "--providers", str(self.providers()), "-p", self.name]
        environment = os.environ | self.environment()  # `api_key_env` may name one
        subprocess.run([*command, *RUN, "--out", str(runs)], check=False, env=environment)
        new = set(runs.glob("*/analysis.json")) - {run / "analysis.json" for run in before}
        if not new:
            raise BenchError(f"{self.name}: the run ended without an analysis.")
        return severities(json.loads(new.pop().read_text("utf-8")))


class BenchError(Exception):
    """A server could not be installed, started or run; the message gives server and reason."""


def called(*command: str) -> None:
    """Run a command. Raises BenchError."""
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchError(f"{shlex.join(command)}: {error}") from error


def severities(analysis: dict[str, Any]) -> dict[str, str]:
    """Whether each rule with such a finding has an error or only warnings, by its id."""
    return {
        check["check"]["id"]: _SEVERITIES[check["status"]]
        for check in analysis["checks"]
        if check["status"] in _SEVERITIES
    }


def compared(found: dict[str, str], expected: dict[str, Expectation]) -> list[str]:
    """The differences between a run and the expectations, one line each."""
    unlisted = [
        f"not expected: {severity} {rule}"
        for rule, severity in found.items()
        if rule not in expected
    ]
    missing = [
        f"not found: {rule} ({each.reason})"
        for rule, each in expected.items()
        if each.always and rule not in found
    ]
    return [*unlisted, *missing]


def described() -> dict[str, Server]:
    """All servers by name."""
    return {
        path.stem: Server.model_validate(yaml.safe_load(path.read_text("utf-8")))
        for path in sorted(DESCRIPTIONS.glob("*.yaml"))
    }


def exported(work: Path) -> Path:
    """Export the small checkpoint, with harmony's vocabulary next to it."""
    vocabulary = work / "vocabulary"
    vocabulary.mkdir(exist_ok=True)
    shutil.copy(vocabulary_file(), vocabulary / FILE_NAME)
    folder = work / "checkpoint"
    engine = (sys.executable, "-m", "reference_engine")
    called(*engine, "export-small", str(folder), "--layout", "hf")
    return folder


def main() -> int:
    servers = described()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--work", type=Path, default=Path(".real"), help="default: .real")
    parser.add_argument("--list", action="store_true", help="list the servers")
    arguments = parser.parse_args()
    if arguments.list:
        for name, server in servers.items():
            print(f"{name}: {server.about}")
        return 0
    if unknown := set(arguments.names) - set(servers):
        parser.error(f"there is no server {', '.join(sorted(unknown))}; see --list")
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    code = 0
    try:
        checkpoint = exported(work)
        for name in arguments.names or servers:
            bench = Bench(name, servers[name], work, checkpoint)
            bench.folder.mkdir(exist_ok=True)
            bench.install()
            differences = compared(bench.run(), bench.server.expected)
            code = max(code, bool(differences))
            print("\n".join([f"{name}: {len(differences) or 'no'} differences", *differences]))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
