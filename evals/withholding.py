"""Removes the texts of gated questions from a run.

A question keeps its id and the order of its choices; an answer keeps its length, its hash and the
letters extracted from it; a request keeps its settings; a reply keeps its model, finish reason,
token counts and the times of its text events. The letters determine the same scores as the texts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from evals.answer_eval import AnswerEval
from evals.datasets import questions_file, rows_sha256
from evals.noted import note, withheld
from evals.restoring import read_questions, restored_evals
from harness.api import DIALECTS
from harness.api.items import Reply, UnreadableReplyError
from harness.api.sse import stream_events
from harness.api.stream_events import carries_text
from harness.errors import ConfigurationError
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Response, Rollout, StreamPart, TransportFailure
from harness.records.runs import TaskInfo
from harness.run.published_copy import Withholding
from harness.run.run_log import read_run_info
from harness.text import refusal_phrase

_TEXTS = ("messages", "input", "instructions", "tools")
_REFUSED = "[withheld]"
_SILENT: Mapping[Api, str] = {
    "chat": 'data: {"choices":[{"index":0,"delta":{"reasoning_content":"-"}}]}',
    "responses": 'data: {"type":"response.output_text.delta","delta":"-"}',
}
"""Events with a placeholder instead of their text."""


def gated_texts(folder: Path) -> Withholding:
    """Return what a published copy of a run withholds. Raises ConfigurationError or RunLogError."""
    info = read_run_info(folder)
    if info.settings.unread_grader and any(t.dataset and t.dataset.gated for t in info.tasks):
        raise ConfigurationError(
            f"{folder} has grades that quote gated questions; a run with `grade --unread` on gated "
            "data cannot be published."
        )
    tests: dict[str, AnswerEval] = {}
    files, digests = {}, {}
    for task in restored_evals(folder, info):
        data = task.info.dataset
        if data is None or not data.gated or data.withheld:
            continue
        rows = read_questions(folder, data)
        if not isinstance(task.test, AnswerEval) or not hasattr(rows.rows[0], "withheld"):
            raise ConfigurationError(
                f"The questions of {data.eval} are gated, and the tool cannot withhold them."
            )
        if any(condition.api == "harmony" for condition in task.info.conditions):
            raise ConfigurationError(
                f"The questions of {data.eval} are gated, and the tool cannot withhold them from "
                "prompts of token ids (--apis harmony)."
            )
        tests[data.eval] = task.test
        bare = [row.withheld(name) for row, name in zip(rows.rows, task.test.items, strict=True)]
        digests[data.eval] = rows_sha256(row.content() for row in bare)
        lines = (row.model_dump_json(by_alias=True) for row in bare)
        files[questions_file(data.eval)] = "".join(f"{line}\n" for line in lines)
    if not tests:
        return Withholding()

    def published(record: Rollout) -> Rollout:
        test = tests.get(record.task)
        return record if test is None else _without_texts(record, test)

    return Withholding(tuple(_described(task, digests) for task in info.tasks), files, published)


def _described(task: TaskInfo, digests: Mapping[str, str]) -> TaskInfo:
    """Return a task with the hash of the rows that replace its own."""
    if task.dataset is None or task.name not in digests:
        return task
    data = task.dataset.model_copy(update={"withheld": digests[task.name]})
    return task.model_copy(update={"dataset": data})


def _without_texts(record: Rollout, test: AnswerEval) -> Rollout:
    exchanges = [_silent(exchange, record.api) for exchange in record.exchanges]
    if exchanges and record.end != "failed":
        try:
            reply = DIALECTS[record.api].read(record.exchanges[-1])
        except UnreadableReplyError:
            pass
        else:
            given = (record.sample, record.presentation, reply.text)
            letters = test.answer(*given), test.openai_answer(record.sample, reply.text)
            text = refusal_phrase(reply.text) + note(reply.text, *letters) if reply.text else ""
            response = _condensed(exchanges[-1], record.api, reply, text)
            exchanges[-1] = exchanges[-1].model_copy(update={"response": response})
    return record.model_copy(update={"exchanges": tuple(exchanges)})


def _silent(exchange: Exchange, api: Api) -> Exchange:
    """Return the exchange without its texts; in a stream, only the events that had text remain."""
    request, response = exchange.request, exchange.response
    body = {name: value for name, value in (request.body or {}).items() if name not in _TEXTS}
    if response is not None:
        times = [event.at for event in stream_events(response.parts) if carries_text(event)]
        parts = tuple(StreamPart(at, _SILENT[api]) for at in times)
        text = None if response.parts else withheld(response.body or "")
        response = response.model_copy(update={"body": text, "parts": parts})
    changes = {
        "request": request.model_copy(update={"body": body, "text": None}),
        "response": response,
        "failure": _unquoted(exchange.failure),
        "retries": tuple(
            retry.model_copy(update={"failure": _unquoted(retry.failure)})
            for retry in exchange.retries
        ),
    }
    return exchange.model_copy(update=changes)


def _unquoted(failure: TransportFailure | None) -> TransportFailure | None:
    return failure and failure.model_copy(update={"message": withheld(failure.message)})


def _condensed(silent: Exchange, api: Api, reply: Reply, text: str) -> Response | None:
    """Return the response of a silent exchange, with `text` as the text of its reply."""
    response = silent.response
    streamed = bool((silent.request.body or {}).get("stream"))
    value = _CONDENSED[api](reply, text)
    if response is None or not streamed:
        body = orjson.dumps(value).decode()
        return response and response.model_copy(update={"body": body, "parts": ()})
    parts = response.parts
    at = parts[-1].at if parts else 0.0
    if api == "chat":
        (choice,) = value["choices"]
        value["choices"] = [choice | {"delta": choice.pop("message")}]
        parts = parts[:-1] if text else parts
    else:
        value = {"type": "response.completed", "response": value}
    event = StreamPart(at, f"data: {orjson.dumps(value).decode()}")
    return response.model_copy(update={"body": None, "parts": (*parts, event)})


def _chat(reply: Reply, text: str) -> dict[str, Any]:
    choice = reply.raw["choices"][0]
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if choice["message"].get("refusal"):
        message["refusal"] = _REFUSED
    kept = {name: reply.raw.get(name) for name in ("id", "object", "created", "model", "usage")}
    finish = {"index": 0, "message": message, "finish_reason": choice.get("finish_reason")}
    return kept | {"choices": [finish]}


def _responses(reply: Reply, text: str) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": text, "annotations": []}]
    if any(
        part.get("type") == "refusal"
        for item in reply.raw["output"]
        for part in item.get("content") or ()
    ):
        parts.append({"type": "refusal", "refusal": _REFUSED})
    names = ("id", "object", "created_at", "model", "status", "incomplete_details", "usage")
    item = {"type": "message", "role": "assistant", "content": parts}
    return {name: reply.raw.get(name) for name in names} | {"output": [item]}


_CONDENSED = {"chat": _chat, "responses": _responses}
