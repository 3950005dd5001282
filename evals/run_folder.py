"""What the folder of an eval run holds besides its logs; nothing in it needs the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from evals.base import DatasetInfo
from evals.datasets.identity import rows_sha256
from evals.datasets.load import Loaded
from evals.datasets.rows import read_file, validate_rows
from evals.records import EVAL_RUN, EvalRunInfo, TryScore
from evals.registry import ROWS
from evals.results import EvalAnalysis
from harness.errors import RunLogError
from harness.storage.run_folder import ANALYSIS_FILE, PROVIDER_LOG, SCORES_FILE, write_text
from harness.storage.run_log import ROLLOUTS_FILE, RUN_FILE, read_info


def read_eval_info(folder: Path) -> EvalRunInfo:
    """Read the `run.json` of an eval run. Raises RunLogError if there is none or it is not one."""
    return read_info(folder, EvalRunInfo, EVAL_RUN)


def questions_file(name: str) -> str:
    """The name of the file with the questions of an eval."""
    return f"questions-{name}.jsonl"


def write_questions(folder: Path, data: Loaded[Any]) -> None:
    """Keep the rows of an eval, so that the run can be judged again. Raises RunLogError."""
    if data.info.eval in ROWS:
        rows = (row.model_dump_json(by_alias=True) for row in data.rows)
        write_text(folder / questions_file(data.info.eval), "".join(f"{row}\n" for row in rows))


def read_questions(folder: Path, info: DatasetInfo) -> Loaded[Any]:
    """The rows of an eval as the run asked them.

    Raises:
        ConfigurationError: If they are missing or cannot be read.
        RunLogError: If they are not those that `run.json` speaks of.
    """
    if info.eval not in ROWS:
        return Loaded((), info)
    path = folder / questions_file(info.eval)
    rows = validate_rows(read_file(path), ROWS[info.eval])
    if rows_sha256(row.content() for row in rows) != (info.withheld or info.sha256):
        raise RunLogError(f"{path} was changed after the run; put it back.")
    return Loaded(rows, info)


def write_scores(folder: Path, scores: Iterable[TryScore]) -> Iterator[TryScore]:
    """Hand the scores on, each written to `scores.jsonl`, which is replaced at the end.

    Raises:
        RunLogError: The file cannot be written.
    """
    path = folder / SCORES_FILE
    draft = path.with_name(f"{path.name}.tmp")
    try:
        with draft.open("wb") as file:
            for score in scores:
                file.write(score.model_dump_json().encode() + b"\n")
                yield score
        draft.replace(path)
    except OSError as error:
        raise RunLogError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)


def read_scores(folder: Path) -> Iterator[TryScore]:
    """The scores as they were when the run was last judged. Raises RunLogError."""
    path = folder / SCORES_FILE
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield TryScore.model_validate(orjson.loads(line))
                except (orjson.JSONDecodeError, ValidationError):
                    raise RunLogError(_again(folder, f"{path}, line {number} is damaged")) from None
    except OSError as error:
        raise RunLogError(_again(folder, f"{path} cannot be read: {error.strerror}")) from None


def write_analysis(folder: Path, analysis: EvalAnalysis) -> None:
    """Write `analysis.json`. Raises RunLogError."""
    write_text(folder / ANALYSIS_FILE, analysis.model_dump_json(indent=2) + "\n")


def read_analysis(folder: Path) -> EvalAnalysis:
    """Read `analysis.json`. Raises RunLogError."""
    path = folder / ANALYSIS_FILE
    try:
        return EvalAnalysis.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RunLogError(_again(folder, f"{folder} has no {ANALYSIS_FILE}")) from None
    except OSError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}.") from None
    except ValidationError:
        raise RunLogError(_again(folder, f"{path} was written by another version")) from None


def discard_unused(folder: Path) -> bool:
    """Whether nothing was sampled in a run; then its folder goes, save a provider's output."""
    log, output = folder / ROLLOUTS_FILE, folder / PROVIDER_LOG
    if log.exists() and log.stat().st_size:
        return False
    if not (output.exists() and output.stat().st_size):
        for path in (log, output, folder / RUN_FILE, *folder.glob(questions_file("*"))):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()
    return True


def _again(folder: Path, problem: str) -> str:
    return f"{problem}; make it again with: gpt-oss-verify recheck {folder}"
