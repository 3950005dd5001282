"""Tokens by the bytes with which providers report them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from harmony.vocabulary import encode, token_bytes


def special(token: int) -> bool:
    """Whether a token is a special token of harmony."""
    return token >= len(token_bytes())


def id_of(name: bytes) -> int | None:
    """The token with these bytes, or the special token with this name; None without one."""
    found = _ids().get(name)
    if found is None and name.startswith(b"<|"):
        ids = encode(name.decode("utf-8", "replace"))
        return ids[0] if len(ids) == 1 else None
    return found


@cache
def _ids() -> Mapping[bytes, int]:
    return {data: token for token, data in enumerate(token_bytes()) if data}
