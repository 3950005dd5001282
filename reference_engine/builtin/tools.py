"""The built-in tools of a server, and those of one response."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harmony.conversation import Answer, Builtin, BuiltinCall, ConversationItem
from reference_engine.builtin.browser import Browser, Citation
from reference_engine.builtin.pages import Pages
from reference_engine.builtin.python import PythonSandbox

_BROWSER = "browser."


@dataclass(frozen=True)
class Ran:
    """A built-in call that was executed.

    Attributes:
        call: The call.
        output: What the model sees.
        sources: The URLs that a search found.
        failed: Whether it had no effect.
    """

    call: BuiltinCall
    output: str
    sources: tuple[str, ...] = ()
    failed: bool = False


class Toolbox:
    """The built-in tools that a request offers."""

    def __init__(self, browser: Browser | None = None, python: PythonSandbox | None = None) -> None:
        self._browser = browser
        self._python = python

    def owns(self, name: str) -> bool:
        """Whether a call of this name is for one of these tools."""
        if name.startswith(_BROWSER):
            return self._browser is not None
        return name == "python" and self._python is not None

    def action(self, call: BuiltinCall) -> dict[str, Any] | None:
        """The action of a call of the browser; None for Python."""
        if not self._browser or not call.name.startswith(_BROWSER):
            return None
        return self._browser.action(call.name.removeprefix(_BROWSER), _arguments(call) or {})

    async def run(self, call: BuiltinCall) -> Ran:
        """Execute a call of a tool that is owned."""
        if self._python and call.name == "python":
            return Ran(call, await self._python.run(call.content))
        return self._browse(call)

    def replay(self, items: Sequence[ConversationItem]) -> None:
        """Show the pages of earlier calls again, so that cursors keep their meaning."""
        finals = [at for at, item in enumerate(items) if isinstance(item, Answer)]
        for item in items[finals[-1] + 1 if finals else 0 :]:
            if self._browser and isinstance(item, BuiltinCall) and item.name.startswith(_BROWSER):
                self._browse(item)

    def citations(self, text: str) -> list[Citation]:
        """The citations of displayed pages in an answer."""
        return self._browser.citations(text) if self._browser else []

    def _browse(self, call: BuiltinCall) -> Ran:
        assert self._browser
        arguments = _arguments(call)
        if arguments is None:
            return Ran(call, "Invalid function arguments: not a JSON object", failed=True)
        shown = self._browser.call(call.name.removeprefix(_BROWSER), arguments)
        return Ran(call, shown.output, shown.sources, shown.failed)


def _arguments(call: BuiltinCall) -> dict[str, Any] | None:
    try:
        arguments = json.loads(call.content or "{}")
    except ValueError:
        return None
    return arguments if isinstance(arguments, dict) else None


@dataclass(frozen=True)
class ServerTools:
    """The built-in tools that a server can offer.

    Attributes:
        pages: The pages of its browser, or None without one.
        python: Its sandbox for Python, or None without one.
        most_calls: How many calls one response can make.
    """

    pages: Pages | None = None
    python: PythonSandbox | None = None
    most_calls: int = 20

    def has(self, tool: Builtin) -> bool:
        """Whether the server has this tool."""
        return (self.pages if tool == "browser" else self.python) is not None

    def toolbox(self, offered: Sequence[Builtin]) -> Toolbox:
        """The tools of one response."""
        browser = Browser(self.pages) if self.pages and "browser" in offered else None
        return Toolbox(browser, self.python if "python" in offered else None)
