"""Keys, and what tells of the machine, taken out of texts that are to be published."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from harness.errors import ConfigurationError
from harness.providers.entries import ENVIRONMENT_NAME, load_providers
from harness.transport.redact import REDACTED, Redactor

_START = r"(?:(?<![\w-])|(?<=\\[nrt]))"
_KEYS = re.compile(
    _START
    + r"(?:sk-[\w-]{20,}|gsk_\w{20,}|hf_\w{20,}|nvapi-[\w-]{20,}|AIza[\w-]{30,}|AKIA[0-9A-Z]{16}"
    r"|gh[pousr]_\w{30,}|github_pat_\w{30,}|xox[abprs]-[\w-]{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}|(?i:bearer) +[\w.~+/-]{16,}=*)",
    re.ASCII,
)
"""How the keys of well-known services begin, JSON Web Tokens, and whatever bears a bearer."""

_HEADERS = re.compile(
    r'("(?:proxy-)?authorization"|"(?:x-)?api-key"|"(?:set-)?cookie"):"(?!\[redacted\]")[^"\\]*"',
    re.IGNORECASE,
)
_SECRET_VARIABLE = re.compile(r"(?:API_KEY|TOKEN|SECRET|PASSWORD)$")
_PATH = re.compile(r"(?<![\w:/.~-])(?:~?/)(?:[\w.+@%-]+/)+([\w.+@%-]*)")
_SHORTEST_HOST = 4


def known_secrets(environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """The values of variables that hold keys: those of providers.yaml, and others by their name."""
    try:
        providers = load_providers().values()
    except ConfigurationError:
        providers = {}.values()
    named = {provider.api_key_env for provider in providers}
    for provider in providers:
        for template in provider.headers.values():
            named |= set(ENVIRONMENT_NAME.findall(template))
    for name, value in environ.items():
        if value.strip() and (name in named or _SECRET_VARIABLE.search(name)):
            yield value.strip()


class Scrubber:
    """Takes keys out of JSON texts.

    Attributes:
        count: How many were taken out so far.
    """

    def __init__(self, secrets: Iterator[str]) -> None:
        """Take values that must not appear, besides whatever looks like a key."""
        self._redactor = Redactor(secrets)
        self.count = 0

    def text(self, text: str) -> str:
        """The text, which may be JSON, without keys."""
        clean = self._redactor.text(text)
        self.count += clean.count(REDACTED) - text.count(REDACTED)
        clean, keys = _KEYS.subn(REDACTED, clean)
        clean, headers = _HEADERS.subn(rf'\1:"{REDACTED}"', clean)
        self.count += keys + headers
        return clean


def shortened(value: JsonValue, host: str | None = None) -> JsonValue:
    """A JSON value in whose texts absolute paths are their last part, and this machine `host`.

    `host` is the name to look for, by default that of this machine.
    """
    name = socket.gethostname() if host is None else host
    if isinstance(value, str):
        text = _PATH.sub(r"…/\1", value)
        known = len(name) >= _SHORTEST_HOST and name != "localhost"
        return re.sub(rf"\b{re.escape(name)}\b", "host", text) if known else text
    if isinstance(value, dict):
        return {key: shortened(inner, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [shortened(inner, name) for inner in value]
    return value
