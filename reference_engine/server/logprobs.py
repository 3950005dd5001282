"""Tokens with their log probabilities, as both dialects write them."""

from __future__ import annotations

from typing import Any

from harmony.vocabulary import harmony_encoding, token_bytes
from reference_engine.generation.sampling import Token


def logprob(token: Token) -> dict[str, Any]:
    """A token with its log probability and its alternatives."""
    alternatives = [_named(other, value) for other, value in token.top]
    return _named(token.id, token.logprob) | {"top_logprobs": alternatives}


def _named(token: int, value: float | None) -> dict[str, Any]:
    table = token_bytes()
    special = token >= len(table)
    data = harmony_encoding().decode([token]).encode() if special else table[token]
    return {"token": data.decode("utf-8", "replace"), "bytes": list(data), "logprob": value}
