"""Tokens by the bytes that providers report them with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from harmony.vocabulary import harmony_encoding, token_bytes


@cache
def bytes_of(token: int) -> bytes:
    """The bytes of a token; of a special one, those of its name."""
    table = token_bytes()
    if token < len(table):
        return table[token]
    name: str = harmony_encoding().decode([token])
    return name.encode()


def special(token: int) -> bool:
    """Whether a token is a marker of harmony and no text."""
    return token >= len(token_bytes())


def id_of(name: bytes) -> int | None:
    """The token of these bytes, or the special one of this name; None where there is none."""
    found = _ids().get(name)
    if found is None and name.startswith(b"<|"):
        ids = encoded(name.decode("utf-8", "replace"))
        return ids[0] if len(ids) == 1 else None
    return found


def encoded(text: str) -> tuple[int, ...]:
    """The tokens of a text, markers of harmony among them."""
    return tuple(harmony_encoding().encode(text, allowed_special="all"))


@cache
def _ids() -> Mapping[bytes, int]:
    return {data: token for token, data in enumerate(token_bytes()) if data}
