"""One attempt at one sample: ask, run the canned tools, go on until the model answers."""

from __future__ import annotations

from harness.dialects.base import Dialect, Settings
from harness.records import Rollout
from harness.samples import Attempt
from harness.transport.base import Transport


async def rollout(
    attempt: Attempt,
    *,
    transport: Transport,
    dialect: Dialect,
    settings: Settings,
    max_turns: int,
) -> Rollout:
    """Carry out one attempt. Nothing a provider does raises: `Rollout.end` says how it ended.

    Ends "answered" with the first reply that calls no tool or was cut off by a token limit, and
    "max_turns" when the model still calls tools after `max_turns` requests. A tool nobody offered
    gets an error text as its result.
    """
    raise NotImplementedError
