"""Runs as logs of inspect_ai, which writes them (extra `inspect`): `inspect view` opens them.

A log has one task and one model, so every task of a run under every condition gets a separate log;
the tries at a sample are its epochs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from harness.compare.dataframes import Run, rows_of
from harness.compare.inspect_log import inspect_library
from harness.compare.transcripts import Message, transcript
from harness.errors import RunLogError, os_errors
from harness.records.conditions import Condition
from harness.records.rollouts import Rollout
from harness.records.runs import TaskInfo
from harness.records.scores import Score
from harness.run.run_folder import read_scores
from harness.run.run_log import read_rollouts
from harness.tasks.task import Task

_SCORER = "gpt-oss-verify"
_WITHHELD = "(not exported: the text of gated data)"
_SETTINGS = {"temperature", "top_p", "max_tokens", "seed"}
_ROLES = {"system": "system", "developer": "system", "tool": "tool", "function": "tool"}
_Json = dict[str, Any]


def write_inspect_logs(
    run: Run, tasks: Sequence[Task], out: Path, *, gated: bool = False
) -> list[Path]:
    """Write a log for every task and condition of a run into a folder, and return the files.

    `tasks` are those of the run; they know the target of each sample, a call or an answer. Requests
    of probes have no target. The texts of gated data are only included with `gated`; the letter of
    the right choice is not such a text. Raises ConfigurationError and RunLogError.
    """
    library = inspect_library()
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
    first = next((n for n, message in enumerate(converted) if message["role"] == "assistant"), 0)
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
    except (ValueError, RecursionError) as error:
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
