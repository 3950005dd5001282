"""Logs of lm_eval (lm-evaluation-harness 0.4): `samples_TASK_TIME.jsonl` with `results_TIME.json`.

A run of lm_eval asks every question once; its `repeats` are reduced to one value before they are
scored. The runs in a folder are the tries. Each metric of each filter is a score of its own, with
the name that lm_eval prints: `exact_match,strict-match`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from harness.compare.eval_log import EvalLog, LogTry, hashed, member, readable, rows_of
from harness.errors import ConfigurationError
from harness.records.settings import Sampling

_RESULTS, _SAMPLES = "results_", "samples_"
_CHOICES = ("choice1", "choice2", "choice3", "choice4")  # of GPQA's documents, as shuffled
_SEED = 1234  # the seed of requests unless `model_args` has one


def is_lm_eval(path: Path) -> bool:
    """Return whether a file has samples or results of lm_eval, or a folder has results."""
    if path.is_dir():
        return bool(results_files(path))
    samples = path.name.startswith(_SAMPLES) and path.suffix == ".jsonl" and path.is_file()
    return samples or path in results_files(path.parent)


def results_files(folder: Path) -> list[Path]:
    """Return the results of all runs in a folder of lm_eval or in the folders of models in it."""
    return sorted([*folder.glob(f"{_RESULTS}*.json"), *folder.glob(f"*/{_RESULTS}*.json")])


def read_lm_eval(path: Path) -> tuple[EvalLog, ...]:
    """Return the logs of samples, of results, or of all runs in a folder: one for each task.

    Raises ConfigurationError if files are missing or damaged, or runs in a folder differ.
    """
    if path.is_dir():
        files = [file for results in results_files(path) for file in _samples_of(results)]
    else:
        files = _samples_of(path) if path.name.startswith(_RESULTS) else [path]
    by_task: dict[str, list[EvalLog]] = {}
    for file in files:
        log = _read(file)
        by_task.setdefault(log.task, []).append(log)
    return tuple(_joined(path, logs) for logs in by_task.values())


def _samples_of(results: Path) -> list[Path]:
    time = results.stem.removeprefix(_RESULTS)
    files = sorted(results.parent.glob(f"{_SAMPLES}*_{time}.jsonl"))
    if not files:
        raise ConfigurationError(
            f"{results} has no samples beside it; run lm_eval again with --log_samples."
        )
    return files


def _joined(path: Path, logs: list[EvalLog]) -> EvalLog:
    """Return the runs of one task as one log; each is a try."""
    first = logs[0]
    for log in logs:
        for name in ("provider", "model", "effort", "sampling", "scorer"):
            if getattr(log, name) != getattr(first, name):
                raise ConfigurationError(
                    f"{path}: the runs of {first.task} differ in {name}, such as "
                    f"{first.path.name} and {log.path.name}, so they are not repeats of each "
                    "other; put them into folders of their own."
                )
    tries = tuple(
        replace(e, epoch=number) for number, log in enumerate(logs, start=1) for e in log.tries
    )
    seeds = frozenset().union(*(log.seeds for log in logs))
    return replace(first, path=path, epochs=len(logs), tries=tries, seeds=seeds)


def _read(path: Path) -> EvalLog:
    task, _, time = path.stem.removeprefix(_SAMPLES).rpartition("_")
    results = path.with_name(f"{_RESULTS}{time}.json")
    if not results.exists():
        raise ConfigurationError(
            f"{results} is missing: it names the model of {path.name}; copy it there."
        )
    with readable(path, "lm_eval"):
        made = orjson.loads(results.read_bytes())
        rows = rows_of(path)
        config = made["config"]
        metrics = _metrics(made, task, rows)
        tries = _tries(rows, metrics)
        settings = _settings(rows[0])
        args = _model_args(config["model_args"])
        asked = {**args, **(config.get("gen_kwargs") or {}), **settings}
        return EvalLog(
            path=path,
            task=task,
            provider=urlsplit(str(args.get("base_url", ""))).netloc or made["model_source"],
            model=made["model_name"],
            effort=str(member(asked, "reasoning_effort") or "default"),
            api="chat" if "chat" in made["model_source"] else "harmony",
            started_at=datetime.fromtimestamp(made["date"], UTC).isoformat(timespec="seconds"),
            complete=made["n-samples"][task]["effective"] == len(tries),
            epochs=1,
            sampling=Sampling(
                temperature=settings.get("temperature"),
                top_p=settings.get("top_p"),
                max_tokens=settings.get("max_gen_toks") or settings.get("max_tokens"),
            ),
            dataset=made["configs"][task].get("dataset_path") or task,
            version=f"lm_eval {made.get('lm_eval_version', 'of unknown version')}",
            scorer=f"lm_eval's {' and '.join(metrics)}",
            seeds=frozenset([int(args.get("seed", _SEED))]),
            until=tuple(map(str, settings.get("until") or ())),
            cache=config.get("use_cache"),
            tries=tries,
        )


def _metrics(made: Mapping[str, Any], task: str, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The metrics with values of at most 1 where more is better. Raises ConfigurationError."""
    better = made.get("higher_is_better", {}).get(task, {})
    usables: dict[str, bool] = {}
    for row in rows:
        for metric in row["metrics"]:
            value, name = row[metric], f"{metric},{row['filter']}"
            usable = isinstance(value, bool | int | float) and value <= 1
            usables[name] = usables.get(name, better.get(metric) is not False) and usable
    names = [name for name, usable in usables.items() if usable]
    if not names:
        raise ConfigurationError(
            f"The task {task} of lm_eval has no metric whose values are numbers of at most 1 where "
            f"more is better ({', '.join(usables) or 'none at all'}), so it cannot be compared."
        )
    return names


def _tries(rows: Iterable[Mapping[str, Any]], metrics: Iterable[str]) -> tuple[LogTry, ...]:
    """Return one try for each question; a row has the metrics of one filter."""
    wanted = set(metrics)
    first: dict[int, Mapping[str, Any]] = {}
    values: dict[int, dict[str, float]] = {}
    for row in rows:
        first.setdefault(row["doc_id"], row)
        named = {f"{metric},{row['filter']}": row[metric] for metric in row["metrics"]}
        kept = {name: float(value) for name, value in named.items() if name in wanted}
        values.setdefault(row["doc_id"], {}).update(kept)
    return tuple(
        LogTry(
            sample=str(doc),
            epoch=1,
            content=_content(row),
            values=values[doc],
            question=_question(row),
            answer=_text(row["resps"]),
            seconds=None,
            tokens=0,
            target=str(row.get("target", "")),
        )
        for doc, row in first.items()
    )


def _content(row: Mapping[str, Any]) -> str:
    """Return a hash of question and target; of choices, in any order and with the right text.

    lm_eval shuffles the choices of GPQA with a state that tasks before it and the cache of
    `datasets` change, so that equal seeds do not give equal orders.
    """
    target, doc = str(row.get("target", "")).strip(" ()"), row.get("doc") or {}
    listed = doc.get("choices") or [doc[name] for name in _CHOICES if name in doc]
    if len(target) == 1 and 0 <= (at := ord(target) - ord("A")) < len(listed):
        fields = doc.values()
        texts = [each for each in fields if isinstance(each, str) and each.strip(" ()") != target]
        return hashed(*sorted({*texts, *map(str, listed)}), str(listed[at]))
    return f"{row['doc_hash'][:16]} {row['target_hash'][:16]}"


def _model_args(given: object) -> dict[str, Any]:
    """Return `model_args`, which lm_eval stores as they were given: as an object or as a text."""
    if isinstance(given, str):
        return dict(part.strip().split("=", 1) for part in given.split(",") if "=" in part)
    return given if isinstance(given, dict) else {}


def _arguments(row: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the prompt and the settings of the first request for a question."""
    given = next(iter(row["arguments"].values()))
    return given["arg_0"], given.get("arg_1")


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    settings = _arguments(row)[1]
    return settings if isinstance(settings, dict) else {}


def _question(row: Mapping[str, Any]) -> str:
    """Return the prompt; with a chat template, it is a list with the messages as JSON."""
    asked = _text(_arguments(row)[0])
    try:
        return "\n\n".join(f"{e['role']}: {e['content']}" for e in orjson.loads(asked))
    except (ValueError, LookupError, TypeError):
        return asked


def _text(value: object) -> str:
    while isinstance(value, list) and value:
        value = value[0]
    return str(value)
