"""What OpenAI's Python SDK, as it is installed, makes of a recorded reply.

The recorded bytes go through the package by a transport that replays them: no network, no clock.
"""

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2

from harness.api.parsed_rollout import ParsedExchange
from harness.records.rollouts import Response

if TYPE_CHECKING:  # the package takes a second to import
    from openai import OpenAI
    from openai.resources.chat import Completions
    from openai.resources.responses import Responses
    from openai.types.chat import ChatCompletionMessage
    from openai.types.responses import Response as Created
    from openai.types.responses import ResponseOutputItem

_LONGEST = 80
"""Characters of an exception that are shown."""
_ENCODED = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers of the bytes on the wire; the recorded text is decoded."""


class _Got(NamedTuple):
    """What a program got: a text, and of each call its id and arguments."""

    text: str
    calls: list[tuple[object, object]]


class _Replay(httpx2.BaseTransport):
    """Answers every request with the recorded response."""

    response: Response

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        recorded = self.response
        headers = {k: v for k, v in recorded.headers.items() if k.lower() not in _ENCODED}
        text = recorded.text + ("\n\n" if recorded.parts else "")
        return httpx2.Response(recorded.status, headers=headers, content=text.encode())


def reads(exchange: ParsedExchange, *, helper: bool) -> str | None:
    """Return why a program gets nothing usable from a response; None if it does.

    Usable is what the reply has by our own, lenient reading: a text arrives, a call has an id and
    arguments that are JSON. A `helper` is `stream()` or `parse()`; otherwise, it is `create()`.
    """
    replay, client = _client()
    assert exchange.recorded.response is not None
    replay.response = exchange.recorded.response
    api: Any = client.chat.completions if exchange.api == "chat" else client.responses
    streaming = exchange.request.stream
    prompt: Mapping[str, Any] = {"messages": []} if exchange.api == "chat" else {"input": ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydantic warns of unexpected types
            got = _READERS[exchange.api, streaming, helper](api, {"model": "m", **prompt})
    except Exception as error:  # noqa: BLE001 (whatever it raises, a program gets)
        said = " ".join(str(error).split())[:_LONGEST]
        return f"{type(error).__name__}: {said}" if said else type(error).__name__
    return _unusable(got, exchange)


def _unusable(got: _Got, exchange: ParsedExchange) -> str | None:
    reply = exchange.reply
    for call_id, arguments in got.calls:
        if not (isinstance(call_id, str) and call_id):
            return "a call has no id, so its result cannot be sent"
        if not isinstance(arguments, str):
            return f"the arguments of a call are {type(arguments).__name__}, and not a string"
    if reply is None:
        whole = all(_is_json(str(arguments)) for _, arguments in got.calls)
        arrives = None if got.text or got.calls else "nothing arrives"
        return arrives if whole else "the arguments of a call are no JSON"
    if reply.text and not got.text:
        return "the text does not arrive"
    if len(got.calls) < len(reply.calls):
        return "a call does not arrive"
    pairs = zip(got.calls, reply.calls, strict=False)
    broken = any(_is_json(call.arguments) and not _is_json(str(said)) for (_, said), call in pairs)
    return "the arguments of a call are no JSON" if broken else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@cache
def _client() -> "tuple[_Replay, OpenAI]":
    """Return the transport and the one client of the process, because each takes 8 ms to make."""
    from openai import OpenAI

    replay = _Replay()
    http = httpx2.Client(transport=replay)
    return replay, OpenAI(
        api_key="none", base_url="http://replay.invalid/v1", max_retries=0, http_client=http
    )


def _chat(message: "ChatCompletionMessage") -> _Got:
    calls = [call for call in message.tool_calls or () if call.type != "custom"]
    return _Got(message.content or "", [(call.id, call.function.arguments) for call in calls])


def _responses(reply: "Created") -> _Got:
    return _Got(reply.output_text, _items(reply.output))


def _items(output: "Iterable[ResponseOutputItem]") -> list[tuple[object, object]]:
    return [(item.call_id, item.arguments) for item in output if item.type == "function_call"]


def _chat_stream(api: "Completions", body: Mapping[str, Any]) -> _Got:
    """As OpenAI's guide on function calling reads a stream."""
    text, calls = "", {}
    for chunk in api.create(**body, stream=True):
        delta = chunk.choices[0].delta if chunk.choices else None
        text += (delta and delta.content) or ""
        for call in (delta and delta.tool_calls) or ():
            if call.index not in calls:
                calls[call.index] = call
            else:
                calls[call.index].function.arguments += call.function.arguments
    return _Got(text, [(call.id, call.function.arguments) for call in calls.values()])


def _responses_stream(api: "Responses", body: Mapping[str, Any]) -> _Got:
    """As OpenAI's guide on function calling reads a stream; a failure is an event."""
    text, calls = "", {}
    for event in api.create(**body, stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.output_item.added" and event.item.type == "function_call":
            calls[event.output_index] = event.item
        elif event.type == "response.function_call_arguments.delta":
            calls[event.output_index].arguments += event.delta
        elif event.type in ("error", "response.failed"):
            raise ValueError(event.type)
    return _Got(text, _items(calls.values()))


def _chat_helper(api: "Completions", body: Mapping[str, Any]) -> _Got:
    with api.stream(**body) as stream:
        return _chat(stream.get_final_completion().choices[0].message)


def _responses_helper(api: "Responses", body: Mapping[str, Any]) -> _Got:
    with api.stream(**body) as stream:
        return _responses(stream.get_final_response())


_READERS: Mapping[tuple[str, bool, bool], Callable[[Any, Mapping[str, Any]], _Got]] = {
    ("chat", False, False): lambda api, body: _chat(api.create(**body).choices[0].message),
    ("chat", False, True): lambda api, body: _chat(api.parse(**body).choices[0].message),
    ("chat", True, False): _chat_stream,
    ("chat", True, True): _chat_helper,
    ("responses", False, False): lambda api, body: _responses(api.create(**body)),
    ("responses", False, True): lambda api, body: _responses(api.parse(**body)),
    ("responses", True, False): _responses_stream,
    ("responses", True, True): _responses_helper,
}
