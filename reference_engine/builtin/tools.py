"""The built-in tools of a server, and those of one response."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harmony.conversation import (
    Answer,
    Builtin,
    BuiltinCall,
    BuiltinResult,
    Call,
    ConversationItem,
)
from reference_engine.builtin.browser import Browser, Citation, Ran
from reference_engine.builtin.pages import Pages
from reference_engine.builtin.python import PythonSandbox

_BROWSER = "browser."


class Toolbox:
    """The tools of one response that the server runs."""

    def __init__(self, browser: Browser | None = None, python: PythonSandbox | None = None) -> None:
        self._browser = browser
        self._python = python

    def kind(self, name: str) -> Builtin | None:
        """Return the kind of the tool with this name, or None if the server does not run it."""
        if name.startswith(_BROWSER) and self._browser:
            return "browser"
        return "python" if name == "python" and self._python else None

    def action(self, name: str, content: str) -> dict[str, Any]:
        """Return the action of a browser call."""
        assert self._browser
        return self._browser.action(name.removeprefix(_BROWSER), _arguments(content) or {})

    def item(self, item: ConversationItem) -> ConversationItem:
        """Return the item; a call of one of these tools becomes a `BuiltinCall`."""
        if isinstance(item, Call) and self.kind(item.name):
            return BuiltinCall(item.name, item.arguments)
        return item

    async def run(self, call: BuiltinCall) -> tuple[Ran, BuiltinResult]:
        """Run a call of one of these tools; returns the result and its conversation item."""
        if self._python and call.name == "python":
            ran = Ran(await self._python.run(call.content))
        else:
            ran = await asyncio.to_thread(self._browse, call)  # A search service may take seconds.
        return ran, BuiltinResult(call.name, ran.output)

    async def replay(self, items: Sequence[ConversationItem]) -> None:
        """Show the pages of earlier calls again, so that cursors keep their meaning."""
        finals = [at for at, item in enumerate(items) if isinstance(item, Answer)]
        for item in items[finals[-1] + 1 if finals else 0 :]:
            if self._browser and isinstance(item, BuiltinCall) and item.name.startswith(_BROWSER):
                await asyncio.to_thread(self._browse, item)

    def citations(self, text: str) -> list[Citation]:
        """Return the citations of displayed pages in an answer."""
        return self._browser.citations(text) if self._browser else []

    def _browse(self, call: BuiltinCall) -> Ran:
        assert self._browser
        arguments = _arguments(call.content)
        if arguments is None:
            return Ran("Invalid function arguments: not a JSON object", failed=True)
        return self._browser.call(call.name.removeprefix(_BROWSER), arguments)


def _arguments(content: str) -> dict[str, Any] | None:
    try:
        arguments = json.loads(content or "{}")
    except ValueError:
        return None
    return arguments if isinstance(arguments, dict) else None


@dataclass(frozen=True)
class ServerTools:
    """The built-in tools that a server can offer."""

    pages: Pages | None = None  # the pages of its browser, or None without a browser
    python: PythonSandbox | None = None  # its sandbox for Python, or None without Python
    most_calls: int = 20  # the maximum number of calls in one response

    def has(self, tool: Builtin) -> bool:
        """Return whether the server has this tool."""
        return (self.pages if tool == "browser" else self.python) is not None

    def toolbox(self, offered: Sequence[Builtin]) -> Toolbox:
        """Return the tools of one response."""
        browser = Browser(self.pages) if self.pages and "browser" in offered else None
        return Toolbox(browser, self.python if "python" in offered else None)


NO_TOOLS = ServerTools()
