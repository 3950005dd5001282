"""Faults of Responses over WebSocket, where the connection has the state and the order."""

from collections.abc import Callable

from reference_engine.faults import hooks
from reference_engine.faults.http import Json
from reference_engine.faults.layers.history import previous_response_ignored

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})

hooks.REQUEST.when(hooks.of_sockets).faults(socket_state_lost=previous_response_ignored)
hooks.REQUEST.when(hooks.of_sockets).faults(
    socket_generates_always=lambda body, _: body.pop("generate", None)
)
hooks.RESPONSE.faults(socket_state_lost=hooks.echo("previous_response_id"))


@hooks.SOCKET
async def socket_events_reordered(events: hooks.SocketEvents, _: object) -> hooks.SocketEvents:
    held: Json | None = None
    async for event in events:
        if held is None and event is not None and event["type"].endswith("_text.done"):
            held = event
            continue
        if held is not None and event is not None:
            numbers = held["sequence_number"], event["sequence_number"]
            yield event | {"sequence_number": numbers[0]}
            yield held | {"sequence_number": numbers[1]}
            held = None
        else:
            yield event


@hooks.SOCKET
async def socket_responses_mixed(
    events: hooks.SocketEvents, waiting: Callable[[], int]
) -> hooks.SocketEvents:

    held: list[Json] = []
    ended = False
    async for event in events:
        if event is not None and not ended and (held or waiting() > 1):
            held.append(event)
            ended = event["type"] in _ENDS
            continue
        if held:
            yield held.pop(0)
        if event is not None and ended and event["type"] in _ENDS:
            for each in held:
                yield each
            held, ended = [], False
        yield event


@hooks.SOCKET
async def socket_errors_close(events: hooks.SocketEvents, _: object) -> hooks.SocketEvents:
    async for event in events:
        yield None if event is None or event["type"] == "error" else event
