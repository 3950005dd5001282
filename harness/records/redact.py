"""Remove keys from everything that is recorded."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import orjson

REDACTED = "[redacted]"
SHORTEST_SECRET = 8
_SECRET_NAMES = re.compile(
    r"auth|(?<!port)key|secret|password|cookie|^x-.*token$|^x-portkey-config$", re.IGNORECASE
)
_names_secret = lru_cache(maxsize=1024)(_SECRET_NAMES.search)
"""Names of headers that hold a secret. The others of the gateway Portkey route the request."""
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
_WORDS = re.compile(r"[A-Za-z0-9]*")
_ESCAPE = "\\u00"  # escape of an ASCII character in JSON


def secrets_in(headers: Mapping[str, str]) -> frozenset[str]:
    """Return the values of headers such as `X-Api-Key`, without a scheme such as `Bearer`."""
    held = (value.split() for name, value in headers.items() if _names_secret(name))
    return frozenset(words[-1] for words in held if words)


class Redactor:
    """Replaces secrets in headers, texts and JSON.

    Secrets of fewer than eight characters ("EMPTY", "none") are replaced only in headers and only
    as a whole word: such keys protect nothing, and replacing them in texts would damage the record.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)
        spelled = [secret for secret in self._secrets if len(secret) >= SHORTEST_SECRET]
        longest_first = sorted(spelled, key=len, reverse=True)
        pattern = "|".join("".join(map(_spellings, secret)) for secret in longest_first)
        self._marks = tuple(max(_WORDS.findall(secret), key=len) for secret in spelled)
        self._short = tuple(secret for secret in self._secrets if len(secret) < SHORTEST_SECRET)
        self._pattern = re.compile(pattern)
        self._in_any_case = re.compile(pattern, re.IGNORECASE)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers with secret values, and names that contain a secret, replaced."""
        clean: dict[str, str] = {}
        for name, value in headers.items():
            # A name may contain a secret too; it is recorded in lower case.
            named = bool(self._marks) and self._in_any_case.search(name) is not None
            held = self._found_in(value) or any(word in self._short for word in value.split())
            secret = held or _names_secret(name)
            clean[REDACTED if named else name] = REDACTED if secret else value
        return clean

    def _found_in(self, text: str) -> bool:
        """Return whether a text has a secret; most texts are ruled out without the slow pattern."""
        return (
            bool(self._marks)
            and (_ESCAPE in text or any(mark in text for mark in self._marks))
            and self._pattern.search(text) is not None
        )

    def text(self, text: str) -> str:
        """Return a text with every secret replaced."""
        return self._pattern.sub(REDACTED, text) if self._found_in(text) else text

    def body(self, body: Mapping[str, Any], encoded: bytes) -> dict[str, Any]:
        """Return a JSON object with every secret replaced; `encoded` is the object as bytes."""
        if not self._marks:
            return dict(body)
        text = encoded.decode()
        clean = self.text(text)
        return dict(body) if clean is text else orjson.loads(clean)


class Scrubber(Redactor):
    """Also removes whatever looks like a key, and the values of secret headers in JSON."""

    def text(self, text: str) -> str:
        """Return a text, possibly JSON, without keys."""
        clean = _KEYS.sub(REDACTED, super().text(text))
        return _HEADERS.sub(rf'\1:"{REDACTED}"', clean)


def _spellings(character: str) -> str:
    """Return a pattern for a character, which may be escaped for JSON, a URL or HTML."""
    plain = re.escape(character)
    if not character.isalnum():
        plain = rf"\\{{0,4}}{plain}"
    units = re.findall("....", character.encode("utf-16-be").hex())
    escaped = "".join(rf"\\{{1,4}}u{unit}" for unit in units)
    percent = "".join(f"%{byte:02x}" for byte in character.encode())
    number = ord(character)
    return f"(?:{plain}|(?i:{escaped}|{percent}|&#x{number:x};|&#{number};))"
