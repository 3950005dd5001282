"""The grammar of a Chat stream: chunks of one message, its finish, the token counts, `[DONE]`.

A walk over the chunks keeps what was said so far, and notes every place where a chunk does not
fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.parsing.events import SPOKEN, Breach, Event, objects

DONE_MARK = "chat.stream.done"
FINISH = "chat.stream.finish"
FINISH_REPEATED = "chat.stream.finish.repeated"
ROLE = "chat.stream.role"
ID = "chat.stream.id"
CONSTANT = "chat.stream.constant"
TOOL_CALLS = "chat.stream.tool_calls"
TOOL_CALLS_REPEATED = "chat.stream.tool_calls.repeated"
USAGE_PLACE = "chat.stream.usage"

_CALL_START = "id and name first, then arguments under the same index"


def breaches(events: Sequence[Event]) -> tuple[Breach, ...]:
    """Where the chunks of a stream break its grammar."""
    walk = _Walk()
    for event in events:
        walk.read(event)
    walk.end(events)
    return tuple(walk.found)


class _Walk:
    def __init__(self) -> None:
        self.found: list[Breach] = []
        self._first: dict[str, object] = {}
        self._finish: object = None
        self._choices = 0
        self._calls: dict[str, object] = {}
        self._usage: Event | None = None
        self._error = False

    def read(self, event: Event) -> None:
        """Take the next event."""
        self._error = self._error or event.is_error
        if event.data is None or event.is_error:
            return
        self._same(event, event.data)
        choices = objects(event.data.get("choices"))
        for choice in choices:
            if not choice.get("index"):
                self._choice(event, choice)
        self._count(event, event.data, choices)

    def end(self, events: Sequence[Event]) -> None:
        """Note what never came."""
        if not events:
            return
        last = events[-1]
        marks = sum(event.is_done for event in events)
        if marks != 1 or not last.is_done:
            message = "The stream does not end with exactly one [DONE]."
            got = f"{marks} of them, last event: {last.text}"
            self._note(DONE_MARK, last, message, "data: [DONE]", got)
        if self._finish is None and not self._error:
            message = "No chunk of the stream has a finish_reason."
            self._note(FINISH, last, message, "a finish_reason", "none")

    def _note(
        self, rule: str, event: Event, message: str, expected: str, got: str, path: str = ""
    ) -> None:
        self.found.append(Breach(rule, message, expected, got, path or None, event.number))

    def _same(self, event: Event, data: Mapping[str, Any]) -> None:
        """What all chunks must have in common."""
        for key, rule in (("id", ID), ("model", CONSTANT), ("created", CONSTANT)):
            found = data.get(key)
            if not found:
                continue
            first = self._first.setdefault(key, found)
            if found != first:
                message = f"The {key} changes within a stream."
                self._note(rule, event, message, str(first), str(found), f"$.{key}")

    def _choice(self, event: Event, choice: Mapping[str, Any]) -> None:
        said, finish = choice.get("delta"), choice.get("finish_reason")
        delta: Mapping[str, Any] = said if isinstance(said, dict) else {}
        says = any(delta.get(name) for name in SPOKEN)
        path = "$.choices[0]"
        if self._choices == 0 and delta.get("role") != "assistant":
            message = "The first delta does not name the role."
            got = repr(delta.get("role"))
            self._note(ROLE, event, message, "assistant", got, f"{path}.delta.role")
        self._choices += 1
        if self._finish is not None and (says or finish not in (None, "", self._finish)):
            message = "The stream goes on after its finish_reason."
            self._note(FINISH, event, message, "nothing more", str(delta if says else finish))
        elif self._finish is not None and finish:
            message = "More than one chunk has a finish_reason."
            where = f"{path}.finish_reason"
            self._note(FINISH_REPEATED, event, message, "one", str(finish), where)
        self._finish = self._finish or finish or None
        for call in objects(delta.get("tool_calls")):
            for rule, message in self._call(call):
                where = f"{path}.delta.tool_calls"
                self._note(rule, event, message, _CALL_START, repr(call), where)

    def _call(self, call: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        index, call_id, function = repr(call.get("index")), call.get("id"), call.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if index not in self._calls:
            self._calls[index] = call_id
            if not call_id or not name:
                yield TOOL_CALLS, "A streamed tool call starts without its id or name."
            if index != str(len(self._calls) - 1):
                yield TOOL_CALLS, "Tool call indices do not count up from 0."
        elif call_id not in (None, "", self._calls[index]):
            yield TOOL_CALLS, "The id of a streamed tool call changes."
        elif call_id or name:
            yield TOOL_CALLS_REPEATED, "A streamed tool call repeats its id or name."

    def _count(
        self, event: Event, data: Mapping[str, Any], choices: Sequence[Mapping[str, Any]]
    ) -> None:
        if not isinstance(data.get("usage"), dict):
            return
        if self._usage is not None or any(not choice.get("finish_reason") for choice in choices):
            message = "Token counts stand elsewhere than in the one chunk before [DONE]."
            expected = "one chunk with usage and without choices"
            self._note(USAGE_PLACE, event, message, expected, event.text, "$.usage")
        self._usage = event
