"""A run without the texts of gated questions.

A question keeps its id and the order of its choices; an answer its length, its hash and the letters
extracted from it; a request its settings; a reply its model, finish reason and token counts. Scores
follow from these records as before, with the letters that were extracted from the original texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from evals.datasets.identity import rows_sha256
from evals.datasets.load import Loaded
from evals.extraction.noted import note, withheld
from evals.gpqa import Gpqa, GpqaRow
from evals.task import questions_file, read_questions, refusal_phrase, restored_evals
from harness.api import DIALECTS
from harness.api.base import Reply, UnreadableReplyError
from harness.bundling.manifest import Removal
from harness.errors import ConfigurationError
from harness.records.rollouts import Exchange, Request, Response, Rollout
from harness.records.runs import TaskInfo
from harness.storage.run_log import read_run_info

_TEXTS = ("messages", "input", "instructions", "tools", "stream")
_REFUSED = "[withheld]"


class GatedTexts:
    """Hides the questions of the gated datasets of a run; see `harness.bundling.copying`."""

    def __init__(self, folder: Path) -> None:
        """Read the run in a folder.

        Raises:
            ConfigurationError: Its questions cannot be read, or cannot be hidden.
            RunLogError: It cannot be read.
        """
        self._info = read_run_info(folder)
        self._tests: dict[str, Gpqa] = {}
        self._rows: dict[str, list[GpqaRow]] = {}
        self._hidden = 0
        for task in restored_evals(folder, self._info):
            data = task.info.dataset
            if data is None or not data.gated:
                continue
            if not isinstance(task.test, Gpqa):
                raise ConfigurationError(
                    f"The questions of {data.eval} are gated, and there is no way to hide them."
                )
            self._tests[data.eval] = task.test
            self._rows[data.eval] = list(_hidden_rows(read_questions(folder, data)))

    def members(self) -> Mapping[str, Any]:
        """`tasks`, with the hash of the rows that replace the hidden ones."""
        if not self._tests:
            return {}
        return {"tasks": [self._described(t).model_dump(mode="json") for t in self._info.tasks]}

    def files(self) -> Mapping[str, str]:
        """The files of questions that are replaced."""
        return {
            questions_file(name): "".join(f"{row.model_dump_json(by_alias=True)}\n" for row in rows)
            for name, rows in self._rows.items()
        }

    def record(self, record: Rollout) -> Rollout:
        """The record without its texts, if it is an answer to a gated question."""
        test = self._tests.get(record.task)
        if test is None:
            return record
        self._hidden += 1
        return _without_texts(record, test)

    def removals(self) -> tuple[Removal, ...]:
        """What was hidden."""
        return tuple(
            Removal(
                what=f"the texts of {name}: questions, choices, and answers, which may quote them",
                why="its authors ask that they not be published",
                count=self._hidden,
            )
            for name in self._tests
        )

    def _described(self, task: TaskInfo) -> TaskInfo:
        if task.dataset is None or task.name not in self._tests:
            return task
        digest = rows_sha256(row.content() for row in self._rows[task.name])
        data = task.dataset.model_copy(update={"withheld": digest})
        return task.model_copy(update={"dataset": data})


def _hidden_rows(data: Loaded[GpqaRow]) -> Iterator[GpqaRow]:
    questions = Gpqa(data).questions
    for row, question in zip(data.rows, questions, strict=True):
        yield GpqaRow(
            record_id=question.id,
            question=withheld(row.question),
            **{
                name: f"{number} {withheld(getattr(row, name))}"
                for number, name in enumerate(
                    ("correct", "incorrect_1", "incorrect_2", "incorrect_3"), start=1
                )
            },
        )


def _without_texts(record: Rollout, test: Gpqa) -> Rollout:
    exchanges = [_silent(exchange) for exchange in record.exchanges]
    if exchanges and record.end != "failed":
        try:
            reply = DIALECTS[record.api].read(record.exchanges[-1])
        except UnreadableReplyError:
            pass
        else:
            letters = test.letters(record.sample, record.presentation, reply.text)
            text = refusal_phrase(reply.text) + note(reply.text, *letters) if reply.text else ""
            body = _CONDENSED[record.api](reply, text)
            response = record.exchanges[-1].response
            exchanges[-1] = exchanges[-1].model_copy(
                update={"response": _with_body(response, orjson.dumps(body).decode())}
            )
    return record.model_copy(update={"exchanges": tuple(exchanges)})


def _silent(exchange: Exchange) -> Exchange:
    """The exchange without its texts."""
    response, failure = exchange.response, exchange.failure
    if response is not None:
        text = (response.body or "") + "".join(part.raw for part in response.parts)
        response = _with_body(response, withheld(text))
    if failure is not None:
        failure = failure.model_copy(update={"message": withheld(failure.message)})
    return exchange.model_copy(
        update={"request": _settings(exchange.request), "response": response, "failure": failure}
    )


def _settings(request: Request) -> Request:
    body = {name: value for name, value in (request.body or {}).items() if name not in _TEXTS}
    return request.model_copy(update={"body": body, "text": None})


def _with_body(response: Response | None, body: str) -> Response | None:
    return response and response.model_copy(update={"body": body, "parts": ()})


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
