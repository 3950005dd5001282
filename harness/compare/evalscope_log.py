"""Folders of evalscope 1 (`outputs/TIME`): `reviews` have the scores, `predictions` the replies.

A row of both is one repeat of one question. Repeats of a question share `group_id`; requests that
failed (`ignore_errors`) have no row, and count as failed here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import yaml

from harness.compare.eval_log import (
    STOPS,
    EvalLog,
    LogTry,
    member,
    question_hash,
    readable,
    rows_of,
    time_of,
)
from harness.errors import ConfigurationError
from harness.records.settings import Sampling

_CONFIG = Path("configs", "task_config.yaml")


def is_evalscope(folder: Path) -> bool:
    """Return whether a folder is the output of evalscope."""
    return (folder / _CONFIG).is_file()


def read_evalscope(folder: Path) -> tuple[EvalLog, ...]:
    """Return the logs of a folder, one for each benchmark and model.

    Raises ConfigurationError if the run was not finished, or files are missing or damaged.
    """
    with readable(folder, "evalscope"):
        config = yaml.safe_load((folder / _CONFIG).read_text("utf-8"))
        by_task: dict[tuple[Path, str], list[Path]] = defaultdict(list)
        for path in sorted((folder / "reviews").glob("*/*.jsonl*")):
            fitting = [name for name in config["datasets"] if path.name.startswith(f"{name}_")]
            by_task[path.parent, max(fitting, key=len)].append(path)
        finished = [_report(folder, *task) for task in by_task]
        if not finished or not all(finished) or list(folder.glob("reviews/*/*.rerun-*")):
            raise ConfigurationError(
                f"{folder} has no complete results: evalscope was stopped before the end; finish "
                f"the run with --use-cache {folder}."
            )
        return tuple(
            _log(folder, config, task, files, report)
            for (task, files), report in zip(by_task.items(), finished, strict=True)
        )


def _report(folder: Path, reviews: Path, benchmark: str) -> Mapping[str, Any]:
    """Return the summary of the execution; nothing if the run was not finished.

    evalscope 1.14.1 also calls a finished run `incomplete` if `ignore_errors` lost a request.
    """
    path = folder / "reports" / reviews.name / f"{benchmark}.json"
    if not path.exists():
        return {}
    report = orjson.loads(path.read_bytes())
    summary = report.get("execution_summary") or {"requested": report["num"]}
    done = summary.get("succeeded", summary["requested"]) + summary.get("errored", 0)
    return {} if done < summary["requested"] else summary


def _log(
    folder: Path,
    config: Mapping[str, Any],
    task: tuple[Path, str],
    files: Sequence[Path],
    summary: Mapping[str, Any],
) -> EvalLog:
    reviews, benchmark = task
    asked = {k: v for k, v in (config.get("generation_config") or {}).items() if k != "batch_size"}
    repeats = int(config.get("repeats") or 1)
    tries: list[LogTry] = []
    for path in files:
        subset = path.stem.removeprefix(f"{benchmark}_")
        made = list(_tries(path, folder / "predictions" / reviews.name / path.name, subset))
        planned = summary.get("subsets", {}).get(subset, summary if len(files) == 1 else {})
        tries += [*made, *_lost(made, subset, int(planned.get("requested", len(made))), repeats)]
    return EvalLog(
        path=folder,
        task=benchmark,
        provider=urlsplit(config.get("api_url") or "").netloc or str(config.get("eval_type")),
        model=str(config["model"]),
        effort=str(member(asked, "reasoning_effort") or "default"),
        api="chat",
        started_at=time_of(folder, _CONFIG),
        complete=True,
        epochs=repeats,
        sampling=Sampling(
            temperature=asked.get("temperature") if asked else 0.0,  # its default for APIs
            top_p=asked.get("top_p"),
            max_tokens=asked.get("max_tokens"),
        ),
        dataset=str(member(config.get("resolved_benchmarks") or {}, "dataset_id") or benchmark),
        version=f"evalscope {config.get('evalscope_version', 'of unknown version')}",
        scorer="evalscope",
        tries=tuple(tries),
        seeds=frozenset() if asked.get("seed") is None else frozenset([int(asked["seed"])]),
    )


def _tries(reviews: Path, predictions: Path, subset: str) -> Iterator[LogTry]:
    predicted = {row["index"]: row["model_output"] for row in rows_of(predictions)}
    number: Counter[int] = Counter()
    latest = {row["index"]: row for row in rows_of(reviews)}  # a rerun appends
    for row in sorted(latest.values(), key=lambda row: int(row["sample_score"]["sample_id"])):
        placed, score = row["sample_score"], row["sample_score"]["score"]
        values, group = score["value"], int(placed["group_id"])
        number[group] += 1
        main = score.get("main_score_name") or next(iter(values), "")
        value = float(values[main]) if main in values else None  # some are excluded
        if value is not None and value > 1:
            raise ConfigurationError(
                f"{reviews}: the score {main} of question {group} is {value:g}; scores must be "
                "numbers of at most 1."
            )
        output = predicted[row["index"]]
        reply: dict[str, Any] = next(iter(output["choices"]), {"stop_reason": "error"})
        parts = (reply.get("message") or {}).get("content")
        messages = row.get("messages") or [{"role": "user", "content": row.get("input", "")}]
        asked = [each for each in messages if each["role"] in ("system", "user")]
        question = "\n\n".join(_text(each["content"]) for each in asked)
        targets = row.get("target") or ""
        target = targets if isinstance(targets, str) else "\n".join(map(str, targets))
        repeat = placed.get("generation_index")  # which is new
        refused = any(isinstance(part, dict) and part.get("refusal") for part in parts or ())
        yield LogTry(
            sample=f"{subset} {group}",
            epoch=number[group] if repeat is None else int(repeat) + 1,
            content=question_hash(question, target),
            values={} if value is None else {"": value},
            question=question,
            answer=_text(parts),
            seconds=output.get("time"),
            tokens=(output.get("usage") or {}).get("output_tokens") or 0,
            target=target,
            stop="refused" if refused else STOPS.get(reply.get("stop_reason")),
        )


def _lost(made: Sequence[LogTry], subset: str, requested: int, repeats: int) -> Iterator[LogTry]:
    """Yield the requests without a row, as failed; nothing but their place is known."""
    known = {tried.sample: tried for tried in made}
    present = {(tried.sample, tried.epoch) for tried in made}
    for number in range(requested if len(made) < requested else 0):
        sample, epoch = f"{subset} {number // repeats}", number % repeats + 1
        if (sample, epoch) not in present:
            nothing = LogTry(sample, epoch, "", {}, "", "", None, 0)
            yield replace(
                known.get(sample, nothing),
                epoch=epoch,
                values={"": 0.0},
                answer="",
                seconds=None,
                tokens=0,
                stop="provider_error",
            )


def _text(content: object) -> str:
    """Return a text, or the texts among the parts of a message."""
    if isinstance(content, str) or content is None:
        return content or ""
    assert isinstance(content, list)
    return "".join(part.get("text") or "" for part in content if part.get("type") == "text")
