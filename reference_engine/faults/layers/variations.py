"""Allowed variations: no check may report an error for them. First inputs, then outputs."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from reference_engine.faults import hooks
from reference_engine.faults.fault import Hook
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
from reference_engine.faults.layers.sampler import edit_logprobs
from reference_engine.server.api_error import invalid

_CONSTRAIN = " <|constrain|>json"
_NOISE = 0.005
_LONG_ID = 83  # characters
_PROBABLE, _NO_VALUE = -12.0, -9999.0
"""The least logprob of an alternative that is returned, and OpenAI's value for all others."""


def _of_call(change: hooks.TextChange) -> hooks.TextChange:
    return lambda header: change(header) if header.startswith("assistant to=functions.") else header


CALL_HEADER = Hook[hooks.TextChange]("prompt", lambda change: hooks.HEADER.adapt(_of_call(change)))
"""The header of each earlier call in the prompt."""
_RESULT = re.compile(r"(functions\..*)( to=assistant)<\|channel\|>(.*)", re.DOTALL)

hooks.HEADER.faults(
    {"result-recipient-in-channel": lambda header: _RESULT.sub(r"\1<|channel|>\3\2", header)}
)
hooks.CONVERSATION.faults({"date-line": lambda c: replace(c, current_date="2026-11-20")})
hooks.DEVELOPER_TEXT.faults(
    {"blank-line-before-instructions": lambda text: text if "# Tools" in text else f"\n\n{text}"}
)
CALL_HEADER.faults(
    {
        "calls-without-constrain": lambda header: header.replace(_CONSTRAIN, ""),
        "calls-with-plain-json": lambda header: header.replace(_CONSTRAIN, " json"),
    },
)
hooks.PARSED.faults({"preamble-as-reasoning": recast("preamble", "reasoning")})
hooks.PARSED.when(lambda _, request: request.policy.mode == "required").faults(
    {"forced-call-without-reasoning": dropped("reasoning")}
)
hooks.SSE_EVENT.faults(
    {
        "keep-alive-comments": lambda event: [SseEvent(raw=b": keep-alive\n\n"), event],
        "carriage-returns": lambda event: [SseEvent(raw=event.encode().replace(b"\n", b"\r\n"))],
    },
)


@hooks.whole_text("call")("escapes-in-arguments")
def escapes_in_arguments(text: str) -> str:
    with suppress(ValueError):
        return re.sub("[<>&]", lambda char: f"\\u{ord(char[0]):04x}", json.dumps(json.loads(text)))
    return text


@hooks.whole_text("call")("white-space-in-arguments")
def white_space_in_arguments(text: str) -> str:
    with suppress(ValueError):
        return json.dumps(json.loads(text), ensure_ascii=False, separators=(" , ", " :  "))
    return text


@hooks.DEVELOPER_TEXT("blank-line-after-instructions")
def blank_line_after_instructions(text: str) -> str:
    if not text.startswith("# Instructions"):
        return text
    instructions, found, tools = text.partition("\n\n# Tools\n\n")
    return f"{instructions}\n\n" + (f"\n\n# Tools\n\n{tools}" if found else "")


@CALL_HEADER("recipient-in-channel")
def recipient_in_channel(header: str) -> str:
    role, _, channel = header.partition("<|channel|>")
    recipient = role.removeprefix("assistant")
    return f"assistant<|channel|>{channel.replace('commentary', 'commentary' + recipient, 1)}"


@hooks.REQUEST("effort-clamped")
def effort_clamped(body: Json, _: ClientRequest) -> None:
    nearest = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}
    reasoning = body.get("reasoning") or {}
    for part, key in ((body, "reasoning_effort"), (reasoning, "effort")):
        if part.get(key) in nearest:
            part[key] = nearest[part[key]]


@hooks.REQUEST("low-effort-by-default")
def low_effort_by_default(body: Json, request: ClientRequest) -> None:
    reasoning = body.get("reasoning") or {}
    if request.api == "responses":
        body["reasoning"] = {"effort": "low"} | reasoning
    elif not (body.get("reasoning_effort") or reasoning.get("effort")):
        body["reasoning_effort"] = "low"


@hooks.REQUEST("accept-asks-for-stream")
def accept_asks_for_stream(body: Json, request: ClientRequest) -> None:
    if request.accept == "text/event-stream":
        body.setdefault("stream", True)


@hooks.REQUEST("logprobs-refused")
def logprobs_refused(body: Json, _: ClientRequest) -> None:
    included = "message.output_text.logprobs" in (body.get("include") or ())
    if body.get("logprobs") or body.get("top_logprobs") or included:
        raise invalid("logprobs", "logprobs are not supported by this server.", "unsupported")


@hooks.REQUEST("logprobs-limited")
def logprobs_limited(body: Json, _: ClientRequest) -> None:
    most = 5
    if (body.get("top_logprobs") or 0) > most:
        raise invalid("top_logprobs", f"top_logprobs must be at most {most}.", "invalid_value")


@hooks.REQUEST("references-refused")
def references_refused(body: Json, _: ClientRequest) -> None:
    given = {name: body.get(name) for name in ("response_format", "text")}
    if "'$ref'" in str(given):
        raise invalid("response_format", "$ref is not supported in a schema.", "unsupported")


@hooks.REQUEST("forced-choice-refused")
def forced_choice_refused(_: Json, request: ClientRequest) -> None:
    if request.forced_choice:
        message = "Only 'auto' and 'none' are supported for tool_choice."
        raise invalid("tool_choice", message, "unsupported")


@hooks.LOGITS("numeric-noise")
def numeric_noise(logits: Tensor, _: Sequence[int]) -> Tensor:
    return logits + torch.randn_like(logits, dtype=torch.float32).to(logits.dtype) * _NOISE


@hooks.CHAT_MESSAGE("reasoning-content")
def reasoning_content(message: Json, _: ClientRequest) -> None:
    if "reasoning" in message:
        message["reasoning_content"] = message.pop("reasoning")


hooks.CALL.when(lambda _, request: request.streaming and request.api == "chat").faults(
    {"type-in-every-delta": lambda call, _: call.update(type="function")}
)
hooks.CALL.when(hooks.of_chat).faults(
    {
        "long-call-ids": lambda call, _: call.update(
            {"id": call["id"].ljust(_LONG_ID, "x")} if call.get("id") else {}
        )
    }
)


@hooks.CHAT_MESSAGE("both-reasoning-fields")
def both_reasoning_fields(message: Json, _: ClientRequest) -> None:
    if "reasoning" in message:
        message["reasoning_content"] = message["reasoning"]


@hooks.PAYLOAD("extra-fields")
def extra_fields(data: Json, _: ClientRequest) -> None:
    for message in chat_messages(data):
        message |= {"function_call": None, "provider_specific_fields": {}, "annotations": []}
    for choice in choices(data):
        choice |= {"token_ids": None, "matched_stop": None}
    data |= {"kv_transfer_params": None, "prompt_token_ids": None}


@hooks.PAYLOAD("other-ids")
def other_ids(data: Json, request: ClientRequest) -> None:
    for message in chat_messages(data):
        for call in message.get("tool_calls") or ():
            if "id" in call:
                call["id"] = call["id"].replace("call_", "chatcmpl-tool-")
    if request.api == "responses":
        for item in output_items(data):
            item["id"] = _without_prefix(item["id"])
        if "item_id" in data:
            data["item_id"] = _without_prefix(data["item_id"])


def _without_prefix(identity: str) -> str:
    for prefix in ("rs_", "msg_", "fc_"):
        identity = identity.removeprefix(prefix)
    return identity


@hooks.PAYLOAD("lowest-logprobs")
def lowest_logprobs(data: Json, _: ClientRequest) -> None:
    def change(tokens: list[Json]) -> None:
        for token in tokens:
            for other in (token.get("top_logprobs") or ())[1:]:
                if other["logprob"] < _PROBABLE:
                    other["logprob"] = _NO_VALUE

    edit_logprobs(data, change)


@hooks.CHAT_MESSAGE("empty-content")
def empty_content(message: Json, _: ClientRequest) -> None:
    if "content" in message and message["content"] is None:
        message["content"] = ""


@hooks.CHAT_MESSAGE("empty-tool-calls")
def empty_tool_calls(message: Json, request: ClientRequest) -> None:
    if not request.streaming:
        message.setdefault("tool_calls", [])


@hooks.CHOICE("stop-when-forced")
def stop_when_forced(choice: Json, request: ClientRequest) -> None:
    if request.forced_choice and choice.get("finish_reason") == "tool_calls":
        choice["finish_reason"] = "stop"


@hooks.USAGE("usage-details")
def usage_details(usage: Json, _: ClientRequest) -> None:
    for key in usage.keys() & {"prompt_tokens_details", "input_tokens_details"}:
        usage[key] |= {"cached_tokens": 1}
    usage["queue_time"] = 0.01


@hooks.STREAM("role-in-every-chunk")
async def role_in_every_chunk(events: SseStream, _: ClientRequest) -> SseStream:
    async for event in events:
        for message in chat_messages(event.data or {}):
            message.setdefault("role", "assistant")
        yield event


@hooks.SSE_EVENT("empty-delta")
def empty_delta(event: SseEvent) -> list[SseEvent]:
    if not event.delta.get("role"):
        return [event]
    return [event.with_choice(delta={"content": ""}), event]


@hooks.STREAM("finish-with-last-text")
async def finish_with_last_text(events: SseStream, _: ClientRequest) -> SseStream:
    held: dict[int | None, SseEvent] = {}  # the last chunk of each choice
    async for event in events:
        choice = event.choice.get("index")
        finish, before = event.choice.get("finish_reason"), held.pop(choice, None)
        if before and finish:
            yield before.with_choice(finish_reason=finish)
            continue
        for last in [before] if choice is not None else [*held.values()]:
            if last:
                yield last
        if choice is None:
            held.clear()
        if choice is None or finish:
            yield event
        else:
            held[choice] = event
    for last in held.values():
        yield last


@hooks.STREAM("usage-in-last-chunk")
async def usage_in_last_chunk(events: SseStream, _: ClientRequest) -> SseStream:
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


@hooks.PAYLOAD.when(hooks.of_streams)("created-varies")
def created_varies(data: Json, _: ClientRequest) -> None:
    if data.get("choices") and "created" in data:
        data["created"] += bool(data["choices"][0].get("finish_reason"))


@hooks.SSE_EVENT("reasoning-part-events")
def reasoning_part_events(event: SseEvent) -> list[SseEvent]:
    part = (event.data or {}).get("part") or {}
    if part.get("type") != "reasoning_text":
        return [event]
    return [event.renamed(event.type.replace("content_part", "reasoning_part"))]


@hooks.SSE_EVENT("open-responses-events")
def open_responses_events(event: SseEvent) -> list[SseEvent]:
    if not event.type.startswith("response.reasoning_text."):
        return [event]
    return [event.renamed(event.type.replace("reasoning_text", "reasoning"))]


@hooks.SSE_FILTER("arguments-when-done")
def arguments_when_done(event: SseEvent) -> bool:
    return event.type != "response.function_call_arguments.delta"
