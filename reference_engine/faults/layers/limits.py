"""Faults in token limits, stop strings and long prompts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import orjson

from harmony.conversation import User
from harmony.parse import Delta, Ended, Event, HarmonyParser, Kind, Started
from reference_engine.faults import hooks
from reference_engine.faults.http import (
    ClientRequest,
    Json,
    Reply,
    SseStream,
    chat_messages,
    choices,
    response_of,
)
from reference_engine.server.api_error import ApiError
from reference_engine.server.generation import GenerationRequest

_LONGEST_PROMPT, _KEPT_AT_START = 1024, 256
_LONGEST_CONTEXT = 4000
_LONGEST_REPLY = 2048
_STREAMED_OF_STOP = 5  # characters
_OPENING = 3  # tokens that end a prompt: those of `<|end|><|start|>assistant`

hooks.LIMIT.faults(
    limit_ignored=lambda _: None,
    limit_hidden=lambda limit: limit or 16,
    limit_hidden_of_long_replies=lambda limit: limit or _LONGEST_REPLY,
    limit_lowered_of_long_replies=lambda limit: min(limit or _LONGEST_REPLY, _LONGEST_REPLY),
)
hooks.PROMPT.faults(
    prompt_cut_in_the_middle=lambda tokens, _: (
        tokens[:_KEPT_AT_START] + tokens[_KEPT_AT_START - _LONGEST_PROMPT :]
        if len(tokens) > _LONGEST_PROMPT
        else tokens
    ),
    prompt_cut_at_the_front=lambda tokens, _: tokens[-_LONGEST_CONTEXT:],
    prompt_cut_at_the_end=lambda tokens, _: (
        tokens[:_LONGEST_CONTEXT] + tokens[-_OPENING:] if len(tokens) > _LONGEST_CONTEXT else tokens
    ),
)
hooks.item_text(User).faults(overflow_cut_silently=lambda text: text[:12_000])
hooks.REQUEST.faults(
    max_completion_tokens_ignored=lambda body, _: body.pop("max_completion_tokens", None)
)
hooks.REQUEST.when(hooks.of_streams).faults(
    stop_ignored_in_streams=lambda body, _: body.update(stop=None)
)
hooks.GENERATION.faults(
    only_first_stop=lambda request: replace(request, stop=request.stop[:1]),
    stop_string_kept=lambda r: _KeepingStop(
        r.conversation, r.sampling, r.policy, field=r.field, kept=r.stop
    ),
)
hooks.PARSER.faults(
    stop_acts_on_reasoning=lambda parser, request: _stopped(
        parser, "reasoning", request.stop, keep=False
    ),
    stop_string_kept=lambda parser, request: _stopped(
        parser, "answer", request.kept if isinstance(request, _KeepingStop) else (), keep=True
    ),
)


def _truncated(data: Json) -> bool:
    finished = [choice.get("finish_reason") for choice in choices(data)]
    return "length" in finished or response_of(data).get("status") == "incomplete"


@hooks.PAYLOAD
def truncation_as_completed(data: Json, _: ClientRequest) -> None:
    for choice in choices(data):
        if choice.get("finish_reason") == "length":
            choice["finish_reason"] = "stop"
    response = response_of(data)
    if response.get("status") == "incomplete":
        response |= {"status": "completed", "incomplete_details": None}
    if data.get("type") == "response.incomplete":
        data["type"] = "response.completed"


@hooks.PAYLOAD.when(hooks.of_responses)
def truncated_output_lost(data: Json, request: ClientRequest) -> None:
    if _truncated(data):
        truncation_as_completed(data, request)
        response = response_of(data)
        response["output"] = []
        if usage := response.get("usage"):
            usage |= {"output_tokens": 0, "input_tokens": 0, "total_tokens": 0}


@hooks.PAYLOAD
def truncated_text_lost(data: Json, _: ClientRequest) -> None:
    if data.get("object") in ("chat.completion", "response") and _truncated(data):
        for message in chat_messages(data):
            message |= {"content": None, "reasoning": None}
        data |= {"output": []} if "output" in data else {}


@hooks.PAYLOAD
def truncated_cot_as_answer(data: Json, _: ClientRequest) -> None:
    if data.get("object") == "chat.completion" and _truncated(data):
        for message in chat_messages(data):
            if not message.get("content"):
                message |= {"content": message.get("reasoning"), "reasoning": None}


@hooks.REPLY
def truncation_crashes(reply: Reply, _: ClientRequest) -> Reply:
    if reply.status != 200 or not _truncated(reply.json):
        return reply
    error = ApiError(400, "1 validation error for ResponseOutputText: text: Field required")
    return replace(reply, status=400, body=orjson.dumps(error.body()))


@hooks.RESPONSE
def incomplete_details_missing(response: Json, _: ClientRequest) -> None:
    if response.get("status") == "incomplete":
        response["incomplete_details"] = None


@dataclass(frozen=True)
class _KeepingStop(GenerationRequest):
    """A request whose stop strings end the answer but stay in it."""

    kept: tuple[str, ...] = ()


def _stopped(
    parser: HarmonyParser, kind: Kind, strings: tuple[str, ...], *, keep: bool
) -> HarmonyParser:
    """Return a parser that is silent after the first message of a kind with one of the strings."""
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

    return hooks.FilteredParser(parser, change)


@hooks.STREAM
async def stop_beginning_streamed(events: SseStream, request: ClientRequest) -> SseStream:
    strings, text = request.body.get("stop") or [""], ""
    async for event in events:
        text += event.delta.get("content") or ""
        # Unlike an answer that ends by itself, one that a stop string ends has no full stop.
        if event.choice.get("finish_reason") and text.strip() and text.rstrip()[-1].isalnum():
            beginning = strings[0][:_STREAMED_OF_STOP]
            yield event.with_choice(delta={"content": beginning}, finish_reason=None)
        yield event
