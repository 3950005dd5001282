"""The browser of one response: search, open and find, shown as by OpenAI's reference browser.

A display starts with its cursor in brackets, the title and the range of lines in view; every line
has its number (openai/gpt-oss `gpt_oss/tools/simple_browser`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harmony.vocabulary import harmony_encoding
from reference_engine.builtin.pages import Found, Page, PageError, PageLink, Pages, domain

_RESULTS = 10
_RESULTS_HEAD = ("", "# Search Results", "")
_VIEW_TOKENS = 1024
_MATCHES = 50
_MATCH_LINES = 4
_LINES_BEFORE = 4
_CITATION = re.compile(r"【(\d+)†L(\d+)(?:-L(\d+))?】")


@dataclass(frozen=True)
class Ran:
    """The result of a call of a built-in tool."""

    output: str  # what the model sees: the result or the error
    sources: tuple[str, ...] = ()  # the URLs that a search found
    failed: bool = False  # whether the call had no effect


@dataclass(frozen=True)
class Citation:
    """A citation in an answer: the part of the text, and the page."""

    start: int
    end: int
    page: Page


class Browser:
    """Displays pages and remembers them by cursor."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._shown: list[Page] = []
        self._found: dict[int, Sequence[Found]] = {}

    def call(self, function: str, arguments: Mapping[str, Any]) -> Ran:
        """Call `search`, `open` or `find` with the arguments that the model wrote."""
        try:
            match function:
                case "search":
                    query = _text(arguments, "query")
                    found = self._pages.search(query, _RESULTS)
                    return Ran(self._results(query, found), tuple(f.page.url for f in found))
                case "open":
                    return Ran(self._open(arguments))
                case "find":
                    return Ran(self._find(_text(arguments, "pattern"), arguments))
        except PageError as error:
            return Ran(str(error), failed=True)
        return Ran(f"Unknown function: {function}", failed=True)

    def citations(self, text: str) -> list[Citation]:
        """Return the citations of existing lines of pages that were displayed."""
        found = []
        for match in _CITATION.finditer(text):
            cursor, first = int(match[1]), int(match[2])
            last = int(match[3] or first)
            there = cursor < len(self._shown) and first <= last < len(self._shown[cursor].lines)
            if there and (page := self._cited(cursor, first)):
                found.append(Citation(match.start(), match.end(), page))
        return found

    def action(self, function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the action of the `web_search_call` item of a call."""
        match function:
            case "open":
                return {"type": "open_page", "url": self._target(arguments)}
            case "find":
                pattern = str(arguments.get("pattern", ""))
                url = self._target({"cursor": arguments.get("cursor", -1)}) or ""
                return {"type": "find_in_page", "pattern": pattern, "url": url}
        query = str(arguments.get("query", ""))
        return {"type": "search", "query": query, "queries": [query]}

    def _cited(self, cursor: int, line: int) -> Page | None:
        """Return the page of a line: in the results of a search, the page of the result."""
        if cursor not in self._found:
            return self._shown[cursor]
        at = line - len(_RESULTS_HEAD)
        return self._found[cursor][at].page if at >= 0 else None

    def _target(self, arguments: Mapping[str, Any]) -> str | None:
        """Return the URL that a call of `open` opens, or None."""
        try:
            return self._link(arguments).url or None
        except PageError:
            return None

    def _link(self, arguments: Mapping[str, Any]) -> PageLink:
        wanted = arguments.get("id", -1)
        if isinstance(wanted, str) and not wanted.isdecimal():
            return PageLink(wanted)
        number = _integer(arguments, "id")
        page = self._page(arguments)
        if number < 0:
            return PageLink(page.url)
        if number >= len(page.links):
            raise PageError(f"Invalid link id `{number}`.")
        return page.links[number]

    def _page(self, arguments: Mapping[str, Any]) -> Page:
        cursor = _integer(arguments, "cursor")
        if not self._shown:
            raise PageError("No pages to access!")
        if not -1 <= cursor < len(self._shown):
            last = len(self._shown) - 1
            raise PageError(
                f"Cursor `{cursor}` is out of range. Available cursor indices: [0 - {last}]."
            )
        return self._shown[cursor]

    def _open(self, arguments: Mapping[str, Any]) -> str:
        link = self._link(arguments)
        stays = _integer(arguments, "id") if not isinstance(arguments.get("id"), str) else 0
        page = self._page(arguments) if stays < 0 else self._pages.fetch(link.url)
        line = _integer(arguments, "loc")
        if line < 0:
            line = max(link.line - _LINES_BEFORE, 0)
        if line >= len(page.lines):
            last = len(page.lines) - 1
            raise PageError(
                f"Invalid location parameter: `{line}`. Cannot exceed page maximum of {last}."
            )
        return self._display(page, line, _integer(arguments, "num_lines"))

    def _results(self, query: str, found: Sequence[Found]) -> str:
        lines = [
            *_RESULTS_HEAD,
            *(
                f"  * 【{at}†{result.page.title}†{domain(result.page.url)}】 {result.summary}"
                for at, result in enumerate(found)
            ),
        ]
        self._found[len(self._shown)] = found
        links = tuple(PageLink(result.page.url) for result in found)
        return self._display(Page("", query, tuple(lines), links), 0, len(lines))

    def _find(self, pattern: str, arguments: Mapping[str, Any]) -> str:
        page = self._page(arguments)
        at = 0
        parts: list[str] = []
        links: list[PageLink] = []
        while at < len(page.lines) and len(parts) < _MATCHES:
            if pattern.lower() not in page.lines[at].lower():
                at += 1
                continue
            near = page.lines[at : at + _MATCH_LINES]
            parts.append(f"# 【{len(parts)}†match at L{at}】\n{_numbered(near, at)}")
            links.append(PageLink(page.url, at))
            at += _MATCH_LINES
        if not parts:
            return f"No `find` results for pattern: `{pattern}`"
        cursor = self._remember(Page(page.url, page.title, page.lines, tuple(links)))
        title = f"Find results for text: `{pattern}` in `{page.title}`"
        return "\n\n".join((f"[{cursor}] {title}", *parts))

    def _display(self, page: Page, first: int, count: int) -> str:
        lines = page.lines[first:]
        lines = lines[:count] if count > 0 else lines[: _fitting(lines)]
        cursor = self._remember(page)
        title = f"{page.title} ({page.url})" if page.url else page.title
        view = f"**viewing lines [{first} - {first + len(lines) - 1}] of {len(page.lines) - 1}**"
        return f"[{cursor}] {title}\n{view}\n\n{_numbered(lines, first)}"

    def _remember(self, page: Page) -> int:
        self._shown.append(page)
        return len(self._shown) - 1


def _numbered(lines: Sequence[str], first: int) -> str:
    return "\n".join(f"L{first + at}: {line}" for at, line in enumerate(lines))


def _fitting(lines: Sequence[str]) -> int:
    """Count how many lines fit into one view; at least one."""
    room = _VIEW_TOKENS
    for at, line in enumerate(lines):
        room -= len(harmony_encoding().encode(line, disallowed_special=()))
        if room < 0:
            return max(at, 1)
    return len(lines)


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise PageError(f"`{name}` must be a string.")
    return value


def _integer(arguments: Mapping[str, Any], name: str) -> int:
    """Return the argument, or -1 if it is not given. Raises PageError."""
    value = arguments.get(name, -1)
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise PageError(f"`{name}` should be an integer, not `{type(value).__name__}`")
    return value
