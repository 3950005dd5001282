"""Requests that name an earlier response, with the conversation that it stands for. No I/O."""

from collections.abc import Mapping
from typing import Any

from harness.api.fields import nested, objects
from harness.api.parsed_rollout import ParsedExchange

Items = list[dict[str, Any]]
_OF_STORE = ("id", "status", "created_by")  # members of stored items that are not of the prompt


class History:
    """The recorded conversations of Responses, by the ids of responses and conversations."""

    def __init__(self) -> None:
        self._by_id: dict[str, Items] = {}

    def expanded(self, exchange: ParsedExchange) -> Mapping[str, Any] | None:
        """Return the body of a request with its whole conversation; None if that is not recorded.

        Exchanges must come in the order in which they were sent: the conversation is kept for
        later ones.
        """
        body = dict(exchange.recorded.request.body or {})
        if exchange.api != "responses":
            return body
        named = [
            body.pop("previous_response_id", None),
            _conversation(body.pop("conversation", None)),
        ]
        names = [name for name in named if isinstance(name, str)]
        earlier: Items | None = []
        if names:
            earlier = next((self._by_id[name] for name in names if name in self._by_id), None)
        given = body.get("input")
        own = [{"role": "user", "content": given}] if isinstance(given, str) else objects(given)
        if earlier is not None and exchange.reply is not None:
            output = [_sent_back(item) for item in objects(exchange.reply.raw.get("output"))]
            whole = [*earlier, *own, *output]
            for name in (exchange.reply.raw.get("id"), named[1]):
                if isinstance(name, str):
                    self._by_id[name] = whole
        if earlier is None:
            return None
        return {**body, "input": [*earlier, *own]} if earlier else body


def _conversation(given: object) -> object:
    return nested(given, "id") if isinstance(given, dict) else given


def _sent_back(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in _OF_STORE}
