"""The output items of one response, and the stream events of each item."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from harmony.parse import Delta, Ended, Kind, Started
from reference_engine.builtin.browser import Ran
from reference_engine.builtin.tools import Toolbox
from reference_engine.server.connection import Json
from reference_engine.server.custom_tools import custom_input
from reference_engine.server.responses.input_items import encode_text
from reference_engine.server.responses.offered_tools import custom, namespaces
from reference_engine.server.responses.request import ResponsesRequest
from reference_engine.server.responses.steps import StepEvent


class OutputItem:
    """An item, such as a function call: its fields so far, and its place in the output."""

    streamed: str | None = "function_call_arguments"
    """The type of the events of its text; None if its text is not streamed."""
    field = "arguments"  # the field with its text

    def __init__(self, index: int, kind: str, prefix: str, **fields: object) -> None:
        self.index = index
        self.fields: dict[str, Any] = {"type": kind, "id": f"{prefix}_{secrets.token_hex(16)}"}
        self.fields |= fields
        self._texts: list[str] = []

    def begin(self) -> list[Json]:
        """Return the events when the model starts to write the item."""
        return [self._added()]

    def delta(self, text: str, logprobs: Sequence[Json]) -> list[Json]:
        """Return the events of a piece of text."""
        self._texts.append(text)
        return [self._event(f"{self.streamed}.delta", delta=text)] if self.streamed else []

    def end(self, *, complete: bool) -> list[Json]:
        """Return the events when the model has written the item, or a limit truncates it."""
        self.fields["status"] = "completed" if complete else "incomplete"
        return [*self._written("".join(self._texts)), self._done()]

    def _written(self, text: str) -> list[Json]:
        self.fields[self.field] = text
        return [self._event(f"{self.streamed}.done", **{self.field: text})]

    def _event(self, kind: str, **fields: object) -> Json:
        place = {"item_id": self.fields["id"], "output_index": self.index}
        return {"type": f"response.{kind}", **place, **fields}

    def _added(self) -> Json:
        item = self.fields | {"status": "in_progress"}
        return {"type": "response.output_item.added", "output_index": self.index, "item": item}

    def _done(self) -> Json:
        kind = "response.output_item.done"
        return {"type": kind, "output_index": self.index, "item": self.fields}


class _TextOutput(OutputItem):
    """An item whose content is one part with text, which has the type of the events."""

    def begin(self) -> list[Json]:
        """Return the events of the item and of its part."""
        return [self._added(), self._event("content_part.added", part=self._part(""))]

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": self.streamed, "text": text}

    def _written(self, text: str) -> list[Json]:
        part = self._part(text)
        self.fields["content"] = [part]
        done = self._event(f"{self.streamed}.done", text=text)
        return [done, self._event("content_part.done", part=part)]

    def _event(self, kind: str, **fields: object) -> Json:
        return super()._event(kind, content_index=0, **fields)


class ReasoningOutput(_TextOutput):
    """A chain of thought, on request also encoded."""

    streamed = "reasoning_text"

    def __init__(self, index: int, *, encoded: bool) -> None:
        super().__init__(index, "reasoning", "rs", summary=[], content=[])
        self._encoded = encoded

    def _written(self, text: str) -> list[Json]:
        if self._encoded:
            self.fields["encrypted_content"] = encode_text(text)
        return super()._written(text)


Annotate = Callable[[str], list[dict[str, Any]]]  # the annotations of a text


class MessageOutput(_TextOutput):
    """A preamble or an answer."""

    streamed = "output_text"

    def __init__(self, index: int, kind: Kind, annotate: Annotate) -> None:
        phase = "commentary" if kind == "preamble" else "final_answer"
        super().__init__(index, "message", "msg", role="assistant", content=[], phase=phase)
        self._annotate = annotate
        self._logprobs: list[dict[str, Any]] = []

    def delta(self, text: str, logprobs: Sequence[Json]) -> list[Json]:
        """Return the event of a piece of text with its logprobs."""
        self._logprobs += logprobs
        return [event | {"logprobs": logprobs} for event in super().delta(text, logprobs)]

    def _part(self, text: str) -> dict[str, Any]:
        logprobs = self._logprobs if text else []
        return super()._part(text) | {"annotations": self._annotate(text), "logprobs": logprobs}

    def _written(self, text: str) -> list[Json]:
        done, part_done = super()._written(text)
        annotated = [
            self._event("output_text.annotation.added", annotation_index=at, annotation=annotation)
            for at, annotation in enumerate(part_done["part"]["annotations"])
        ]
        return [*annotated, done | {"logprobs": self._logprobs}, part_done]


class CustomCallOutput(OutputItem):
    """A call of a custom tool, which the client answers. Its input is known only at the end."""

    streamed = None

    def _written(self, text: str) -> list[Json]:
        self.fields["input"] = given = custom_input(text)
        kind = "custom_tool_call_input"
        return [self._event(f"{kind}.delta", delta=given), self._event(f"{kind}.done", input=given)]


class _ServedCallOutput(OutputItem):
    """A call that the server runs; it is in progress between its text and its result."""

    stages: Sequence[str] = ()  # the events between its text and its result

    def begin(self) -> list[Json]:
        """Return the events of the item in progress."""
        return [self._added(), self._progress("in_progress")]

    def end(self, *, complete: bool) -> list[Json]:
        """Return the events between the call and its result, or those of a call that is not run."""
        written = self._written("".join(self._texts))
        if complete:
            return [*written, *map(self._progress, self.stages)]
        self.fields["status"] = "incomplete"
        return [*written, self._done()]

    def ran(self, ran: Ran) -> list[Json]:
        """Return the events of the result."""
        self.fields["status"] = "failed" if ran.failed else "completed"
        return [self._progress(self._show(ran)), self._done()]

    def _progress(self, stage: str) -> Json:
        return self._event(f"{self.fields['type']}.{stage}")

    def _show(self, ran: Ran) -> str:
        """Add the result to the fields; returns the last stage."""
        raise NotImplementedError


class WebSearchOutput(_ServedCallOutput):
    """A browser call; the item is added once its action is known."""

    streamed = None
    stages = ("in_progress", "searching")

    def __init__(
        self, index: int, action: Callable[[str], dict[str, Any]], *, sources: bool
    ) -> None:
        super().__init__(index, "web_search_call", "ws")
        self._action = action
        self._sources = sources

    def begin(self) -> list[Json]:
        """Return no events yet."""
        return []

    def _written(self, text: str) -> list[Json]:
        self.fields["action"] = self._action(text)
        return [self._added()]

    def _show(self, ran: Ran) -> str:
        if self._sources and self.fields["action"]["type"] == "search":
            self.fields["action"]["sources"] = [{"type": "url", "url": url} for url in ran.sources]
        return "completed"


class ProgramOutput(_ServedCallOutput):
    """A program for Python."""

    stages = ("interpreting",)
    streamed = "code_interpreter_call_code"
    field = "code"

    def __init__(self, index: int, container: str, *, outputs: bool) -> None:
        fields = {"code": "", "container_id": container, "outputs": None}
        super().__init__(index, "code_interpreter_call", "ci", **fields)
        self._outputs = outputs

    def _show(self, ran: Ran) -> str:
        if self._outputs:
            self.fields["outputs"] = [{"type": "logs", "logs": ran.output}] if ran.output else []
        return "completed"


class OutputWriter:
    """Writes the output of one response; `items` are the finished items.

    Calls include their namespace; those of custom tools have a text instead of arguments.
    """

    def __init__(self, body: ResponsesRequest, tools: Toolbox) -> None:
        self._namespaces = namespaces(body.tools)
        self._custom = custom(body.tools)
        self._tools = tools
        self._encoded = "reasoning.encrypted_content" in body.include
        self._sources = "web_search_call.action.sources" in body.include
        self._outputs = "code_interpreter_call.outputs" in body.include
        self._container = f"cntr_{secrets.token_hex(16)}"
        self.items: list[dict[str, Any]] = []
        self._open: OutputItem | None = None

    def written(self, events: Sequence[StepEvent]) -> list[Json]:
        """Write what the model wrote; returns the stream events, without sequence numbers."""
        written: list[Json] = []
        for event in events:
            match event:
                case Started():
                    self._open = self._new(event)
                    written += self._open.begin()
                case Delta(_, text, logprobs):
                    written += self._writing.delta(text, logprobs)
                case Ended(_, complete):
                    written += self._writing.end(complete=complete)
                    if not (complete and isinstance(self._open, _ServedCallOutput)):
                        self._close()
                case Ran():
                    assert isinstance(self._open, _ServedCallOutput)
                    written += self._open.ran(event)
                    self._close()
        return written

    def _close(self) -> None:
        self.items.append(self._writing.fields)
        self._open = None

    def _new(self, message: Started) -> OutputItem:
        index, name = len(self.items), message.name
        if message.kind == "reasoning":
            return ReasoningOutput(index, encoded=self._encoded)
        if message.kind != "call":
            return MessageOutput(index, message.kind, self._annotations)
        match self._tools.kind(name):
            case "browser":
                action = self._tools.action
                sources = self._sources
                return WebSearchOutput(index, lambda text: action(name, text), sources=sources)
            case "python":
                return ProgramOutput(index, self._container, outputs=self._outputs)
        call = {"call_id": f"call_{secrets.token_hex(12)}", "name": name}
        if name in self._custom:
            return CustomCallOutput(index, "custom_tool_call", "ctc", **call, input="")
        namespace = {"namespace": self._namespaces[name]} if name in self._namespaces else {}
        return OutputItem(index, "function_call", "fc", **call, arguments="", **namespace)

    def _annotations(self, text: str) -> list[dict[str, Any]]:
        return [
            {
                "type": "url_citation",
                "start_index": cited.start,
                "end_index": cited.end,
                "title": cited.page.title,
                "url": cited.page.url,
            }
            for cited in self._tools.citations(text)
        ]

    @property
    def _writing(self) -> OutputItem:
        assert self._open is not None
        return self._open
