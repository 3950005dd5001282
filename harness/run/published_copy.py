"""Copy a run for publication, without keys, paths of this machine and gated texts."""

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pydantic import JsonValue

from harness.errors import ConfigurationError, RunLogError, os_errors
from harness.providers.entries import key_variables, load_providers
from harness.records.redact import Scrubber
from harness.records.rollouts import Rollout
from harness.records.runs import RunInfo, TaskInfo
from harness.run.run_folder import CASES_FILE, EVAL_FILES, GOLDEN_FILE, TOOLS_FILE, write_text
from harness.run.run_log import (
    RunLog,
    log_files,
    read_rollouts,
    read_run_info,
    write_run_info,
)

_FILES = (CASES_FILE, TOOLS_FILE, GOLDEN_FILE, *EVAL_FILES)
_SECRET_VARIABLE = re.compile(r"(?:API_KEY|TOKEN|SECRET|PASSWORD)$")
_PATH = re.compile(r"(?<![\w:/.~-])(?:~?/)(?:[\w.+@%-]+/)+([\w.+@%-]*)")
_SHORTEST_HOST = 4


@dataclass(frozen=True)
class Withholding:
    """What must not be published in addition to keys: the texts of gated questions."""

    tasks: tuple[TaskInfo, ...] | None = None  # those of `run.json`; None leaves them unchanged
    files: Mapping[str, str] = field(default_factory=dict)  # new texts of files, by name
    record: Callable[[Rollout], Rollout] = lambda record: record  # as it may be published


def publish(run: Path, target: Path, withholding: Withholding) -> None:
    """Copy `run.json`, the logs and the files of tasks into the folder `target`.

    Raises ConfigurationError if a file of a task contains a key, and RunLogError if a file cannot
    be read or written.
    """
    scrub = Scrubber(known_secrets()).text
    info = read_run_info(run)
    if withholding.tasks is not None:
        info = info.model_copy(update={"tasks": withholding.tasks})
    members = orjson.dumps(shortened(info.model_dump(mode="json"))).decode()
    write_run_info(target, RunInfo.model_validate_json(scrub(members)))
    for log in log_files(run):
        with RunLog(target, log.name) as copy:
            for rollout in read_rollouts(run, log.name):
                text = withholding.record(rollout).model_dump_json()
                copy.append(Rollout.model_validate_json(scrub(text)))
    for path in sorted(path for pattern in _FILES for path in run.glob(pattern)):
        with os_errors(RunLogError, f"{path} cannot be read"):
            text = withholding.files.get(path.name) or path.read_text("utf-8", errors="replace")
        if scrub(text) != text:
            raise ConfigurationError(
                f"{path} contains what looks like a key, so the run cannot be published; remove "
                "the key from your cases or questions, and run again."
            )
        write_text(target / path.name, text)


def known_secrets() -> Iterator[str]:
    """Yield the values of variables that providers.yaml names, or whose own names suggest keys."""
    try:
        providers = list(load_providers().values())
    except ConfigurationError:
        providers = []
    named = {name for provider in providers for name in key_variables(provider)}
    for name, value in os.environ.items():
        if value.strip() and (name in named or _SECRET_VARIABLE.search(name)):
            yield value.strip()


def shortened(value: JsonValue, host: str | None = None) -> JsonValue:
    """Return a JSON value with paths cut to their last part, and without the name of the host."""
    name = socket.gethostname() if host is None else host
    if isinstance(value, str):
        text = _PATH.sub(r"…/\1", value)
        known = len(name) >= _SHORTEST_HOST and name != "localhost"
        return re.sub(rf"\b{re.escape(name)}\b", "host", text) if known else text
    if isinstance(value, dict):
        return {key: shortened(inner, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [shortened(inner, name) for inner in value]
    return value
