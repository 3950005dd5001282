"""Log probabilities as both APIs give them, one entry for each token. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.api.base import Reply
from harness.golden.distance import Entry
from harness.parsing.events import objects
from harness.parsing.rollout import ParsedExchange


def raw_entries(turn: ParsedExchange, reply: Reply) -> list[Mapping[str, Any]]:
    """One object for each token of the answer, as the API has them."""
    if turn.api == "chat":
        choices = objects(reply.raw.get("choices"))
        logprobs = choices[0].get("logprobs") if choices else None
        return objects(logprobs.get("content")) if isinstance(logprobs, dict) else []
    messages = [i for i in objects(reply.raw.get("output")) if i.get("type") == "message"]
    parts = [part for item in messages for part in objects(item.get("content"))]
    return [entry for part in parts for entry in objects(part.get("logprobs"))]


def entries_of(turn: ParsedExchange, reply: Reply) -> list[Entry]:
    """The same by bytes, with what can be a log probability."""
    return [_entry(each) for each in raw_entries(turn, reply)]


def entry_bytes(entry: Mapping[str, Any]) -> bytes:
    """The bytes of one token: as they are given, or those of its text."""
    raw = entry.get("bytes")
    given = isinstance(raw, list) and all(type(byte) is int and 0 <= byte < 256 for byte in raw)
    return bytes(raw or ()) if given else str(entry.get("token")).encode()


def _entry(entry: Mapping[str, Any]) -> Entry:
    listed = [entry, *objects(entry.get("top_logprobs"))]
    values = {
        entry_bytes(each): float(value)
        for each in listed
        if isinstance(value := each.get("logprob"), int | float)
    }
    return Entry(entry_bytes(entry), values)
