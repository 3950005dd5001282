"""Search services as sources of pages for the browser: Exa and You.com.

The packages of the services search and fetch; this server never connects to an address that a model
or a page names. URLs of hosts without a public name are not sent to a service, so that internal
names are not disclosed.
"""

import ipaddress
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from reference_engine.builtin.pages import Found, Page, PageError, domain, read_html, without_marks
from reference_engine.errors import SetupError

T = TypeVar("T")

_log = logging.getLogger(__name__)
_SECONDS = 20
_LONGEST_PAGE = 500_000
_LONGEST_SUMMARY = 500
_CACHED = 256
_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".lan")


class SearchService(ABC):
    """Pages of a search service; see `Pages`. Repeated searches and pages come from a cache."""

    def __init__(self) -> None:
        self._remembered_search = lru_cache(_CACHED)(self._search)
        self._remembered_page = lru_cache(_CACHED)(self._page)

    @abstractmethod
    def results(self, query: str, most: int) -> Iterable[tuple[str, str | None, str | None]]:
        """The URL, title and summary of each result. Raises ValueError, OSError or HTTPError."""

    @abstractmethod
    def html(self, url: str) -> str | None:
        """A page, if the service has it. Raises like `results`."""

    def search(self, query: str, most: int) -> list[Found]:
        """The results of the service. Raises PageError."""
        return list(_answered(lambda: self._remembered_search(query, most)))

    def fetch(self, url: str) -> Page:
        """The service's copy of the page. Raises PageError."""
        if not is_public(url):
            raise PageError(f"Error fetching URL `{url[:1000]}`: its host has no public name.")
        return _answered(lambda: self._remembered_page(url))

    def _search(self, query: str, most: int) -> tuple[Found, ...]:
        found = [
            Found(Page(url, _line(title) or domain(url), ()), _line(summary)[:_LONGEST_SUMMARY])
            for url, title, summary in self.results(query, most)
            if is_public(url)
        ]
        return tuple(found[:most])

    def _page(self, url: str) -> Page:
        text = self.html(url)
        if not text:
            raise PageError(f"Error fetching URL `{url[:1000]}`: there is no such page.")
        return read_html(url, without_marks(text[:_LONGEST_PAGE]))


class Exa(SearchService):
    """https://exa.ai, through its package exa-py."""

    def __init__(self, key: str, address: str = "https://api.exa.ai") -> None:
        super().__init__()
        import exa_py

        self._client = exa_py.Exa(key, address, timeout=_SECONDS)

    def results(self, query: str, most: int) -> Iterable[tuple[str, str | None, str | None]]:
        """See `SearchService`."""
        found = self._client.search(query, num_results=most, contents={"highlights": True})
        for each in found.results:
            yield each.url, each.title, " … ".join(each.highlights or ())

    def html(self, url: str) -> str | None:
        """See `SearchService`."""
        found = self._client.get_contents(
            [url], text={"include_html_tags": True, "max_characters": _LONGEST_PAGE}
        ).results
        return found[0].text if found else None


class You(SearchService):
    """https://you.com, through its package youdotcom."""

    def __init__(self, key: str, address: str = "https://ydc-index.io") -> None:
        super().__init__()
        import youdotcom

        self._client = youdotcom.You(key, timeout_ms=_SECONDS * 1000)
        self._address = address
        self._error = youdotcom.errors.YouError
        self._format = youdotcom.models.ContentsFormats.HTML

    def results(self, query: str, most: int) -> Iterable[tuple[str, str | None, str | None]]:
        """See `SearchService`."""
        try:
            found = self._client.search(query=query, count=most, server_url=self._address).results
        except self._error as error:
            raise ValueError(str(error)) from error
        for each in (found and found.web) or ():
            if each.url:
                yield each.url, each.title, " … ".join(each.snippets or [each.description or ""])

    def html(self, url: str) -> str | None:
        """See `SearchService`."""
        try:
            pages = self._client.contents(
                urls=[url], formats=[self._format], server_url=self._address
            )
        except self._error as error:
            raise ValueError(str(error)) from error
        return pages[0].html or None if pages else None


SERVICES: dict[str, tuple[type[Exa | You], str, str]] = {
    "exa": (Exa, "exa_py", "EXA_API_KEY"),
    "you": (You, "youdotcom", "YDC_API_KEY"),
}
"""The class, package and API key variable of each service, by its name in `--browser`."""


def service(name: str) -> SearchService:
    """A service by its name, with the key of its environment variable. Raises SetupError."""
    kind, module, variable = SERVICES[name]
    if find_spec(module) is None:
        raise SetupError(
            f"--browser {name} needs the service's package: pip install 'gpt-oss-verify[search]'."
        )
    if not (key := os.environ.get(variable)):
        raise SetupError(f"--browser {name} needs an API key: set {variable}.")
    return kind(key)


def is_public(url: str) -> bool:
    """Whether the URL is a web address, and its host a public name or address."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"}:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # A name whose last part begins with a digit is an IPv4 address, such as 127.1 or 0x7f.1.
        named = "." in host and not host.rpartition(".")[2][:1].isdigit()
        return named and not host.endswith(_PRIVATE_NAMES)
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inner or address).is_global


def _answered(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (ValueError, LookupError, TypeError, OSError, httpx.HTTPError) as error:
        _log.warning("The search service failed: %s", error)
        raise PageError("The search service does not answer.") from error


def _line(text: str | None) -> str:
    return " ".join(without_marks(text or "").split())
