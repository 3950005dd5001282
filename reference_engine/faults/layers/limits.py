"""Faults in token limits, stop strings and long prompts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from harmony.conversation import Conversation, ConversationItem, User
from harmony.parse import Delta, Ended, Event, HarmonyParser, Kind, Started
from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import GENERATION, ITEM, PARSER, PAYLOAD, PROMPT, REPLY, REQUEST
from reference_engine.faults.http import ClientRequest, Json, Reply, choices, response_of
from reference_engine.faults.parsers import FilteredParser
from reference_engine.server.errors import ApiError
from reference_engine.server.generation import GenerationRequest

group = FaultGroup("limits")

_LONGEST_PROMPT = 1024
_KEPT_AT_START = 256
_LONGEST_CONTEXT = 4000
_OPENING = 3
"""Tokens that end a prompt: those of `<|end|><|start|>assistant`."""
_LONGEST_TEXT = 12_000
_HIDDEN_LIMIT = 16
_LOW_LIMIT = 24


def _truncated(data: Json) -> bool:
    finished = [choice.get("finish_reason") for choice in choices(data)]
    return "length" in finished or response_of(data).get("status") == "incomplete"


@group.fault(PAYLOAD, "finish.limit", source="vllm#24184")
def truncation_as_completed(data: Json, _: ClientRequest) -> Json:
    """A truncated response claims to be complete."""
    for choice in choices(data):
        if choice.get("finish_reason") == "length":
            choice["finish_reason"] = "stop"
    response = response_of(data)
    if response.get("status") == "incomplete":
        response |= {"status": "completed", "incomplete_details": None}
    if data.get("type") == "response.incomplete":
        data["type"] = "response.completed"
    return data


@group.fault(PAYLOAD, "finish.limit", "reply.empty", "usage.zero", source="vllm PR#24561")
def truncated_output_lost(data: Json, request: ClientRequest) -> Json:
    """A truncated response is empty, has no token counts and claims to be complete."""
    if request.api == "responses" and _truncated(data):
        response = response_of(data)
        data = truncation_as_completed(data, request)
        response["output"] = []
        if usage := response.get("usage"):
            usage |= {"output_tokens": 0, "input_tokens": 0, "total_tokens": 0}
    return data


@group.fault(REPLY, "request.refused", source="sglang#10014")
def truncation_crashes(reply: Reply, _: ClientRequest) -> Reply:
    """A truncated non-streaming response fails with status 400."""
    if reply.status != 200 or not _truncated(reply.json):
        return reply
    error = ApiError(400, "1 validation error for ResponseOutputText: text: Field required")
    return replace(reply, status=400, body=orjson.dumps(error.body()))


@group.fault(PAYLOAD, "responses.status")
def incomplete_details_missing(data: Json, _: ClientRequest) -> Json:
    """An incomplete response does not give the reason."""
    response = response_of(data)
    if response.get("status") == "incomplete":
        response["incomplete_details"] = None
    return data


@group.fault(GENERATION, "usage.limit")
def limit_ignored(request: GenerationRequest) -> GenerationRequest:
    """The token limit of a request has no effect."""
    return replace(request, sampling=replace(request.sampling, max_tokens=None))


@group.fault(GENERATION, "limits.default")
def limit_hidden(request: GenerationRequest) -> GenerationRequest:
    """A request without a limit is truncated after 16 tokens."""
    limit = request.sampling.max_tokens or _HIDDEN_LIMIT
    return replace(request, sampling=replace(request.sampling, max_tokens=limit))


@group.fault(GENERATION, "finish.early")
def limit_lowered(request: GenerationRequest) -> GenerationRequest:
    """A reply is truncated after 24 tokens, even if the request allows more."""
    limit = min(request.sampling.max_tokens or _LOW_LIMIT, _LOW_LIMIT)
    return replace(request, sampling=replace(request.sampling, max_tokens=limit))


@group.fault(PROMPT, "prompt.long")
def prompt_cut_in_the_middle(tokens: list[int], _: Conversation) -> list[int]:
    """The middle of a prompt above 1,024 tokens is silently removed."""
    if len(tokens) <= _LONGEST_PROMPT:
        return tokens
    return tokens[:_KEPT_AT_START] + tokens[_KEPT_AT_START - _LONGEST_PROMPT :]


@group.fault(PROMPT, "long.tokens")
def prompt_cut_at_the_front(tokens: list[int], _: Conversation) -> list[int]:
    """The beginning of a prompt above 4,000 tokens is silently removed."""
    return tokens[-_LONGEST_CONTEXT:]


@group.fault(PROMPT, "long.tokens")
def prompt_cut_at_the_end(tokens: list[int], _: Conversation) -> list[int]:
    """The end of a prompt above 4,000 tokens is silently removed."""
    if len(tokens) <= _LONGEST_CONTEXT:
        return tokens
    return tokens[:_LONGEST_CONTEXT] + tokens[-_OPENING:]


@group.fault(ITEM, "errors.overflow")
def overflow_cut_silently(item: ConversationItem) -> ConversationItem:
    """A text that may exceed the context is truncated instead of refused."""
    return User(item.text[:_LONGEST_TEXT]) if isinstance(item, User) else item


@group.fault(GENERATION, "limits.stop", "stop.kept")
def stop_ignored(request: GenerationRequest) -> GenerationRequest:
    """Stop strings have no effect."""
    return replace(request, stop=())


@group.fault(PARSER, "limits.stop", "reply.empty", source="vllm#38499")
def stop_acts_on_reasoning(parser: HarmonyParser, request: GenerationRequest) -> HarmonyParser:
    """A stop string in the chain of thought ends the response before its answer."""
    return _stopped(parser, "reasoning", request.stop, keep=False)


@dataclass(frozen=True)
class _KeepingStop(GenerationRequest):
    """A request whose stop strings end the answer but stay in it."""

    kept: tuple[str, ...] = ()


@group.fault(GENERATION, "limits.stop", "stop.kept", source="vllm#52599")
def stop_string_kept(request: GenerationRequest) -> GenerationRequest:
    """The answer includes the stop string that ended it."""
    return _KeepingStop(request.conversation, request.sampling, request.policy, (), request.stop)


@group.also("stop-string-kept", PARSER)
def _stop_after_string(parser: HarmonyParser, request: GenerationRequest) -> HarmonyParser:
    strings = request.kept if isinstance(request, _KeepingStop) else ()
    return _stopped(parser, "answer", strings, keep=True)


def _stopped(
    parser: HarmonyParser, kind: Kind, strings: tuple[str, ...], *, keep: bool
) -> HarmonyParser:
    """A parser without output after the first message of this kind with one of the strings."""
    text = ""
    stopped = False

    def change(event: Event) -> Iterable[Event]:
        nonlocal text, stopped
        if stopped:
            return
        match event:
            case Started():
                text = ""
            case Delta(found, more) if found == kind:
                before, text = len(text), text + more
                ends = [
                    at + len(string) * keep for string in strings if (at := text.find(string)) >= 0
                ]
                if ends:
                    stopped = True
                    if shown := text[before : min(ends)]:
                        yield Delta(kind, shown)
                    yield Ended(kind)
                    return
        yield event

    return FilteredParser(parser, change)


@group.fault(REQUEST, "usage.limit")
def max_completion_tokens_ignored(body: Json, _: ClientRequest) -> Json:
    """Chat requests can set the limit with max_tokens only, not with max_completion_tokens."""
    return {key: value for key, value in body.items() if key != "max_completion_tokens"}
