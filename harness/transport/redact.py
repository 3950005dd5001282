"""Remove keys from everything that is recorded."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import orjson

REDACTED = "[redacted]"
SECRET_NAMES = re.compile(r"auth|key|secret|password|cookie|^x-.*token$", re.IGNORECASE)
SHORTEST_SECRET = 8


def secrets_in(headers: Mapping[str, str]) -> frozenset[str]:
    """The values of headers with names such as `X-Api-Key`, without a scheme such as `Bearer`."""
    held = (value.split() for name, value in headers.items() if SECRET_NAMES.search(name))
    return frozenset(words[-1] for words in held if words)


class Redactor:
    """Replaces secrets in headers, texts and JSON.

    Secrets of fewer than eight characters ("EMPTY", "none") are replaced only in headers and only
    as a whole word: such keys protect nothing, and replacing them in texts would damage the record.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = tuple(secrets)
        spellings = {
            spelling
            for secret in self._secrets
            if len(secret) >= SHORTEST_SECRET
            for spelling in (
                secret,
                orjson.dumps(secret).decode()[1:-1],
                secret.replace("/", "\\/"),
                quote(secret, safe=""),
                quote(secret),
            )
        }
        self._spellings = tuple(sorted(spellings, key=len, reverse=True))
        self._lowered = tuple({spelling.lower() for spelling in spellings})
        self._short = tuple(each for each in self._secrets if len(each) < SHORTEST_SECRET)
        self._pattern = re.compile("|".join(map(re.escape, self._spellings)))

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers with the values of secret ones replaced, and names that contain a secret."""
        return {
            REDACTED if self._names_secret(name) else name: REDACTED
            if _is_secret(name) or self._held_by(value)
            else value
            for name, value in headers.items()
        }

    def _names_secret(self, name: str) -> bool:
        """Whether the name of a header, recorded in lower case, contains a secret."""
        lower = name.lower()
        return any(spelling in lower for spelling in self._lowered)

    def _held_by(self, value: str) -> bool:
        """Whether a value contains a secret, or a short secret as one of its words."""
        return any(spelling in value for spelling in self._spellings) or (
            bool(self._short) and any(word in self._short for word in value.split())
        )

    def text(self, text: str) -> str:
        """A text with every secret replaced."""
        for spelling in self._spellings:
            if spelling in text:
                return self._pattern.sub(REDACTED, text)
        return text

    def body(self, body: Mapping[str, Any], encoded: bytes) -> dict[str, Any]:
        """A JSON object with every secret replaced; `encoded` is the object as bytes."""
        if not self._spellings:
            return dict(body)
        text = encoded.decode()
        clean = self.text(text)
        return dict(body) if clean is text else orjson.loads(clean)


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return SECRET_NAMES.search(name) is not None
