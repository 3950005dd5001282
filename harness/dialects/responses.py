"""Responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.dialects.base import Reply, Settings, Tool
from harness.records import Api, Exchange


class ResponsesDialect:
    """Responses."""

    api: Api = "responses"
    path = "/responses"

    def first_request(
        self,
        prompt: str,
        *,
        instructions: str | None,
        tools: Sequence[Tool],
        streaming: bool,
        settings: Settings,
    ) -> dict[str, Any]:
        """The body of the first request of a rollout."""
        raise NotImplementedError

    def next_request(
        self, body: Mapping[str, Any], reply: Reply, results: Mapping[str, str]
    ) -> dict[str, Any]:
        """The body after `reply`: its CoT and calls sent back, then `results` by call id."""
        raise NotImplementedError

    def read(self, exchange: Exchange) -> Reply:
        """Read a finished exchange. Raises UnreadableReplyError."""
        raise NotImplementedError
