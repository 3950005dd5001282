"""Parsers that fail, and one that is shared."""

from __future__ import annotations

from collections.abc import Iterable

from harmony.parse import Event, HarmonyParser, Started
from reference_engine.faults.base import Family
from reference_engine.faults.parsers import Filtered, Shared
from reference_engine.faults.seams import PARSER
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import Order

family = Family("parsing")

_HEADER_ERROR = "unexpected tokens remaining in message header: ['<|constrain|>json']"
_START_ERROR = "Unexpected token 12606 while expecting start token 200006"


def _failing(parser: HarmonyParser, status: int, message: str) -> HarmonyParser:
    """A parser that fails at the first header after the chain of thought."""

    def change(event: Event) -> Iterable[Event]:
        if isinstance(event, Started) and event.kind != "reasoning":
            raise ApiError(status, message)
        return [event]

    return Filtered(parser, change)


@family.fault(
    PARSER,
    "header-crash",
    "The parser fails at a message header, and the request with status 500.",
    source="vllm#51977",
    detectors=("request.failed", "stream.error_event"),
)
def _header_crash(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return _failing(parser, 500, _HEADER_ERROR)


@family.fault(
    PARSER,
    "header-crash-blames-client",
    "The parser fails at a message header, and the request with status 400.",
    source="sglang PR#35299",
    detectors=("request.refused", "stream.error_event"),
)
def _header_crash_blames_client(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return _failing(parser, 400, _HEADER_ERROR)


@family.fault(
    PARSER,
    "start-token-crash",
    "The parser does not find a start token between messages, and the request fails with 503.",
    source="vllm#46464",
    detectors=("request.failed", "stream.error_event"),
)
def _start_token_crash(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return _failing(parser, 503, _START_ERROR)


@family.fault(
    PARSER,
    "parser-shared",
    "Requests that are served at the same time share one parser.",
    source="sglang#8914",
    detectors=(
        "load",
        "chat.reasoning.missing",
        "request.refused",
        "responses.stream.items",
        "text.garbled",
    ),
)
def _parser_shared(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return Shared(parser)
