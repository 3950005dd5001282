"""How programs read replies with OpenAI's Python SDK, as its guide on function calling does.

`benchmarks/real/clients/sdks.py` reads with it, too, so it imports nothing but the SDK's types.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # the package takes a second to import
    from openai.resources.chat import Completions
    from openai.resources.responses import Responses
    from openai.types.chat import ChatCompletionMessage
    from openai.types.responses import Response, ResponseOutputItem


class Called(NamedTuple):
    """A call, as a program got it; a broken reply has anything here."""

    id: Any
    name: Any
    arguments: Any


class Got(NamedTuple):
    """What a program got: a text, and calls."""

    text: str
    calls: list[Called]


def _chat(message: "ChatCompletionMessage") -> Got:
    return Got(message.content or "", _functions(message.tool_calls or ()))


def _functions(calls: Iterable[Any]) -> list[Called]:
    of_functions = (call for call in calls if call.type != "custom")
    return [Called(call.id, call.function.name, call.function.arguments) for call in of_functions]


def _responses(reply: "Response") -> Got:
    return Got(reply.output_text, _items(reply.output))


def _items(output: "Iterable[ResponseOutputItem]") -> list[Called]:
    calls = (item for item in output if item.type == "function_call")
    return [Called(call.call_id, call.name, call.arguments) for call in calls]


def _chat_stream(api: "Completions", body: Mapping[str, Any]) -> Got:
    text, calls = "", {}
    for chunk in api.create(**body, stream=True):
        delta = chunk.choices[0].delta if chunk.choices else None
        text += (delta and delta.content) or ""
        for call in (delta and delta.tool_calls) or ():
            if call.index not in calls:
                calls[call.index] = call
            else:
                calls[call.index].function.arguments += call.function.arguments
    return Got(text, _functions(calls.values()))


def _responses_stream(api: "Responses", body: Mapping[str, Any]) -> Got:
    """A failure is an event, which a program has to look for."""
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
    return Got(text, _items(calls.values()))


def _chat_helper(api: "Completions", body: Mapping[str, Any]) -> Got:
    with api.stream(**body) as stream:
        return _chat(stream.get_final_completion().choices[0].message)


def _responses_helper(api: "Responses", body: Mapping[str, Any]) -> Got:
    with api.stream(**body) as stream:
        return _responses(stream.get_final_response())


READERS: Mapping[tuple[str, bool, bool], Callable[[Any, Mapping[str, Any]], Got]] = {
    ("chat", False, False): lambda api, body: _chat(api.create(**body).choices[0].message),
    ("chat", False, True): lambda api, body: _chat(api.parse(**body).choices[0].message),
    ("chat", True, False): _chat_stream,
    ("chat", True, True): _chat_helper,
    ("responses", False, False): lambda api, body: _responses(api.create(**body)),
    ("responses", False, True): lambda api, body: _responses(api.parse(**body)),
    ("responses", True, False): _responses_stream,
    ("responses", True, True): _responses_helper,
}
"""By API, whether it streams, and whether by a helper (`stream()`, `parse()`)."""
