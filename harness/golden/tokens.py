"""Tokens by the bytes that providers report them with."""

from __future__ import annotations

from functools import cache

from reference_engine.harmony.vocabulary import harmony_encoding, token_bytes


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
