"""The items of an output, each with the events of its stream.

An item begins, gets pieces of text, and ends. The item of a call that the server runs also gets the
result.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from harmony.parse import Kind
from reference_engine.builtin.base import Ran
from reference_engine.builtin.mcp import McpListing
from reference_engine.generation.sampling import Token
from reference_engine.server.pieces import logprob

Event = dict[str, Any]


class OutputItem:
    """An item: its fields so far, and its place in the output.

    Attributes:
        waits: Whether it ends only with the result of its call.
    """

    def __init__(self, index: int, kind: str, prefix: str, **fields: object) -> None:
        self.index = index
        self.fields: dict[str, Any] = {
            "type": kind,
            "id": f"{prefix}_{secrets.token_hex(16)}",
            **fields,
        }
        self.waits = False
        self._texts: list[str] = []

    def begin(self) -> list[Event]:
        """The events when the model starts to write the item."""
        return [self._added()]

    def delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        """The events of a piece of text."""
        self._texts.append(text)
        return self._delta(text, tokens)

    def end(self, *, complete: bool) -> list[Event]:
        """The events when the model has written the item, or when a limit cuts it off."""
        self.fields["status"] = "completed" if complete else "incomplete"
        return [*self._written("".join(self._texts)), self._done()]

    def ran(self, ran: Ran) -> list[Event]:
        """The events of the result of a call."""
        raise NotImplementedError

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        raise NotImplementedError

    def _written(self, text: str) -> list[Event]:
        raise NotImplementedError

    def _event(self, kind: str, **fields: object) -> Event:
        place = {"item_id": self.fields["id"], "output_index": self.index}
        return {"type": kind, **place, **fields}

    def _added(self) -> Event:
        item = self.fields | {"status": "in_progress"}
        return {"type": "response.output_item.added", "output_index": self.index, "item": item}

    def _done(self) -> Event:
        kind = "response.output_item.done"
        return {"type": kind, "output_index": self.index, "item": self.fields}


class ReasoningItem(OutputItem):
    """A chain of thought."""

    def __init__(self, index: int) -> None:
        super().__init__(index, "reasoning", "rs", summary=[], content=[])

    def begin(self) -> list[Event]:
        """The events of the item and of its part."""
        return [self._added(), self._part_event("added", {"type": "reasoning_text", "text": ""})]

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        return [self._event("response.reasoning_text.delta", content_index=0, delta=text)]

    def _written(self, text: str) -> list[Event]:
        part = {"type": "reasoning_text", "text": text}
        self.fields["content"] = [part]
        done = self._event("response.reasoning_text.done", content_index=0, text=text)
        return [done, self._part_event("done", part)]

    def _part_event(self, what: str, part: dict[str, Any]) -> Event:
        return self._event(f"response.content_part.{what}", content_index=0, part=part)


Annotate = Callable[[str], list[dict[str, Any]]]
"""The annotations of a text."""


class MessageItem(OutputItem):
    """A preamble or an answer."""

    def __init__(self, index: int, kind: Kind, annotate: Annotate) -> None:
        phase = "commentary" if kind == "preamble" else "final_answer"
        super().__init__(index, "message", "msg", role="assistant", content=[], phase=phase)
        self._annotate = annotate
        self._logprobs: list[dict[str, Any]] = []

    def begin(self) -> list[Event]:
        """The events of the item and of its part."""
        return [self._added(), self._part_event("added", self._part(""))]

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        logprobs = [logprob(token) for token in tokens]
        self._logprobs += logprobs
        kind = "response.output_text.delta"
        return [self._event(kind, content_index=0, delta=text, logprobs=logprobs)]

    def _written(self, text: str) -> list[Event]:
        part = self._part(text)
        part["annotations"] = self._annotate(text)
        self.fields["content"] = [part]
        kind = "response.output_text.annotation.added"
        annotated = [
            self._event(kind, content_index=0, annotation_index=at, annotation=annotation)
            for at, annotation in enumerate(part["annotations"])
        ]
        done = self._event(
            "response.output_text.done", content_index=0, text=text, logprobs=self._logprobs
        )
        return [*annotated, done, self._part_event("done", part)]

    def _part(self, text: str) -> dict[str, Any]:
        part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
        return part | {"logprobs": self._logprobs if text else []}

    def _part_event(self, what: str, part: dict[str, Any]) -> Event:
        return self._event(f"response.content_part.{what}", content_index=0, part=part)


class FunctionCallItem(OutputItem):
    """A function call, which the client answers."""

    def __init__(self, index: int, name: str, namespace: str | None) -> None:
        call = {"call_id": f"call_{secrets.token_hex(12)}", "name": name, "arguments": ""}
        super().__init__(index, "function_call", "fc", **call)
        if namespace is not None:
            self.fields["namespace"] = namespace

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        return [self._event("response.function_call_arguments.delta", delta=text)]

    def _written(self, text: str) -> list[Event]:
        self.fields["arguments"] = text
        return [self._event("response.function_call_arguments.done", arguments=text)]


class CustomCallItem(OutputItem):
    """A call of a custom tool, which the client answers. Its input is known at the end."""

    def __init__(self, index: int, name: str) -> None:
        call = {"call_id": f"call_{secrets.token_hex(12)}", "name": name, "input": ""}
        super().__init__(index, "custom_tool_call", "ctc", **call)

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        return []

    def _written(self, text: str) -> list[Event]:
        self.fields["input"] = given = _custom_input(text)
        kind = "response.custom_tool_call_input"
        return [self._event(f"{kind}.delta", delta=given), self._event(f"{kind}.done", input=given)]


def _custom_input(text: str) -> str:
    """The text of the only parameter; what is no such JSON object is the text itself.

    gpt-oss writes both, and with other names than the declared one (openai/gpt-oss `chat.py`).
    """
    try:
        arguments = json.loads(text)
    except ValueError:
        return text
    values = list(arguments.values()) if isinstance(arguments, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else text


class _ServedCall(OutputItem):
    """A call that the server runs: between its text and its result, it is in progress."""

    progress: str

    def end(self, *, complete: bool) -> list[Event]:
        """The events between the call and its result, or of a call that is not run."""
        first, *started = self._written("".join(self._texts))
        self.waits = complete
        if complete:
            return [first, *started]
        self.fields["status"] = "incomplete"
        return [first, self._done()]

    def ran(self, ran: Ran) -> list[Event]:
        """The events of the result."""
        self.fields["status"] = "failed" if ran.failed else "completed"
        self._show(ran)
        return [self._event(f"{self.progress}.{self._end_of(ran)}"), self._done()]

    def _show(self, ran: Ran) -> None:
        raise NotImplementedError

    def _end_of(self, _: Ran) -> str:
        return "completed"


class WebSearchItem(_ServedCall):
    """A call of the browser, which is added once its action is known."""

    progress = "response.web_search_call"

    def __init__(
        self, index: int, action: Callable[[str], dict[str, Any]], *, sources: bool
    ) -> None:
        super().__init__(index, "web_search_call", "ws")
        self._action = action
        self._sources = sources

    def begin(self) -> list[Event]:
        """Nothing yet."""
        return []

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        return []

    def _written(self, text: str) -> list[Event]:
        self.fields["action"] = self._action(text)
        stages = ("in_progress", "searching")
        return [self._added(), *(self._event(f"{self.progress}.{stage}") for stage in stages)]

    def _show(self, ran: Ran) -> None:
        if self._sources and self.fields["action"]["type"] == "search":
            urls = [{"type": "url", "url": url} for url in ran.sources]
            self.fields["action"]["sources"] = urls


class ProgramItem(_ServedCall):
    """A program for Python."""

    progress = "response.code_interpreter_call"

    def __init__(self, index: int, container: str, *, outputs: bool) -> None:
        fields = {"code": "", "container_id": container, "outputs": None}
        super().__init__(index, "code_interpreter_call", "ci", **fields)
        self._outputs = outputs

    def begin(self) -> list[Event]:
        """The item is in progress."""
        return [self._added(), self._event(f"{self.progress}.in_progress")]

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        return [self._event(f"{self.progress}_code.delta", delta=text)]

    def _written(self, text: str) -> list[Event]:
        self.fields["code"] = text
        done = self._event(f"{self.progress}_code.done", code=text)
        return [done, self._event(f"{self.progress}.interpreting")]

    def _show(self, ran: Ran) -> None:
        if self._outputs:
            self.fields["outputs"] = [{"type": "logs", "logs": ran.output}] if ran.output else []


class McpCallItem(_ServedCall):
    """A call of a tool of an MCP server."""

    progress = "response.mcp_call"

    def __init__(self, index: int, name: str, label: str) -> None:
        fields = {"name": name, "server_label": label, "arguments": ""}
        empty = dict.fromkeys(("approval_request_id", "error", "output"))
        super().__init__(index, "mcp_call", "mcp", **fields, **empty)

    def begin(self) -> list[Event]:
        """The item is in progress."""
        return [self._added(), self._event(f"{self.progress}.in_progress")]

    def _delta(self, text: str, tokens: Sequence[Token]) -> list[Event]:
        return [self._event(f"{self.progress}_arguments.delta", delta=text)]

    def _written(self, text: str) -> list[Event]:
        self.fields["arguments"] = text
        return [self._event(f"{self.progress}_arguments.done", arguments=text)]

    def _show(self, ran: Ran) -> None:
        self.fields |= {"error": dict(ran.error)} if ran.error else {"output": ran.output}

    def _end_of(self, ran: Ran) -> str:
        return "failed" if ran.failed else "completed"


class McpListItem(OutputItem):
    """The tools of an MCP server."""

    def __init__(self, index: int, listing: McpListing) -> None:
        fields = {"server_label": listing.label, "tools": list(listing.shown), "error": None}
        super().__init__(index, "mcp_list_tools", "mcpl", **fields)

    def events(self) -> list[Event]:
        """All events of the item."""
        empty = self.fields | {"tools": []}
        added = {"type": "response.output_item.added", "output_index": self.index, "item": empty}
        stages = ("in_progress", "completed")
        progress = [self._event(f"response.mcp_list_tools.{stage}") for stage in stages]
        return [added, *progress, self._done()]
