"""Folders of sgl-eval 0.1: `metrics.json`, and `output-rsN.jsonl` with a row per question."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from harness.compare.eval_log import (
    STOPS,
    EvalLog,
    LogTry,
    question_hash,
    readable,
    rows_of,
    time_of,
)
from harness.errors import ConfigurationError
from harness.records.settings import Sampling

_METRICS = "metrics.json"
_REPEATS = "output-rs*.jsonl"


def is_sgl_eval(folder: Path) -> bool:
    """Return whether a folder is the output of sgl-eval."""
    return (folder / _METRICS).is_file() and any(folder.glob(_REPEATS))


def read_sgl_eval(folder: Path) -> tuple[EvalLog, ...]:
    """Return the log of a folder.

    Raises ConfigurationError if the run was not finished, or files are missing or damaged.
    """
    with readable(folder, "sgl-eval"):
        made = orjson.loads((folder / _METRICS).read_bytes())
        tries = tuple(tried for path in folder.glob(_REPEATS) for tried in _tries(path))
        if made.get("partial") or len(tries) < made["num_examples"] * made["n_repeats"]:
            raise ConfigurationError(
                f"{folder} has no complete results: sgl-eval was stopped before the end; repeat "
                "the run."
            )
        asked: Mapping[str, Any] = made.get("gen") or {}
        seed = asked.get("seed")
        log = EvalLog(
            path=folder,
            task=made["name"],
            provider=urlsplit(made.get("base_url") or "").netloc or "sgl-eval",
            model=made["model"],
            effort=str(asked.get("reasoning_effort") or "default"),
            api="chat",
            started_at=time_of(folder, Path(_METRICS)),
            complete=True,
            epochs=made["n_repeats"],
            sampling=Sampling(
                temperature=asked.get("temperature"),
                top_p=asked.get("top_p"),
                max_tokens=asked.get("max_tokens"),
            ),
            dataset=made["name"],
            version=f"sgl-eval {made.get('sgl_eval_version', 'of unknown version')}",
            scorer="sgl-eval",
            tries=tries,
            seeds=frozenset() if seed is None else frozenset([int(seed)]),
        )
        return (log,)


def _tries(path: Path) -> Iterator[LogTry]:
    epoch = int(path.stem.removeprefix("output-rs")) + 1
    for row in rows_of(path):
        yield LogTry(
            sample=str(row["id"]),
            epoch=epoch,
            content=question_hash(row["problem"], str(row["expected_answer"])),
            values={"": float(bool(row["symbolic_correct"]))},
            question=row["problem"],
            answer=row.get("generation") or "",
            seconds=None,
            tokens=row.get("num_generated_tokens") or 0,
            target=str(row["expected_answer"]),
            stop=STOPS.get(row.get("finish_reason")),
        )
