"""The entries with logprobs that a reply has for its tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.api import DIALECTS
from harness.api.fields import objects
from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange


def logprob_entries(exchange: ParsedExchange, reply: Reply) -> Sequence[Mapping[str, Any]]:
    """The entry of each token of the answer; Responses streams may have them in deltas only."""
    events = (
        event for event in exchange.known_events if event.type == "response.output_text.delta"
    )
    streamed = (objects((event.data or {}).get("logprobs")) for event in events)
    whole = DIALECTS[exchange.api].logprobs(reply.raw)
    return whole or [entry for entries in streamed for entry in entries]


def logprob_path(exchange: ParsedExchange) -> str:
    """The JSON path of the logprobs in a reply."""
    return "$.choices[0].logprobs.content" if exchange.api == "chat" else "$.output[*].content[*]"


def entry_bytes(entry: Mapping[str, Any]) -> bytes:
    """Return the bytes of one token: the given ones, or those of its text."""
    raw = entry.get("bytes")
    given = isinstance(raw, list) and all(type(byte) is int and 0 <= byte < 256 for byte in raw)
    return bytes(raw or ()) if given else str(entry.get("token")).encode()
