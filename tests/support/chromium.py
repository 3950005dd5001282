"""Pages in a Chromium browser, if one is installed."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
_SCREENSHOTS = os.environ.get("REPORT_SCREENSHOTS")
"""The folder that pictures of the pages go to, if they are wanted."""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped if none is installed."""
    if _CHROMIUM is None:
        pytest.skip(f"NO PAGE WAS LOOKED AT: no Chromium here (looked for {', '.join(_NAMES)})")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def quiet_pages(browser: Any, asks: str = "file:") -> Iterator[Callable[..., Any]]:
    """A function that opens an address in a new browser context with the given options.

    At the end, no page may have written to its console, or asked for another address than those
    that begin with `asks`.
    """
    troubles, contexts = [], []

    def open_page(address: str, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith(asks) or troubles.append(request.url),
        )
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


def screenshot(page: Any, name: str) -> None:
    """Save a screenshot of a page if requested; for a viewer, only the visible part."""
    if _SCREENSHOTS:
        Path(_SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{_SCREENSHOTS}/{name}.png", full_page="viewer" not in name)
