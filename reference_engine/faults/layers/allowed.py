"""Variations in what is returned that are no defects: nothing may be reported about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harmony.parse import HarmonyParser
from reference_engine.faults.base import Family
from reference_engine.faults.parsers import recast, without
from reference_engine.faults.seams import DATA, FRAMES, PARSER, Asked, Frame, Frames, Json
from reference_engine.server.generation import Order

family = Family("streaming")

_ITEM_PREFIXES = ("rs_", "msg_", "fc_")


def _spoken(data: Json) -> Iterator[Json]:
    """The messages of a Chat reply, or the deltas of a chunk."""
    for choice in data.get("choices") or ():
        yield choice.get("message", choice.get("delta", {}))


@family.allowed(
    DATA,
    "reasoning-content",
    "The chain of thought of Chat replies is called reasoning_content.",
    source="openai/codex PR#3722",
)
def _reasoning_content(data: Json, _: Asked) -> Json:
    for message in _spoken(data):
        if "reasoning" in message:
            message["reasoning_content"] = message.pop("reasoning")
    return data


@family.allowed(
    DATA,
    "both-reasoning-fields",
    "The chain of thought of Chat replies comes as reasoning and as reasoning_content.",
    source="anomalyco/opencode#46061",
)
def _both_reasoning_fields(data: Json, _: Asked) -> Json:
    for message in _spoken(data):
        if "reasoning" in message:
            message["reasoning_content"] = message["reasoning"]
    return data


@family.allowed(
    DATA,
    "extra-fields",
    "Replies hold fields that the specification does not know.",
    source="replies of vLLM and SGLang",
)
def _extra_fields(data: Json, _: Asked) -> Json:
    for message in _spoken(data):
        message |= {"function_call": None, "provider_specific_fields": {}, "annotations": []}
    for choice in data.get("choices") or ():
        choice |= {"token_ids": None, "matched_stop": None}
    return data | {"kv_transfer_params": None, "prompt_token_ids": None}


@family.allowed(
    DATA,
    "other-ids",
    "Ids of calls and items have other prefixes or none.",
    source="replies of vLLM and SGLang",
)
def _other_ids(data: Json, asked: Asked) -> Json:
    for message in _spoken(data):
        for call in message.get("tool_calls") or ():
            if "id" in call:
                call["id"] = call["id"].replace("call_", "chatcmpl-tool-")
    if asked.dialect == "responses":
        for item in (data.get("item"), *(data.get("response", data).get("output") or ())):
            if item:
                item["id"] = _bare(item["id"])
        if "item_id" in data:
            data["item_id"] = _bare(data["item_id"])
    return data


def _bare(identity: str) -> str:
    for prefix in _ITEM_PREFIXES:
        identity = identity.removeprefix(prefix)
    return identity


@family.allowed(
    DATA,
    "empty-content",
    "The content of a message that only calls is an empty string and not null.",
    source="replies of vLLM and SGLang",
)
def _empty_content(data: Json, _: Asked) -> Json:
    for message in _spoken(data):
        if "content" in message and message["content"] is None:
            message["content"] = ""
    return data


@family.allowed(
    DATA,
    "empty-tool-calls",
    "A message without calls has an empty list of them.",
    source="replies of vLLM and SGLang",
)
def _empty_tool_calls(data: Json, asked: Asked) -> Json:
    if not asked.streaming:
        for message in _spoken(data):
            message.setdefault("tool_calls", [])
    return data


@family.allowed(
    DATA,
    "stop-when-forced",
    "A call that tool_choice forced ends with finish_reason stop.",
    source="ollama PR#7963",
)
def _stop_when_forced(data: Json, asked: Asked) -> Json:
    for choice in data.get("choices") or ():
        forced = asked.body.get("tool_choice") not in (None, "auto", "none")
        if forced and choice.get("finish_reason") == "tool_calls":
            choice["finish_reason"] = "stop"
    return data


@family.allowed(
    DATA,
    "usage-details",
    "Usage says that part of the prompt was cached, and has details of its own.",
    source="replies of vLLM and SGLang",
)
def _usage_details(data: Json, _: Asked) -> Json:
    if usage := data.get("response", data).get("usage"):
        for key in usage.keys() & {"prompt_tokens_details", "input_tokens_details"}:
            usage[key] |= {"cached_tokens": 1}
        usage["queue_time"] = 0.01
    return data


@family.allowed(
    PARSER,
    "preamble-as-reasoning",
    "Text that the model shows the user before a call comes as chain of thought.",
    source="llama.cpp PR#15181",
)
def _preamble_as_reasoning(parser: HarmonyParser, _: Order) -> HarmonyParser:
    return recast(parser, "preamble", "reasoning")


@family.allowed(
    PARSER,
    "forced-call-without-reasoning",
    "A call that tool_choice forced comes without chain of thought.",
    source="vllm PR#44664",
)
def _forced_call_without_reasoning(parser: HarmonyParser, order: Order) -> HarmonyParser:
    return without(parser, "reasoning") if order.policy.mode == "required" else parser


@family.allowed(
    FRAMES,
    "keep-alive-comments",
    "Comments between the events of a stream keep its connection open.",
    source="WHATWG HTML, server-sent events",
)
async def _keep_alive_comments(frames: Frames, _: Asked) -> Frames:
    async for frame in frames:
        yield Frame(raw=b": keep-alive\n\n")
        yield frame


@family.allowed(
    FRAMES,
    "carriage-returns",
    "The lines of a stream end with carriage return and line feed.",
    source="WHATWG HTML, server-sent events",
)
async def _carriage_returns(frames: Frames, _: Asked) -> Frames:
    async for frame in frames:
        yield Frame(raw=frame.encode().replace(b"\n", b"\r\n"))


@family.allowed(
    FRAMES,
    "role-in-every-chunk",
    "Every chunk of a Chat stream repeats the role.",
    source="ollama PR#17485",
)
async def _role_in_every_chunk(frames: Frames, _: Asked) -> Frames:
    async for frame in frames:
        for choice in (frame.data or {}).get("choices") or ():
            choice["delta"].setdefault("role", "assistant")
        yield frame


@family.allowed(
    FRAMES,
    "empty-delta",
    "A Chat stream has a chunk with an empty delta.",
    source="ollama PR#17485",
)
async def _empty_delta(frames: Frames, _: Asked) -> Frames:
    async for frame in frames:
        if frame.delta.get("role") and frame.data:
            choice = frame.data["choices"][0] | {"delta": {"content": ""}}
            yield replace(frame, data=frame.data | {"choices": [choice]})
        yield frame


@family.allowed(
    FRAMES,
    "finish-with-last-text",
    "The last text of a Chat stream and its finish reason come in one chunk.",
    source="ollama PR#17485",
)
async def _finish_with_last_text(frames: Frames, _: Asked) -> Frames:
    held: Frame | None = None
    async for frame in frames:
        choices = (frame.data or {}).get("choices") or []
        last = bool(choices and choices[0].get("finish_reason"))
        if last and held and held.data:
            held.data["choices"][0]["finish_reason"] = choices[0]["finish_reason"]
        if held:
            yield held
        held = None if last else frame
    if held:
        yield held


@family.allowed(
    FRAMES,
    "usage-in-last-chunk",
    "The usage of a Chat stream comes with the finish reason and not in a chunk of its own.",
    source="ollama PR#17485",
)
async def _usage_in_last_chunk(frames: Frames, _: Asked) -> Frames:
    held: Frame | None = None
    async for frame in frames:
        usage = (frame.data or {}).get("usage")
        if usage and frame.data and not frame.data.get("choices") and held and held.data:
            yield replace(held, data=held.data | {"usage": usage})
            held = None
            continue
        if held:
            yield held
        held = frame
    if held:
        yield held


@family.allowed(
    DATA,
    "created-varies",
    "The chunks of a Chat stream are stamped with the second in which each was sent.",
    source="ollama PR#17485",
)
def _created_varies(data: Json, asked: Asked) -> Json:
    if asked.streaming and data.get("choices") and "created" in data:
        finished = data["choices"][0].get("finish_reason")
        data["created"] += bool(finished)
    return data


@family.allowed(
    FRAMES,
    "reasoning-part-events",
    "The parts of reasoning items begin and end with response.reasoning_part events.",
    source="vllm PR#24938",
)
async def _reasoning_part_events(frames: Frames, _: Asked) -> Frames:
    async for frame in frames:
        part = (frame.data or {}).get("part") or {}
        if part.get("type") == "reasoning_text" and frame.data:
            kind = frame.type.replace("content_part", "reasoning_part")
            yield Frame(frame.data | {"type": kind}, kind)
        else:
            yield frame


@family.allowed(
    FRAMES,
    "open-responses-events",
    "Chain of thought is streamed with response.reasoning events, as Open Responses names them.",
    source="openresponses.org 2026-04-24",
)
async def _open_responses_events(frames: Frames, _: Asked) -> Frames:
    async for frame in frames:
        if frame.type.startswith("response.reasoning_text.") and frame.data:
            kind = frame.type.replace("reasoning_text", "reasoning")
            yield Frame(frame.data | {"type": kind}, kind)
        else:
            yield frame
