"""Allowed variations: no check may report an error for them. First inputs, then outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harmony.conversation import Conversation
from harmony.parse import Event, HarmonyParser
from reference_engine.faults.base import FaultGroup, Hook
from reference_engine.faults.hooks import (
    CHAT_MESSAGE,
    CHOICE,
    CONVERSATION,
    LOGITS,
    PARSED,
    PARSER,
    PAYLOAD,
    REQUEST,
    SSE_EVENT,
    STREAM,
    USAGE,
    PromptChange,
    message_text,
)
from reference_engine.faults.http import (
    ClientRequest,
    Json,
    SseEvent,
    SseStream,
    chat_messages,
    choices,
    output_items,
)
from reference_engine.faults.layers.parsing import dropped, recast
from reference_engine.faults.parsers import FilteredParser
from reference_engine.faults.prompts import Message, edit_messages
from reference_engine.server.errors import invalid
from reference_engine.server.generation import GenerationRequest

inputs = FaultGroup("rendering")
group = FaultGroup("streaming")

_CONSTRAIN = " <|constrain|>json"
_NOISE = 0.005
_PROXIES = "replies of vLLM and SGLang"
_OLLAMA = "ollama PR#17485"


def _each_call_header(change: Callable[[str], str]) -> PromptChange:
    def edit(message: Message) -> list[Message]:
        call = message.header.startswith("assistant to=functions.")
        return [replace(message, header=change(message.header)) if call else message]

    return lambda tokens, _: edit_messages(tokens, edit)


CALL_HEADER = Hook("prompt", _each_call_header)
"""The header of each earlier call in the prompt."""


@inputs.variation(CONVERSATION, source="openai/harmony docs/format.md")
def date_line(conversation: Conversation) -> Conversation:
    """The system message gives the current date."""
    return replace(conversation, current_date="2026-11-20")


@inputs.variation(message_text("developer"), source="Hugging Face chat template")
def blank_line_after_instructions(text: str) -> str:
    """A blank line follows the instructions, as in the Hugging Face template."""
    if not text.startswith("# Instructions"):
        return text
    instructions, found, tools = text.partition("\n\n# Tools\n\n")
    return f"{instructions}\n\n" + (f"\n\n# Tools\n\n{tools}" if found else "")


@inputs.variation(message_text("developer"), source="Ollama's template of gpt-oss")
def blank_line_before_instructions(text: str) -> str:
    """A blank line precedes instructions without tools, as in Ollama's template."""
    return text if "# Tools" in text else f"\n\n{text}"


@inputs.variation(CALL_HEADER, source="openai/harmony#91")
def calls_without_constrain(header: str) -> str:
    """Earlier calls are rendered without a content type."""
    return header.replace(_CONSTRAIN, "")


@inputs.variation(CALL_HEADER, source="vllm PR#28729")
def calls_with_plain_json(header: str) -> str:
    """Earlier calls are rendered with the content type json, without <|constrain|>."""
    return header.replace(_CONSTRAIN, " json")


@inputs.variation(CALL_HEADER, source="openai/harmony docs/format.md")
def recipient_in_channel(header: str) -> str:
    """The recipient of earlier calls follows the channel instead of the role."""
    role, _, channel = header.partition("<|channel|>")
    recipient = role.removeprefix("assistant")
    return f"assistant<|channel|>{channel.replace('commentary', 'commentary' + recipient, 1)}"


@inputs.variation(REQUEST, source="BerriAI/litellm PR#38263")
def effort_clamped(body: Json, _: ClientRequest) -> Json:
    """Efforts that gpt-oss does not support are replaced by the nearest supported effort."""
    nearest = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}
    if body.get("reasoning_effort") in nearest:
        body = body | {"reasoning_effort": nearest[body["reasoning_effort"]]}
    reasoning = body.get("reasoning") or {}
    if reasoning.get("effort") in nearest:
        body = body | {"reasoning": reasoning | {"effort": nearest[reasoning["effort"]]}}
    return body


@inputs.variation(REQUEST, source="openai/gpt-oss responses_api")
def low_effort_by_default(body: Json, request: ClientRequest) -> Json:
    """A request without an effort runs with low effort."""
    reasoning = body.get("reasoning") or {}
    if request.api == "responses":
        return body | {"reasoning": {"effort": "low"} | reasoning}
    named = body.get("reasoning_effort") or reasoning.get("effort")
    return body if named else body | {"reasoning_effort": "low"}


@inputs.variation(REQUEST, source="sglang PR#34127")
def logprobs_refused(body: Json, _: ClientRequest) -> Json:
    """The server refuses a request for logprobs with status 400 and a clear message."""
    included = "message.output_text.logprobs" in (body.get("include") or ())
    if body.get("logprobs") or body.get("top_logprobs") or included:
        raise invalid("logprobs", "logprobs are not supported by this server.", "unsupported")
    return body


@inputs.variation(REQUEST, source="vllm PR#37433")
def forced_choice_refused(body: Json, request: ClientRequest) -> Json:
    """The server refuses any tool_choice except auto and none with status 400."""
    if request.forced_choice:
        message = "Only 'auto' and 'none' are supported for tool_choice."
        raise invalid("tool_choice", message, "unsupported")
    return body


@inputs.variation(LOGITS, source="rounding that depends on the batch")
def numeric_noise(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    """Logits differ by as much as another order of additions can cause."""
    return logits + torch.randn_like(logits, dtype=torch.float32).to(logits.dtype) * _NOISE


@group.variation(CHAT_MESSAGE, source="openai/codex PR#3722")
def reasoning_content(message: Json, _: ClientRequest) -> None:
    """Chat responses return the chain of thought in reasoning_content."""
    if "reasoning" in message:
        message["reasoning_content"] = message.pop("reasoning")


@group.variation(CHAT_MESSAGE, source="anomalyco/opencode#46061")
def both_reasoning_fields(message: Json, _: ClientRequest) -> None:
    """Chat responses return the chain of thought in reasoning and in reasoning_content."""
    if "reasoning" in message:
        message["reasoning_content"] = message["reasoning"]


@group.variation(PAYLOAD, source=_PROXIES)
def extra_fields(data: Json, _: ClientRequest) -> Json:
    """Responses contain fields that the specification does not define."""
    for message in chat_messages(data):
        message |= {"function_call": None, "provider_specific_fields": {}, "annotations": []}
    for choice in choices(data):
        choice |= {"token_ids": None, "matched_stop": None}
    return data | {"kv_transfer_params": None, "prompt_token_ids": None}


@group.variation(PAYLOAD, source=_PROXIES)
def other_ids(data: Json, request: ClientRequest) -> Json:
    """Ids of calls and items have other prefixes or none."""
    for message in chat_messages(data):
        for call in message.get("tool_calls") or ():
            if "id" in call:
                call["id"] = call["id"].replace("call_", "chatcmpl-tool-")
    if request.api == "responses":
        for item in output_items(data):
            item["id"] = _without_prefix(item["id"])
        if "item_id" in data:
            data["item_id"] = _without_prefix(data["item_id"])
    return data


def _without_prefix(identity: str) -> str:
    for prefix in ("rs_", "msg_", "fc_"):
        identity = identity.removeprefix(prefix)
    return identity


@group.variation(CHAT_MESSAGE, source=_PROXIES)
def empty_content(message: Json, _: ClientRequest) -> None:
    """The content of a message that only contains calls is an empty string instead of null."""
    if "content" in message and message["content"] is None:
        message["content"] = ""


@group.variation(CHAT_MESSAGE, source=_PROXIES)
def empty_tool_calls(message: Json, request: ClientRequest) -> None:
    """A message without calls has an empty list of calls."""
    if not request.streaming:
        message.setdefault("tool_calls", [])


@group.variation(CHOICE, source="ollama PR#7963")
def stop_when_forced(choice: Json, request: ClientRequest) -> None:
    """A call forced by tool_choice has the finish reason stop."""
    if request.forced_choice and choice.get("finish_reason") == "tool_calls":
        choice["finish_reason"] = "stop"


@group.variation(USAGE, source=_PROXIES)
def usage_details(usage: Json, _: ClientRequest) -> None:
    """Usage reports cached prompt tokens and has additional details."""
    for key in usage.keys() & {"prompt_tokens_details", "input_tokens_details"}:
        usage[key] |= {"cached_tokens": 1}
    usage["queue_time"] = 0.01


@group.variation(PARSED, source="llama.cpp PR#15181")
def preamble_as_reasoning(event: Event) -> list[Event]:
    """Text for the user before a call is returned as chain of thought."""
    return recast(event, "preamble", "reasoning")


@group.variation(PARSER, source="vllm PR#44664")
def forced_call_without_reasoning(
    parser: HarmonyParser, request: GenerationRequest
) -> HarmonyParser:
    """A call forced by tool_choice comes without chain of thought."""
    if request.policy.mode != "required":
        return parser
    return FilteredParser(parser, lambda event: dropped(event, "reasoning"))


@group.variation(SSE_EVENT, source="WHATWG HTML, server-sent events")
def keep_alive_comments(event: SseEvent) -> list[SseEvent]:
    """Comments between the events of a stream keep its connection open."""
    return [SseEvent(raw=b": keep-alive\n\n"), event]


@group.variation(SSE_EVENT, source="WHATWG HTML, server-sent events")
def carriage_returns(event: SseEvent) -> list[SseEvent]:
    """The lines of a stream end with carriage return and line feed."""
    return [SseEvent(raw=event.encode().replace(b"\n", b"\r\n"))]


@group.variation(STREAM, source=_OLLAMA)
async def role_in_every_chunk(events: SseStream, _: ClientRequest) -> SseStream:
    """Every chunk of a Chat stream repeats the role."""
    async for event in events:
        for message in chat_messages(event.data or {}):
            message.setdefault("role", "assistant")
        yield event


@group.variation(SSE_EVENT, source=_OLLAMA)
def empty_delta(event: SseEvent) -> list[SseEvent]:
    """A Chat stream has a chunk with an empty delta."""
    if not event.delta.get("role"):
        return [event]
    return [event.with_choice(delta={"content": ""}), event]


@group.variation(STREAM, source=_OLLAMA)
async def finish_with_last_text(events: SseStream, _: ClientRequest) -> SseStream:
    """One chunk of a Chat stream has both the last text and the finish reason."""
    held: SseEvent | None = None
    async for event in events:
        finish = event.choice.get("finish_reason")
        if finish and held and held.data:
            held.data["choices"][0]["finish_reason"] = finish
        if held:
            yield held
        held = None if finish else event
    if held:
        yield held


@group.variation(STREAM, source=_OLLAMA)
async def usage_in_last_chunk(events: SseStream, _: ClientRequest) -> SseStream:
    """One chunk of a Chat stream has both the usage and the finish reason."""
    held: SseEvent | None = None
    async for event in events:
        usage = (event.data or {}).get("usage")
        if usage and not event.choice and held and held.data:
            yield held.updated(usage=usage)
            held = None
            continue
        if held:
            yield held
        held = event
    if held:
        yield held


@group.variation(PAYLOAD, source=_OLLAMA)
def created_varies(data: Json, request: ClientRequest) -> Json:
    """The timestamp of a chunk in a Chat stream is the second in which it was sent."""
    if request.streaming and data.get("choices") and "created" in data:
        data["created"] += bool(data["choices"][0].get("finish_reason"))
    return data


@group.variation(SSE_EVENT, source="vllm PR#24938")
def reasoning_part_events(event: SseEvent) -> list[SseEvent]:
    """The parts of reasoning items start and end with response.reasoning_part events."""
    part = (event.data or {}).get("part") or {}
    if part.get("type") != "reasoning_text":
        return [event]
    return [event.renamed(event.type.replace("content_part", "reasoning_part"))]


@group.variation(SSE_EVENT, source="openresponses.org 2026-04-24")
def open_responses_events(event: SseEvent) -> list[SseEvent]:
    """The chain of thought is streamed in response.reasoning events, as in Open Responses."""
    if not event.type.startswith("response.reasoning_text."):
        return [event]
    return [event.renamed(event.type.replace("reasoning_text", "reasoning"))]
