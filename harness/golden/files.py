"""Golden files: the shipped one, and those that users create."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.errors import ConfigurationError, RunLogError, os_errors
from harness.golden.content import Golden, Pattern
from harness.records.record import problem_of
from harness.records.runs import RunInfo
from harness.run.run_folder import GOLDEN_FILE

SHIPPED, YOUNGER = "gpt-oss-small.json", "gpt-oss-small-defects.json"
PATTERNS = TypeAdapter(tuple[tuple[Pattern, ...], tuple[Pattern, ...]])
"""Those of defects that are younger than the golden file, without and with a date line."""


@cache
def shipped() -> Golden:
    """Return the golden file of the small checkpoint, with the patterns of younger defects."""
    folder = resources.files("harness.golden")
    golden = Golden.model_validate_json(folder.joinpath(SHIPPED).read_bytes())
    plain, dated = PATTERNS.validate_json(folder.joinpath(YOUNGER).read_bytes())
    return with_patterns(golden, plain, dated)


def with_patterns(golden: Golden, plain: Sequence[Pattern], dated: Sequence[Pattern]) -> Golden:
    """Return a golden file with more patterns; `dated` are those of its prompts with a date."""
    on_day = golden.dated and with_patterns(golden.dated, dated, ())
    return golden.model_copy(update={"patterns": (*golden.patterns, *plain), "dated": on_day})


def fitting(model: str) -> Golden | None:
    """Return the shipped golden file for a model of this name, if any."""
    return shipped() if model.rpartition("/")[2] in shipped().models else None


def chosen(path: Path | None, model: str) -> Golden | None:
    """Return the golden file at `path`, by default the shipped one. Raises ConfigurationError."""
    return fitting(model) if path is None else load(path)


def load(path: Path) -> Golden:
    """Read a golden file. Raises ConfigurationError."""
    return _parsed(path, _content(path))


def _content(path: Path) -> bytes:
    with os_errors(ConfigurationError, f"{path} cannot be read"):
        return path.read_bytes()


def _parsed(path: Path, content: bytes) -> Golden:
    try:
        return Golden.model_validate_json(content)
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} is not a golden file of this version ({problem_of(error)}). Create one with: "
            "gpt-oss-verify golden create"
        ) from None


def serialized(golden: Golden) -> str:
    """Return the text of a golden file."""
    return golden.model_dump_json() + "\n"


def digest(golden: Golden) -> str:
    """SHA-256 of a golden file as written by `serialized`."""
    return sha256(serialized(golden).encode()).hexdigest()


def kept(folder: Path, info: RunInfo) -> Golden | None:
    """Return the golden file of a run, if any. Raises ConfigurationError or RunLogError."""
    hashes = {task.files[GOLDEN_FILE] for task in info.tasks if GOLDEN_FILE in task.files}
    if not hashes:
        return None
    content = _content(folder / GOLDEN_FILE)
    if hashes != {sha256(content).hexdigest()}:
        raise RunLogError(f"{GOLDEN_FILE} in {folder} was changed after the run; restore it.")
    return _parsed(folder / GOLDEN_FILE, content)
