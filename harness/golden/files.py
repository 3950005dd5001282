"""Golden files: the shipped one, and those that users create."""

from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from harness.errors import ConfigurationError, RunLogError, os_errors
from harness.golden.content import Golden
from harness.records.record import problem_of
from harness.records.runs import RunInfo
from harness.run.run_folder import GOLDEN_FILE

SHIPPED = "gpt-oss-small.json"


@cache
def shipped() -> Golden:
    """The golden file of the small checkpoint."""
    data = resources.files("harness.golden").joinpath(SHIPPED).read_bytes()
    return Golden.model_validate_json(data)


def fitting(model: str) -> Golden | None:
    """The shipped golden file for a model of this name, if any."""
    return shipped() if model.rpartition("/")[2] in shipped().models else None


def chosen(path: Path | None, model: str) -> Golden | None:
    """The golden file at `path`, by default the shipped one. Raises ConfigurationError."""
    return fitting(model) if path is None else load(path)


def load(path: Path) -> Golden:
    """Read a golden file. Raises ConfigurationError."""
    return _parsed(path, _content(path))


def _content(path: Path) -> bytes:
    with os_errors(ConfigurationError, f"{path} cannot be read"):
        return path.read_bytes()


def _parsed(path: Path, content: bytes) -> Golden:
    try:
        return Golden.model_validate(_upgraded(orjson.loads(content)))
    except (KeyError, TypeError, orjson.JSONDecodeError, ValidationError) as error:
        raise ConfigurationError(
            f"{path} is not a golden file of this version ({problem_of(error)}). Create one with: "
            "gpt-oss-verify golden create"
        ) from None


def serialized(golden: Golden) -> str:
    """The text of a golden file."""
    return golden.model_dump_json() + "\n"


def digest(golden: Golden) -> str:
    """SHA-256 of a golden file as written by `serialized`."""
    return sha256(serialized(golden).encode()).hexdigest()


def kept(folder: Path, info: RunInfo) -> Golden | None:
    """The golden file of a run, if any. Raises ConfigurationError or RunLogError."""
    hashes = {task.files[GOLDEN_FILE] for task in info.tasks if GOLDEN_FILE in task.files}
    if not hashes:
        return None
    content = _content(folder / GOLDEN_FILE)
    if hashes != {sha256(content).hexdigest()}:
        raise RunLogError(f"{GOLDEN_FILE} in {folder} was changed after the run; restore it.")
    return _parsed(folder / GOLDEN_FILE, content)


def _upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """The members of a file of gpt-oss-verify 0.1 or 0.2, which runs keep, as those of a `Golden`.

    Such files know neither patterns of defects nor engines with numbers in 8 bits, and name no
    command. Other files are unchanged.
    """
    if not isinstance(old, dict) or "tool_version" not in old:
        return old
    kept = {name: value for name, value in old.items() if name != "tool_version"}
    engine = f"gpt-oss-verify {old['tool_version']}"
    return kept | {
        "engine": engine,
        "command": "",
        "healthy": [_old_run(run, engine) for run in old["healthy"]],
        "exact_tolerance": old["tolerance"],
        "patterns": [],
    }


def _old_run(old: dict[str, Any], engine: str) -> dict[str, Any]:
    """A healthy run; of all alternatives, likely or not, it knows the same 99th percentile."""
    return {
        "engine": engine,
        "numbers": f"{old['dtype']}, batch {old['batch']}",
        "exact": True,
        "distance": old["distance"] | {"near_p99": old["distance"]["p99"]},
        "farthest": old["farthest"],
    }
