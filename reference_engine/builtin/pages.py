"""Pages for the browser: a folder of sites, as text with numbered links."""

import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Protocol
from urllib.parse import urldefrag, urljoin, urlsplit

from reference_engine.errors import SetupError

_WIDTH = 80
_LONGEST_FILE = 4 * 2**20
_LONGEST_SUMMARY = 200
_KINDS = {".html": True, ".htm": True, ".txt": False, ".md": False}
_WORD = re.compile(r"\w+")
_BRACKETS = str.maketrans("【】†", "〖〗‡")
_BREAKS = frozenset(
    """
    p div br ul ol table tr section article header footer pre blockquote h1 h2 h3 h4 h5 h6 li
    """.split()
)
_HIDDEN = frozenset({"script", "style", "template", "noscript"})


class PageError(Exception):
    """A page cannot be shown; the message is for the model."""


@dataclass(frozen=True)
class PageLink:
    """A link of a page, and the line at which its target opens."""

    url: str
    line: int = 0


@dataclass(frozen=True)
class Page:
    """A page as the model sees it: lines, and links with numbers."""

    url: str
    title: str
    lines: tuple[str, ...]
    links: tuple[PageLink, ...] = ()


@dataclass(frozen=True)
class Found:
    """A search result."""

    page: Page
    summary: str


class Pages(Protocol):
    """A source of pages for the browser."""

    def search(self, query: str, most: int) -> list[Found]:
        """Return the best pages for the query, best first."""
        ...

    def fetch(self, url: str) -> Page:
        """Return the page of this URL. Raises PageError."""
        ...


def without_marks(text: str) -> str:
    """Return the text with the brackets of links and citations replaced."""
    return text.translate(_BRACKETS)


def domain(url: str) -> str:
    """Return the host of a URL."""
    return urlsplit(url).netloc


class Folder:
    """The pages of a folder of sites, as `wget --mirror` writes them: `HOST/PATH`.

    The URL of `example.com/a/b.html` is `https://example.com/a/b.html`. Files that are not HTML,
    Markdown or text, and links that lead out of the folder, are ignored.
    """

    def __init__(self, folder: Path) -> None:
        """Read all pages. Raises SetupError."""
        self._pages: dict[str, Page] = {}
        self._words: dict[str, Counter[str]] = {}
        for file, url in _files(folder):
            text = without_marks(file.read_text(encoding="utf-8", errors="replace"))
            page = read_html(url, text) if _KINDS[file.suffix.lower()] else _plain(url, text)
            self._pages[_key(url)] = page
            self._words[_key(url)] = Counter(_words("\n".join((page.title, *page.lines))))
        if not self._pages:
            raise SetupError(
                f"{folder} has no pages: put them in a folder named after their host, such as "
                f"{folder / 'example.com' / 'page.html'}."
            )

    def search(self, query: str, most: int) -> list[Found]:
        """Return the pages with the most words of the query; words in titles count twice."""
        wanted = set(_words(query))

        def rank(key: str) -> tuple[int, int]:
            titled = wanted & set(_words(self._pages[key].title))
            return len(wanted & set(self._words[key])) + len(titled), sum(
                self._words[key][word] for word in wanted
            )

        ranked = sorted(self._pages, key=rank, reverse=True)
        return [
            Found(self._pages[key], _summary(self._pages[key], wanted))
            for key in ranked[:most]
            if rank(key) > (0, 0)
        ]

    def fetch(self, url: str) -> Page:
        """Find a page by its URL, ignoring scheme, fragment and final slash. Raises PageError."""
        page = self._pages.get(_key(url))
        if page is None:
            raise PageError(f"Error fetching URL `{url[:1000]}`: there is no such page.")
        return page


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    root = folder.resolve()
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root)
        usable = file.suffix.lower() in _KINDS and len(path.parts) > 1 and file.is_file()
        if not usable or root not in file.resolve().parents:
            continue
        if file.stat().st_size <= _LONGEST_FILE:
            yield file, f"https://{path.as_posix().removesuffix('index.html')}"


def _key(url: str) -> str:
    bare = urldefrag(url)[0].partition("://")
    return (bare[2] or bare[0]).rstrip("/").lower()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _summary(page: Page, wanted: set[str]) -> str:
    best = max(page.lines[3:] or ("",), key=lambda line: len(wanted & set(_words(line))))
    return best.strip()[:_LONGEST_SUMMARY]


def _plain(url: str, text: str) -> Page:
    first = next((line for line in text.splitlines() if line.strip()), domain(url))
    return _page(url, first.lstrip("# ").strip(), text, ())


def _page(url: str, title: str, text: str, links: tuple[PageLink, ...]) -> Page:
    text = re.sub(r"\n\s*\n+", "\n\n", text.strip())
    lines = [title, f"URL: {url}", ""]
    for line in text.splitlines():
        wrapped = textwrap.wrap(line, _WIDTH, replace_whitespace=False, drop_whitespace=False)
        lines += wrapped or [""]
    return Page(url, title, tuple(lines), links)


def read_html(url: str, text: str) -> Page:
    """Read an HTML page: headings with `#`, items with `*`, links as `【id†text】` or with host."""
    reader = _PageReader(url)
    reader.feed(text)
    reader.close()
    title = " ".join("".join(reader.title).split()) or domain(url)
    body = "\n".join(" ".join(line.split()) for line in "".join(reader.text).split("\n"))
    links = tuple(PageLink(address) for address in reader.links)
    return _page(url, title, re.sub(r"^\* ", "  * ", body, flags=re.MULTILINE), links)


class _PageReader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self.title: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self._url = url
        self._within: list[str] = []
        self._link: tuple[str, int] | None = None

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN or tag == "title":
            self._within.append(tag)
        if tag in _BREAKS:
            self.text.append("\n" if tag in {"li", "br", "tr"} else "\n\n")
        if tag == "li":
            self.text.append("* ")
        elif len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.text.append("#" * int(tag[1]) + " ")
        elif tag in {"td", "th"}:
            self.text.append(" ")
        elif tag == "a" and (target := dict(attributes).get("href")):
            self._link = (urljoin(self._url, target), len(self.text))

    def handle_endtag(self, tag: str) -> None:
        if self._within and tag == self._within[-1]:
            self._within.pop()
        elif tag == "a" and self._link:
            self._end_link(*self._link)
            self._link = None
        elif tag in _BREAKS - {"li", "tr"}:
            self.text.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._within:
            self.text.append(data.replace("\n", " "))
        elif self._within[-1] == "title":
            self.title.append(data)

    def _end_link(self, url: str, start: int) -> None:
        text = " ".join("".join(self.text[start:]).split())
        if not text or urlsplit(url).scheme not in {"http", "https"}:
            return
        if url not in self.links:
            self.links.append(url)
        host = "" if domain(url) == domain(self._url) else f"†{domain(url)}"
        self.text[start:] = [f"【{self.links.index(url)}†{text}{host}】"]
