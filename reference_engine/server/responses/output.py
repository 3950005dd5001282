"""The output of one response: events of streams, items of non-streaming responses."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from harmony.parse import Ended, Started
from reference_engine.builtin.base import Ran
from reference_engine.builtin.mcp import McpListing
from reference_engine.builtin.tools import Toolbox
from reference_engine.server.pieces import Piece
from reference_engine.server.responses.output_items import (
    CustomCallItem,
    Event,
    FunctionCallItem,
    McpCallItem,
    McpListItem,
    MessageItem,
    OutputItem,
    ProgramItem,
    ReasoningItem,
    WebSearchItem,
)
from reference_engine.server.responses.steps import StepPart


class OutputWriter:
    """Writes the output of one response.

    Args:
        namespaces: The namespaces of functions; a call repeats its namespace.
        custom: The custom tools, whose calls have a text instead of arguments.
        tools: The tools that the server runs, whose calls have items of their own.
        sources: Whether the items of searches list the URLs that were found.
        outputs: Whether the items of programs show what they printed.

    Attributes:
        items: The finished items.
    """

    def __init__(
        self,
        namespaces: Mapping[str, str] | None = None,
        tools: Toolbox | None = None,
        *,
        custom: frozenset[str] = frozenset(),
        sources: bool = False,
        outputs: bool = False,
    ) -> None:
        self._namespaces = namespaces or {}
        self._custom = custom
        self._tools = tools or Toolbox()
        self._sources = sources
        self._outputs = outputs
        self._container = f"cntr_{secrets.token_hex(16)}"
        self.items: list[dict[str, Any]] = []
        self._open: OutputItem | None = None

    def events(self, parts: Sequence[StepPart]) -> list[Event]:
        """The events of the parts, without sequence numbers."""
        events: list[Event] = []
        for part in parts:
            match part:
                case Started():
                    self._open = self._new(part)
                    events += self._open.begin()
                case Piece(_, text, tokens):
                    events += self._writing.delta(text, tokens)
                case Ended(_, complete):
                    events += self._writing.end(complete=complete)
                    self._close()
                case Ran():
                    self._writing.waits = False
                    events += self._writing.ran(part)
                    self._close()
                case McpListing():
                    listed = McpListItem(len(self.items), part)
                    self.items.append(listed.fields)
                    events += listed.events()
        return events

    def _close(self) -> None:
        if not self._writing.waits:
            self.items.append(self._writing.fields)
            self._open = None

    def _new(self, message: Started) -> OutputItem:
        index, name = len(self.items), message.name
        if message.kind == "reasoning":
            return ReasoningItem(index)
        if message.kind != "call":
            return MessageItem(index, message.kind, self._annotations)
        match self._tools.kind(name):
            case "browser":
                action = self._tools.action
                sources = self._sources
                return WebSearchItem(index, lambda text: action(name, text), sources=sources)
            case "python":
                return ProgramItem(index, self._container, outputs=self._outputs)
            case "mcp":
                return McpCallItem(index, name, self._tools.label(name))
        if name in self._custom:
            return CustomCallItem(index, name)
        return FunctionCallItem(index, name, self._namespaces.get(name))

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
