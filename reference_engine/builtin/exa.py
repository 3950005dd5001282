"""The search service Exa (https://exa.ai) as a source of pages for the browser.

The package exa-py searches and fetches; this server never connects to an address that a model or a
page names. URLs of hosts without a public name are not sent to the service, so that internal names
are not disclosed.
"""

import ipaddress
import logging
import os
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import TypeVar
from urllib.parse import urlsplit

from harmony.extras import install_command
from reference_engine.builtin.pages import Found, Page, PageError, domain, read_html, without_marks
from reference_engine.errors import SetupError

T = TypeVar("T")

_log = logging.getLogger(__name__)
_SECONDS = 20
_LONGEST_PAGE = 500_000
_LONGEST_SUMMARY = 500
_CACHED = 256
_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".home.arpa", ".lan")


class Exa:
    """Pages of the service; see `Pages`. Repeated searches and pages come from a cache."""

    def __init__(self, key: str, address: str = "https://api.exa.ai") -> None:
        import exa_py

        self._client = exa_py.Exa(key, address, timeout=_SECONDS)
        self._remembered_search = lru_cache(_CACHED)(self._search)
        self._remembered_page = lru_cache(_CACHED)(self._page)

    def search(self, query: str, most: int) -> list[Found]:
        """Return the results of the service. Raises PageError."""
        return list(_answered(lambda: self._remembered_search(query, most)))

    def fetch(self, url: str) -> Page:
        """Return the service's copy of the page. Raises PageError."""
        if not is_public(url):
            raise PageError(f"Error fetching URL `{url[:1000]}`: its host has no public name.")
        return _answered(lambda: self._remembered_page(url))

    def _search(self, query: str, most: int) -> tuple[Found, ...]:
        results = self._client.search(query, num_results=most, contents={"highlights": True})
        found = [
            Found(
                Page(result.url, _line(result.title) or domain(result.url), ()),
                _line(" … ".join(result.highlights or ()))[:_LONGEST_SUMMARY],
            )
            for result in results.results
            if is_public(result.url)
        ]
        return tuple(found[:most])

    def _page(self, url: str) -> Page:
        found = self._client.get_contents(
            [url], text={"include_html_tags": True, "max_characters": _LONGEST_PAGE}
        ).results
        if not found or not found[0].text:
            raise PageError(f"Error fetching URL `{url[:1000]}`: there is no such page.")
        return read_html(url, without_marks(found[0].text[:_LONGEST_PAGE]))


def exa() -> Exa:
    """Return the service with the key in EXA_API_KEY. Raises SetupError."""
    if find_spec("exa_py") is None:
        raise SetupError(f"--browser exa needs the service's package: {install_command('search')}")
    if not (key := os.environ.get("EXA_API_KEY")):
        raise SetupError("--browser exa needs an API key: set EXA_API_KEY.")
    return Exa(key)


def is_public(url: str) -> bool:
    """Return whether the URL is a web address, and its host a public name or address."""
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
    except (ValueError, LookupError, TypeError, OSError) as error:
        _log.warning("The search service failed: %s", error)
        raise PageError("The search service does not answer.") from error


def _line(text: str | None) -> str:
    return " ".join(without_marks(text or "").split())
