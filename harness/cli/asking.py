"""Questions on the terminal about a new entry of providers.yaml; what was given is not asked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from rich.prompt import Prompt

from harness.cli.options import parse_apis
from harness.cli.screen import stderr
from harness.errors import ConfigurationError
from harness.providers.entries import adhoc_provider
from harness.providers.key_shapes import looks_like_key
from harness.records.conditions import Api
from harness.text.plain import plain

BOTH = "responses,chat"


@dataclass(frozen=True)
class Draft:
    """An entry in the making."""

    name: str | None
    base_url: str | None
    model: str | None
    apis: tuple[Api, ...] | None
    api_key_env: str | None


def possible() -> bool:
    """Whether anybody is there to answer."""
    return sys.stdin.isatty()


def address(draft: Draft) -> Draft:
    """Ask where the provider is, how it shall be called, and which variable holds the key."""
    base_url = draft.base_url or _ask("Address of the API, such as http://localhost:8000/v1", _url)
    host = urlsplit(base_url).hostname or ""
    name = draft.name or _ask("Name for it", str, default=_short(host))
    key = draft.api_key_env or _ask(
        "Environment variable that holds the key (its name, not the key; empty for none)",
        lambda text: _variable(base_url, text),
        default="",
    )
    return replace(draft, base_url=base_url, name=name, api_key_env=key or None)


def model(models: Sequence[str]) -> str:
    """Ask for the model, of those that the provider lists or any other."""
    likely = [each for each in models if "gpt-oss" in each.lower()] or list(models)
    if models:
        stderr().print(plain(f"It lists {', '.join(likely)}."), soft_wrap=True)
    return _ask("Model", str, default=likely[0] if likely else None)


def apis(found: Sequence[Api]) -> tuple[Api, ...]:
    """Ask which APIs shall be verified; those found are proposed."""
    text = _ask("APIs", _apis, default=",".join(found) or BOTH)
    return parse_apis(text) or ()


def _ask(question: str, checked: Callable[[str], str], default: str | None = None) -> str:
    """Ask until the answer can be used."""
    while True:
        try:
            told = Prompt.ask(
                question, console=stderr(), default=default, show_default=bool(default)
            )
        except EOFError:
            raise ConfigurationError("The answers ended; run init again, or give flags.") from None
        text = (told or "").strip()
        if looks_like_key(text):
            stderr().print("That looks like a key. It belongs into an environment variable only.")
            continue
        try:
            if text or default == "":
                return checked(text)
        except ConfigurationError as error:
            stderr().print(plain(str(error)), soft_wrap=True)


def _url(text: str) -> str:
    return adhoc_provider(text, "any", ("chat",)).base_url


def _variable(base_url: str, text: str) -> str:
    if text:
        adhoc_provider(base_url, "any", ("chat",), text)
    return text


def _apis(text: str) -> str:
    parse_apis(text)
    return text


def _short(host: str) -> str:
    """The part of a host name that tells providers apart: groq of api.groq.com."""
    parts = host.split(".")
    named = len(parts) > 1 and not parts[-1].isdigit()
    return parts[-2] if named else host.replace(":", "-")
