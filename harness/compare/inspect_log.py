"""Inspect logs: runs exported for `inspect view`, and logs of other evals read for comparisons.

inspect_ai (extra `inspect`) writes and reads the files. A log has one task and one model, so every
task of a run under every condition gets a separate log; the tries at a sample are its epochs.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harmony.extras import install_command
from harness.compare.dataframes import Run, rows_of
from harness.compare.transcripts import Message, transcript
from harness.errors import ConfigurationError, RunLogError, os_errors
from harness.records.conditions import Api, Condition, known_model
from harness.records.record import problem_of
from harness.records.rollouts import Rollout
from harness.records.runs import Sampling, TaskInfo
from harness.records.scores import Score
from harness.run.run_folder import read_scores
from harness.run.run_log import read_rollouts
from harness.tasks.task import Task

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatMessage

_SCORER = "gpt-oss-verify"
_WITHHELD = "(not exported: the text of gated data)"
_SETTINGS = {"temperature", "top_p", "max_tokens", "seed"}
_ROLES = {"system": "system", "developer": "system", "tool": "tool", "function": "tool"}
_Json = dict[str, Any]
_HEAD = 4096  # bytes in which a JSON log has its member `eval`
_WORDS = frozenset({"C", "I", "P", "N", "yes", "no", "true", "false"})
"""Values of scores that inspect_ai turns into numbers, beside numbers."""


def _library() -> ModuleType:
    """Return `inspect_ai.log`. Raises ConfigurationError if it is not installed."""
    try:
        import inspect_ai.log
    except ImportError:
        command = install_command("inspect")
        raise ConfigurationError(
            f"Inspect logs need inspect_ai, which is not installed; install it with: {command}"
        ) from None
    library: ModuleType = inspect_ai.log
    return library


# Reading.


@dataclass(frozen=True)
class InspectTry:
    """One epoch of one sample; `content` hashes the sample.

    `values` has the parts of its score: one without a name, or those of a score with several. A
    part that has no value is missing.
    """

    sample: str
    epoch: int
    content: str
    values: Mapping[str, float]
    question: str
    answer: str
    seconds: float | None
    tokens: int

    @property
    def record(self) -> str:
        """The name of the try in the log."""
        return f"{self.sample}/{self.epoch}"


@dataclass(frozen=True)
class InspectLog:
    """A log of inspect_ai: one task of one model. Times are ISO 8601."""

    path: Path
    task: str
    provider: str
    model: str
    effort: str
    api: Api
    started_at: str
    complete: bool
    epochs: int
    sampling: Sampling
    dataset: str
    version: str
    tries: tuple[InspectTry, ...]

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, tuple[float, ...]]]:
        """The scores by part and sample, in the order of epochs; parts are named `TASK PART`."""
        found: dict[str, dict[str, list[float]]] = {}
        for part in self.parts:
            of_part = found.setdefault(self.named(part), defaultdict(list))
            for one in sorted(self.tries, key=lambda one: one.epoch):
                of_part[one.sample] += [one.values[part]] if part in one.values else []
        return {
            name: {sample: tuple(values) for sample, values in of_part.items()}
            for name, of_part in found.items()
        }

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of the score."""
        return tuple(dict.fromkeys(part for one in self.tries for part in one.values)) or ("",)

    def named(self, part: str) -> str:
        """Return the name of a part of the score as an eval."""
        return f"{self.task} {part}".rstrip()

    def group(self, part: str) -> str:
        """Return a part of the score as rows of comparisons name it."""
        return f"{self.named(part)}, {known_model(self.model) or self.model}, {self.effort} effort"

    @cached_property
    def contents(self) -> Mapping[str, str]:
        """The hash of each sample."""
        return {one.sample: one.content for one in self.tries}


def is_inspect_log(path: Path) -> bool:
    """Return whether a file is a log of inspect_ai, by its name or its first members."""
    if path.suffix == ".eval":
        return path.is_file()
    if path.suffix != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return b'"eval"' in head and b'"task"' in head and b"gpt-oss-verify baseline" not in head


def read_inspect_log(path: Path) -> InspectLog:
    """Return a log. Raises ConfigurationError if it is damaged, or its scores are no numbers."""
    library = _library()
    try:
        log = library.read_eval_log(str(path), resolve_attachments=True)
    except Exception as error:  # noqa: BLE001 (zip, JSON and validation errors of its version)
        raise ConfigurationError(
            f"{path} cannot be read as an Inspect log: {_one_line(problem_of(error))}."
        ) from None
    if not log.samples:
        raise ConfigurationError(f"{path} has no samples; run the eval again with --log-samples.")
    spec, settings = log.eval, log.eval.model_generate_config
    provider, model = _served(spec.model)
    responses = spec.model_args.get("responses_api")
    return InspectLog(
        path=path,
        task=spec.task.rpartition("/")[2],
        provider=provider,
        model=model,
        effort=settings.reasoning_effort or "default",
        api="responses" if responses else "chat",
        started_at=spec.created,
        complete=log.status == "success",
        epochs=spec.config.epochs or 1,
        sampling=Sampling(
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
        ),
        dataset=spec.dataset.name or spec.task,
        version=f"inspect_ai {spec.packages.get('inspect_ai', 'of unknown version')}",
        tries=tuple(_tries(path, log.samples)),
    )


def _served(name: str) -> tuple[str, str]:
    """Return provider and model: `openai-api/groq/openai/gpt-oss-20b` is of groq."""
    provider, _, model = name.removeprefix("openai-api/").partition("/")
    return provider, model or provider


def _tries(path: Path, samples: Sequence[EvalSample]) -> Iterator[InspectTry]:
    from inspect_ai.scorer import value_to_float

    number = value_to_float()
    scorer = next((name for one in samples for name in one.scores or ()), "")
    for one in samples:
        score = (one.scores or {}).get(scorer)
        value = None if score is None else score.value
        parts = value if isinstance(value, Mapping) else {"": value}
        values = {}
        for part, given in parts.items():
            if given is None:
                continue
            made = number(given) if _scalar(given) else math.inf
            if made > 1:
                raise ConfigurationError(
                    f"{path}: the score {scorer} of sample {one.id} is {_one_line(str(given))}; "
                    "scores must be C, P, I or numbers of at most 1."
                )
            if not math.isnan(made):
                values[part] = made
        asked = one.input if isinstance(one.input, str) else _joined(one.input)
        choices = "\n".join(one.choices or ())
        target = one.target if isinstance(one.target, str) else "\n".join(one.target)
        text = f"{asked}\0{choices}\0{target}".encode("utf-8", "surrogatepass")
        usage = one.model_usage or {}
        yield InspectTry(
            sample=str(one.id),
            epoch=one.epoch,
            content=hashlib.sha256(text).hexdigest()[:16],
            values=values,
            question=f"{asked}\n{choices}".strip(),
            answer=one.output.completion or (one.error.message if one.error else ""),
            seconds=one.total_time,
            tokens=sum(each.output_tokens for each in usage.values()),
        )


def _scalar(value: object) -> bool:
    if isinstance(value, str):
        return value in _WORDS or re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
    return isinstance(value, bool | int | float)


def _joined(messages: Iterable[ChatMessage]) -> str:
    return "\n\n".join(f"{message.role}: {message.text}" for message in messages)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200].rstrip(".")


# Writing.


def write_inspect_logs(
    run: Run, tasks: Sequence[Task], out: Path, *, gated: bool = False
) -> list[Path]:
    """Write a log for every task and condition of a run into a folder, and return the files.

    `tasks` are those of the run; they know the target of each sample, a call or an answer. Requests
    of probes have no target. The texts of gated data are only included with `gated`; the letter of
    the right choice is not such a text. Raises ConfigurationError and RunLogError.
    """
    library = _library()
    scores = {score.record: score for score in read_scores(run.folder) if score.finished}
    withheld = {task.name for task in run.info.tasks if task.dataset and task.dataset.gated}
    targets = {task.name: task.target for task in tasks}
    groups = [(task, used) for task in run.info.tasks for used in task.conditions]
    samples: dict[tuple[str, Condition], list[_Json]] = {
        (task.name, used): [] for task, used in groups
    }
    for rollout in read_rollouts(run.folder):
        score = scores.get(rollout.id)
        own, every_mode = rollout.condition, rollout.condition.alternating
        key = (rollout.task, own if (rollout.task, own) in samples else every_mode)
        if score is not None and key in samples:
            hidden = rollout.task in withheld and not gated
            target = targets[rollout.task](rollout) if rollout.task in targets else ""
            samples[key].append(_sample(rollout, score, target, withheld=hidden))
    paths = []
    for task, used in groups:
        path = out / f"{_file_name(run, task, used)}.json"
        content = _header(run, task, used) | {"samples": samples.pop((task.name, used))}
        with os_errors(RunLogError, f"{out} cannot be written"):
            library.write_eval_log(library.EvalLog.model_validate(content), path, format="json")
        paths.append(path)
    return paths


def _file_name(run: Run, task: TaskInfo, condition: Condition) -> str:
    """Return the name that Inspect expects: `2026-11-01T10-00-00+00-00_TASK_…`."""
    parts = (task.name, condition.model, condition.effort or "", condition.api, condition.mode)
    name = "-".join(re.sub(r"[^\w.]+", "-", part) for part in parts if part)
    return f"{run.info.started_at.replace(':', '-')}_{name}"


def _header(run: Run, task: TaskInfo, condition: Condition) -> _Json:
    info, sampling = run.info, task.sampling
    rows = rows_of(run.attempts, task.name, condition)
    made = rows[rows["finished"]]
    counts = rows_of(run.usage, task.name, condition)[["input", "output", "reasoning"]].sum()
    settings = sampling.model_dump(include=_SETTINGS, exclude_none=True)
    effort = {"reasoning_effort": condition.effort} if condition.effort else {}
    metrics = {"mean": {"name": "mean", "value": float(made["value"].mean())}}
    score = {"name": _SCORER, "scorer": _SCORER, "metrics": metrics}
    return {
        "status": "success" if len(made) == len(rows) else "cancelled",
        "eval": {
            "run_id": run.folder.name,
            "created": info.started_at,
            "task": task.name,
            "task_id": f"{run.folder.name}-{task.name}-{condition.name}",
            "dataset": {
                "name": task.dataset.source if task.dataset else task.name,
                "samples": task.samples,
                "sample_ids": list(dict.fromkeys(rows["sample"])),
            },
            "model": f"{info.provider.name}/{condition.model}",
            "model_base_url": info.provider.base_url,
            "model_generate_config": settings | effort,
            "config": {"epochs": task.tries},
            "packages": {"gpt-oss-verify": info.tool_version},
            "metadata": {"api": condition.api, "mode": condition.mode},
            "scorers": [{"name": _SCORER}],
        },
        "plan": {"name": "plan", "steps": []},
        "results": {
            "total_samples": len(rows),
            "completed_samples": len(made),
            "scores": [score] if made["value"].notna().any() else [],
        },
        "stats": {
            "started_at": info.started_at,
            "completed_at": info.finished_at or "",
            "model_usage": {condition.model: _usage(*map(int, counts))},
        },
    }


def _sample(rollout: Rollout, score: Score, target: str, *, withheld: bool) -> _Json:
    messages = transcript(rollout).messages
    if withheld:
        messages = tuple({"role": message["role"], "content": _WITHHELD} for message in messages)
    converted = list(_messages(messages))
    first = next((n for n, one in enumerate(converted) if one["role"] == "assistant"), 0)
    counts = score.usage
    usage = _usage(counts.input or 0, counts.output or 0, counts.reasoning or 0)
    return {
        "id": rollout.sample,
        "epoch": rollout.attempt,
        "input": converted[:first],
        "target": target,
        "messages": converted,
        "output": _output(rollout, score, converted) | {"usage": usage},
        "scores": {} if score.value is None else {_SCORER: _value(score)},
        "metadata": {
            "record": rollout.id,
            "outcome": score.outcome,
            "findings": [
                finding.model_dump(include={"id", "severity", "message"})
                for finding in score.findings
            ],
        },
        "model_usage": {rollout.condition.model: usage},
        "total_time": sum(exchange.elapsed for exchange in rollout.exchanges),
        "uuid": rollout.id,
    }


def _value(score: Score) -> _Json:
    return {
        "value": score.value,
        "answer": score.answer or score.got,
        "explanation": score.detail or score.outcome,
        "metadata": {"outcome": score.outcome, "openai_value": score.openai_value},
    }


def _output(rollout: Rollout, score: Score, messages: Sequence[_Json]) -> _Json:
    last = messages[-1] if messages else None
    if last is None or last["role"] != "assistant":
        return {"model": rollout.condition.model, "choices": []}
    stop = "max_tokens" if score.outcome == "truncated" else "stop"
    reason = "tool_calls" if last.get("tool_calls") else stop
    failed = rollout.end in ("failed", "unreadable")
    return {
        "model": rollout.condition.model,
        "choices": [{"message": last, "stop_reason": reason}],
        **({"error": score.detail or rollout.end} if failed else {}),
    }


def _messages(messages: Iterable[Message]) -> Iterator[_Json]:
    """Yield messages in Inspect's format; the parts of one assistant turn become one message."""
    for role, parts in groupby(messages, key=itemgetter("role")):
        if role == "assistant":
            yield _assistant(list(parts))
        else:
            yield from map(_message, parts)


def _message(message: Message) -> _Json:
    role = _ROLES.get(message["role"], "user")
    call = {"tool_call_id": message.get("tool_call_id")} if role == "tool" else {}
    return {"role": role, "content": message["content"], **call}


def _assistant(parts: Sequence[Message]) -> _Json:
    text = "".join(part["content"] or part.get("error", "") for part in parts)
    thoughts = [str(part["reasoning"]) for part in parts if part.get("reasoning")]
    thought = {"type": "reasoning", "reasoning": "\n".join(thoughts)}
    content = [thought, {"type": "text", "text": text}] if thoughts else text
    calls = [_call(call) for part in parts for call in part.get("tool_calls", ())]
    return {"role": "assistant", "content": content, **({"tool_calls": calls} if calls else {})}


def _call(call: _Json) -> _Json:
    function = call.get("function") or {}
    text, arguments, problem = str(function.get("arguments")), {}, None
    try:
        arguments = json.loads(text)
    except ValueError as error:
        problem = f"{error}: {text}"
    if not isinstance(arguments, dict):
        arguments, problem = {}, f"not a JSON object: {text}"
    return {
        "id": str(call.get("id")),
        "function": str(function.get("name")),
        "arguments": arguments,
        "parse_error": problem,
        "type": "function",
    }


def _usage(input_tokens: int, output_tokens: int, reasoning_tokens: int) -> _Json:
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "reasoning_tokens": reasoning_tokens,
    }
