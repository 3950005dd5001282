"""The grammar of a Chat Completions stream: chunks, finish_reason, `[DONE]`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.api.chat import REASONING_FIELDS
from harness.api.fields import nested, objects
from harness.api.sse import StreamEvent
from harness.api.stream_events import TEXT_FIELDS, Violation

DONE_MARK = "done"
DONE_REPEATED = "done.repeated"
FINISH = "finish"
FINISH_FOLLOWED = "finish.followed"
FINISH_REPEATED = "finish.repeated"
ROLE = "role"
ID = "id"
TOOL_CALLS = "tool_calls"
TOOL_CALLS_INDEX = "tool_calls.index"
TOOL_CALLS_NUMBERS = "tool_calls.numbers"
TOOL_CALLS_TYPE = "tool_calls.type"
TOOL_CALLS_REPEATED = "tool_calls.repeated"
ORDER = "order"
_LOST = {
    "an id": "id",
    "an id and a name": "id",
    "a name": "function.name",
    "the type function": "type",
}
"""What the first delta of a call must have, and its path."""


def violations(events: Sequence[StreamEvent]) -> tuple[Violation, ...]:
    """Every violation in the chunks of a stream."""
    walker = _ChatWalker()
    for event in events:
        walker.read(event)
    walker.end(events)
    return tuple(walker.found)


class _ChatWalker:
    def __init__(self) -> None:
        self.found: list[Violation] = []
        self._id: object = None
        self._finish: object = None
        self._elsewhere: object = None  # the finish_reason of another index
        self._choices = 0
        self._calls: dict[str, object] = {}
        self._names: dict[str, object] = {}
        self._error = False
        self._answered = False
        self._late_cot: StreamEvent | None = None

    def read(self, event: StreamEvent) -> None:
        """Read the next event."""
        self._error = self._error or event.is_error
        if event.data is None or event.is_error or _is_keep_alive(event.data):
            return
        self._check_id(event, event.data.get("id"))
        for choice in objects(event.data.get("choices")):
            if not choice.get("index"):
                self._read_choice(event, choice)
            elif choice.get("finish_reason"):
                self._elsewhere = choice["index"]

    def end(self, events: Sequence[StreamEvent]) -> None:
        """Record what is missing at the end."""
        if not events:
            return
        last = events[-1]
        if not self._error:
            self._check_done(events)
        if self._finish is None and not self._error:
            message, got = "No chunk in the stream has a finish_reason.", "none"
            if self._elsewhere is not None:
                message = "No chunk has a finish_reason for the choice 0, but a chunk for another."
                got = f"a finish_reason with index {self._elsewhere}"
            self._report(FINISH, last, message, "a finish_reason with index 0", got)
        if self._late_cot is not None and self._finish == "stop":
            message, late = "The CoT is sent after the answer.", self._late_cot
            self._report(ORDER, late, message, "the CoT before the answer", late.text)

    def _report(
        self, rule: str, event: StreamEvent, message: str, expected: str, got: str, path: str = ""
    ) -> None:
        self.found.append(Violation(rule, message, expected, got, path or None, event.number))

    def _check_done(self, events: Sequence[StreamEvent]) -> None:
        marks = [at for at, event in enumerate(events) if event.is_done]
        if not marks:
            message, got = "The stream does not end with `data: [DONE]`.", events[-1].text
            self._report(DONE_MARK, events[-1], message, "data: [DONE]", f"last event: {got}")
            return
        for event in events[marks[0] + 1 :]:
            if event.data is not None and not _is_keep_alive(event.data):
                message = "Output or usage follows `data: [DONE]`."
                self._report(DONE_MARK, event, message, "data: [DONE] at the end", event.text)
        for at in marks[1:2]:
            message = "`data: [DONE]` is sent more than once."
            self._report(DONE_REPEATED, events[at], message, "one data: [DONE]", f"{len(marks)}")

    def _check_id(self, event: StreamEvent, sent: object) -> None:
        self._id = self._id or sent
        if sent and sent != self._id:
            message = "`id` changes between chunks of one stream."
            self._report(ID, event, message, str(self._id), str(sent), "$.id")

    def _read_choice(self, event: StreamEvent, choice: Mapping[str, Any]) -> None:
        raw_delta, finish = choice.get("delta"), choice.get("finish_reason")
        delta: Mapping[str, Any] = raw_delta if isinstance(raw_delta, dict) else {}
        has_text = any(delta.get(name) for name in TEXT_FIELDS)
        path = "$.choices[0]"
        if self._choices == 0 and delta.get("role") != "assistant":
            message = "The role of the first delta is not `assistant`."
            got = repr(delta.get("role"))
            self._report(ROLE, event, message, "assistant", got, f"{path}.delta.role")
        self._choices += 1
        if self._finish is not None and has_text:
            message = "The stream sends more output after the finish_reason."
            self._report(FINISH_FOLLOWED, event, message, "no further output", str(delta))
        elif self._finish is not None and finish not in (None, "", self._finish):
            message, where = "A later chunk has a different finish_reason.", f"{path}.finish_reason"
            self._report(FINISH_FOLLOWED, event, message, str(self._finish), str(finish), where)
        elif self._finish is not None and finish:
            message = "More than one chunk has a finish_reason."
            expected, where = "one chunk with a finish_reason", f"{path}.finish_reason"
            self._report(FINISH_REPEATED, event, message, expected, str(finish), where)
        self._finish = self._finish or finish or None
        if self._answered and any(delta.get(name) for name in REASONING_FIELDS):
            self._late_cot = event
        if delta.get("content"):
            self._answered, self._late_cot = True, None
        for call in objects(delta.get("tool_calls")):
            for rule, message, expected, got in self._read_call(call):
                lost = f"[].{_LOST[expected]}" if expected in _LOST else ""
                where = f"{path}.delta.tool_calls{lost}"
                self._report(rule, event, message, expected, got, where)

    def _read_call(self, call: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
        index, call_id = repr(call.get("index")), call.get("id")
        name = nested(call, "function", "name")
        name = nested(call, "custom", "name") if name is None else name
        if index not in self._calls:
            yield from self._begin_call(call, call_id, name)
            self._calls[index], self._names[index] = call_id, name
        elif self._names[index] == "" and name:
            message = "The first delta of a tool call lacks a name."
            yield TOOL_CALLS, message, str(name), repr(self._names[index])
        elif self._names[index] and name:
            again = "again, which clients append" if name == self._names[index] else "in pieces"
            message = f"The name of a tool call is sent {again}."
            yield TOOL_CALLS, message, f"{self._names[index]} once", str(name)
        elif call_id not in (None, "", self._calls[index]):
            message = "The id of a tool call changes during the stream."
            yield TOOL_CALLS, message, f"{self._calls[index]}, or no id", str(call_id)
        elif "type" in call and call["type"] is None:
            message = "A later delta sets the type of a tool call to null."
            yield TOOL_CALLS_TYPE, message, "function, or no type", "null"
        elif call_id:
            message = "A later delta repeats the id of a tool call."
            yield TOOL_CALLS_REPEATED, message, "only the index and arguments", repr(call)

    def _begin_call(
        self, call: Mapping[str, Any], call_id: object, name: object
    ) -> Iterator[tuple[str, str, str, str]]:
        """Yield what the first delta of a call lacks.

        A model may write a header without a name, which is then empty (`calls.name.polluted`).
        """
        lacking = [
            what for what, lacks in (("an id", not call_id), ("a name", name is None)) if lacks
        ]
        if lacking:
            lost = " and ".join(lacking)
            message = f"The first delta of a tool call lacks {lost}."
            yield TOOL_CALLS, message, lost, repr(call)
        if call.get("type") is None:
            message = "The first delta of a tool call has no type."
            yield TOOL_CALLS_TYPE, message, "the type function", repr(call)
        if call.get("index") is None:
            message = "A delta of a tool call has no index."
            yield TOOL_CALLS_INDEX, message, f"index {len(self._calls)}", repr(call)
        elif repr(call["index"]) != str(len(self._calls)):
            message = "Tool call indices do not increase by one from 0."
            got = f"index {call['index']!r}"
            yield TOOL_CALLS_NUMBERS, message, f"index {len(self._calls)}", got


def _is_keep_alive(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk, sent by a gateway, has no output, no finish_reason and no usage."""
    choices = objects(chunk.get("choices"))
    said = any(choice.get("delta") or choice.get("finish_reason") for choice in choices)
    return not said and not chunk.get("usage")
