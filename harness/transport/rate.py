"""Requests and tokens a minute, kept below what the provider allows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from harness.records.rollouts import Exchange, Key
from harness.transport.base import Transport

BURST_SECONDS = 5
CHARACTERS_PER_TOKEN = 4
USAGE_WITHIN_LAST_PARTS = 4


class Bucket:
    """A token bucket that may run into debt: who finds it empty waits until it is paid off."""

    def __init__(self, per_minute: int) -> None:
        """Start full, with what flows in within a few seconds."""
        self._rate = per_minute / 60
        self._size = max(1.0, self._rate * BURST_SECONDS)
        self._level = self._size
        self._filled_at = 0.0

    def take(self, amount: float, now: float) -> float:
        """Take `amount` and return the seconds to wait until it was there to take."""
        if self._filled_at:
            self._level = min(self._size, self._level + (now - self._filled_at) * self._rate)
        self._filled_at = now
        self._level -= amount
        return max(0.0, -self._level / self._rate)


class RateLimitedTransport:
    """Holds requests back so that a minute has at most `rpm` of them, using `tpm` tokens.

    What a request costs in tokens is only known afterwards; it delays those that follow.
    """

    def __init__(self, inner: Transport, *, rpm: int | None, tpm: int | None) -> None:
        """Send through `inner`."""
        self._inner = inner
        self._requests = Bucket(rpm) if rpm else None
        self._tokens = Bucket(tpm) if tpm else None

    async def send(
        self, path: str, body: Mapping[str, Any] | str | None = None, *, key: Key = "right"
    ) -> Exchange:
        """See `Transport`."""
        now = asyncio.get_running_loop().time
        wait = max(
            self._requests.take(1, now()) if self._requests else 0,
            self._tokens.take(0, now()) if self._tokens else 0,
        )
        if wait > 0:
            await asyncio.sleep(wait)
        exchange = await self._inner.send(path, body, key=key)
        if self._tokens:
            self._tokens.take(tokens_used(exchange), now())
        return exchange


def tokens_used(exchange: Exchange) -> int:
    """Tokens the provider reports for the exchange, or a guess from the length of the request."""
    response = exchange.response
    if response is not None:
        texts = [part.raw.rpartition("data:")[2] for part in response.parts]
        for text in [*texts[-USAGE_WITHIN_LAST_PARTS:], response.body or ""]:
            reported = _reported(text) if '"total_tokens"' in text else None
            if reported is not None:
                return reported
    return len(orjson.dumps(exchange.request.body)) // CHARACTERS_PER_TOKEN


def _reported(text: str) -> int | None:
    try:
        content = orjson.loads(text)
        usage = content.get("usage") or content["response"]["usage"]
        return int(usage["total_tokens"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
