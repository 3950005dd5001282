"""Remove keys, and what identifies this machine, from texts for publication."""

import os
import re
import socket
from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from harness.errors import ConfigurationError
from harness.providers.entries import key_variables, load_providers
from harness.transport.redact import REDACTED, Redactor

_KEYS = re.compile(
    r"(?:(?<![\w-])|(?<=\\[nrt]))"
    r"(?:sk-[\w-]{20,}|gsk_\w{20,}|hf_\w{20,}|nvapi-[\w-]{20,}|AIza[\w-]{30,}|AKIA[0-9A-Z]{16}"
    r"|gh[pousr]_\w{30,}|github_pat_\w{30,}|xox[abprs]-[\w-]{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}|(?i:bearer) +[\w.~+/-]{16,}=*)",
    re.ASCII,
)
"""Keys of well-known services, JSON Web Tokens, and bearer tokens."""

_HEADERS = re.compile(
    r'("(?:proxy-)?authorization"|"(?:x-)?api-key"|"(?:set-)?cookie"):"(?!\[redacted\]")[^"\\]*"',
    re.IGNORECASE,
)
_SECRET_VARIABLE = re.compile(r"(?:API_KEY|TOKEN|SECRET|PASSWORD)$")
_PATH = re.compile(r"(?<![\w:/.~-])(?:~?/)(?:[\w.+@%-]+/)+([\w.+@%-]*)")
_SHORTEST_HOST = 4


def known_secrets() -> Iterator[str]:
    """Yield the values of variables that providers.yaml names, or whose own names suggest keys."""
    try:
        providers = list(load_providers().values())
    except ConfigurationError:
        providers = []
    named = {name for provider in providers for name in key_variables(provider)}
    for name, value in os.environ.items():
        if value.strip() and (name in named or _SECRET_VARIABLE.search(name)):
            yield value.strip()


class Scrubber:
    """Removes keys from texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Remove these values and whatever looks like a key."""
        self._redactor = Redactor(secrets)

    def text(self, text: str) -> str:
        """Return a text, possibly JSON, without keys."""
        clean = _KEYS.sub(REDACTED, self._redactor.text(text))
        return _HEADERS.sub(rf'\1:"{REDACTED}"', clean)


def shortened(value: JsonValue, host: str | None = None) -> JsonValue:
    """Return a JSON value with paths cut to their last part, and without the name of the host."""
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
