"""The other files of a run folder: those of its tasks, the scores, the analysis, the reports."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.errors import RunLogError
from harness.records.analysis import Analysis
from harness.records.record import Record
from harness.records.scores import Score
from harness.run.run_log import ROLLOUTS_FILE, RUN_FILE, opened, read_run_info, replacing

CASES_FILE = "cases.jsonl"
TOOLS_FILE = "tools.json"
GOLDEN_FILE = "golden.json"
EVAL_FILES = ("questions-*.jsonl", "scorer-*.py")  # patterns: what evals need to be judged again
ANALYSIS_FILE = "analysis.json"
REPORT_FILE = "report.md"
PAGE_FILE = "report.html"
JUNIT_FILE = "junit.xml"
PROVIDER_LOG = "provider.log"
ERRORS_FILE = "internal-errors.txt"
SCORES_FILE = "scores.jsonl"
UNANSWERED_FILE = "unanswered.jsonl"  # in the folder of run folders

COMPARED = {"applicable", "rows", "traits", "readings", "broken"}
_SCORE = TypeAdapter(Score)
_UNFIT_FOR_A_NAME = re.compile(r"[^\w.@+-]+")


def as_name(text: str) -> str:
    """Return a text as part of the name of a file or folder."""
    return _UNFIT_FOR_A_NAME.sub("-", text)


def create(parent: Path, name: str) -> Path:
    """Create a new folder `<name>-<time>` in `parent`. Raises RunLogError."""
    stem = f"{as_name(name)}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = parent / f"{stem}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunLogError(f"{folder} cannot be created: {error.strerror}.") from None
        return folder
    raise RunLogError(f"{parent} has too many runs named {stem}; name another folder with --out.")


def run_folders(parent: Path) -> list[Path]:
    """Return the run folders directly in `parent`, by name."""
    return sorted(path.parent for path in parent.glob(f"*/{RUN_FILE}"))


def run_of(path: Path) -> Path | None:
    """Return the run folder that a path is, or whose file it is; None for other paths."""
    return next((folder for folder in (path, path.parent) if (folder / RUN_FILE).is_file()), None)


class Unanswered(Record):
    """A time (ISO 8601) at which a provider could not be sampled, or not to the end, and why.

    `run` is the folder of the run that it ended, or None if no attempt finished.
    """

    provider: str
    at: str
    why: str
    run: str | None = None


def note_unanswered(parent: Path, note: Unanswered) -> None:
    """Append a line to `unanswered.jsonl`. Nothing is raised if it cannot be written."""
    with suppress(OSError), (parent / UNANSWERED_FILE).open("ab") as file:
        file.write(note.model_dump_json().encode() + b"\n")


def unanswered(parent: Path, provider: str | None = None) -> list[Unanswered]:
    """Return when which provider could not be sampled; the earliest first.

    Lines that cannot be read are left out.
    """
    notes: list[Unanswered] = []
    with suppress(OSError):
        for line in (parent / UNANSWERED_FILE).read_bytes().splitlines():
            with suppress(ValidationError):
                notes.append(Unanswered.model_validate_json(line))
    mine = (note for note in notes if provider in (None, note.provider))
    return sorted(mine, key=lambda note: note.at)


def discard_unused(folder: Path) -> bool:
    """Delete the folder of a run without samples; return whether it had none.

    Only output of the provider is kept, in a folder that is no longer a run folder.
    """
    log, output = folder / ROLLOUTS_FILE, folder / PROVIDER_LOG
    if log.exists() and log.stat().st_size:
        return False
    written = (RUN_FILE, CASES_FILE, TOOLS_FILE, GOLDEN_FILE)
    paths = (folder / name for name in written)
    for path in (log, *paths, *(path for name in EVAL_FILES for path in folder.glob(name))):
        path.unlink(missing_ok=True)
    if output.exists() and not output.stat().st_size:
        output.unlink()
    with suppress(OSError):
        folder.rmdir()
    return True


def write_analysis(folder: Path, analysis: Analysis) -> None:
    """Write `analysis.json`."""
    write_text(folder / ANALYSIS_FILE, analysis.model_dump_json(indent=2) + "\n")


def read_analysis(folder: Path) -> Analysis:
    """Read `analysis.json`. Raises RunLogError."""
    with _made_by_recheck(folder / ANALYSIS_FILE) as path:
        return Analysis.model_validate_json(path.read_bytes())


def write_scores(folder: Path, scores: Iterable[Score]) -> None:
    """Write `scores.jsonl` without the fields that only judging needs. Raises RunLogError."""
    with replacing(folder / SCORES_FILE) as file:
        for score in scores:
            file.write(_SCORE.dump_json(score, exclude=COMPARED) + b"\n")


def write_internal_errors(folder: Path, errors: Mapping[str, str]) -> None:
    """Write the tracebacks by name, or remove those of an earlier judgement. Raises RunLogError."""
    if errors:
        write_text(folder / ERRORS_FILE, "\n".join(f"{name}\n{errors[name]}" for name in errors))
    else:
        (folder / ERRORS_FILE).unlink(missing_ok=True)


def read_scores(folder: Path) -> Iterator[Score]:
    """Yield the scores of a run as they were when it was last judged. Raises RunLogError."""
    with _made_by_recheck(folder / SCORES_FILE) as path, opened(path) as file:
        for line in file:
            yield _SCORE.validate_json(line)


@contextmanager
def _made_by_recheck(path: Path) -> Iterator[Path]:
    """Explain why a file that `recheck` makes cannot be read."""
    again = f"gpt-oss-verify recheck {path.parent}"
    try:
        yield path
    except FileNotFoundError:
        problem = f"has no {path.name}; create it with"
        if read_run_info(path.parent).finished_at is None:
            problem = "is not finished; if it was stopped, judge what it has with"
        raise RunLogError(f"{path.parent} {problem}: {again}") from None
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError:
        problem = "is damaged or was written by another version"
        raise RunLogError(f"{path} {problem}; create it again with: {again}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file of the run atomically. Raises RunLogError."""
    with replacing(path) as file:
        file.write(text.encode())
