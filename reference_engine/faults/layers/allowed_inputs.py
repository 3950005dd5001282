"""Variations in how requests are taken and rendered that are no defects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from harmony.conversation import Conversation
from reference_engine.faults.base import Family
from reference_engine.faults.messages import Message, rewritten
from reference_engine.faults.orders import conversing
from reference_engine.faults.seams import LOGITS, ORDER, PROMPT, REQUEST, Asked, Json
from reference_engine.server.errors import invalid
from reference_engine.server.generation import Order

family = Family("rendering")

_CONSTRAIN = " <|constrain|>json"
_NOISE = 0.005


def _each_call(tokens: list[int], change: Callable[[str], str]) -> list[int]:
    """The prompt with the headers of earlier calls changed."""

    def changed(message: Message) -> list[Message]:
        call = message.header.startswith("assistant to=functions.")
        return [replace(message, header=change(message.header)) if call else message]

    return rewritten(tokens, changed)


@family.allowed(
    ORDER,
    "date-line",
    "The system message names the current date.",
    source="openai/harmony docs/format.md",
)
def _date_line(order: Order) -> Order:
    return conversing(order, current_date="2026-11-20")


@family.allowed(
    PROMPT,
    "blank-line-after-instructions",
    "A blank line follows the instructions, as in the Hugging Face template.",
    source="Hugging Face chat template",
)
def _blank_line_after_instructions(tokens: list[int], _: Conversation) -> list[int]:
    def changed(message: Message) -> list[Message]:
        content = message.content or ""
        if message.role != "developer" or not content.startswith("# Instructions"):
            return [message]
        instructions, found, tools = content.partition("\n\n# Tools\n\n")
        separator = "\n\n\n\n" if found else "\n\n"
        tail = f"{separator}# Tools\n\n{tools}" if found else separator
        return [replace(message, content=instructions + tail)]

    return rewritten(tokens, changed)


@family.allowed(
    PROMPT,
    "calls-without-constrain",
    "Earlier calls are rendered without a content type.",
    source="openai/harmony#91",
)
def _calls_without_constrain(tokens: list[int], _: Conversation) -> list[int]:
    return _each_call(tokens, lambda header: header.replace(_CONSTRAIN, ""))


@family.allowed(
    PROMPT,
    "calls-with-plain-json",
    "Earlier calls are rendered with the content type json and without its marker.",
    source="vllm PR#28729",
)
def _calls_with_plain_json(tokens: list[int], _: Conversation) -> list[int]:
    return _each_call(tokens, lambda header: header.replace(_CONSTRAIN, " json"))


@family.allowed(
    PROMPT,
    "recipient-in-channel",
    "Earlier calls name their recipient after the channel and not after the role.",
    source="openai/harmony docs/format.md",
)
def _recipient_in_channel(tokens: list[int], _: Conversation) -> list[int]:
    def moved(header: str) -> str:
        role, _, channel = header.partition("<|channel|>")
        recipient = role.removeprefix("assistant")
        return f"assistant<|channel|>{channel.replace('commentary', 'commentary' + recipient, 1)}"

    return _each_call(tokens, moved)


@family.allowed(
    REQUEST,
    "effort-clamped",
    "Efforts that gpt-oss does not know are taken for the nearest one that it does.",
    source="BerriAI/litellm PR#38263",
)
def _effort_clamped(body: Json, _: Asked) -> Json:
    nearest = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}
    if body.get("reasoning_effort") in nearest:
        body = body | {"reasoning_effort": nearest[body["reasoning_effort"]]}
    reasoning = body.get("reasoning") or {}
    if reasoning.get("effort") in nearest:
        body = body | {"reasoning": reasoning | {"effort": nearest[reasoning["effort"]]}}
    return body


@family.allowed(
    REQUEST,
    "low-effort-by-default",
    "A request that names no effort is served with low effort.",
    source="openai/gpt-oss responses_api",
)
def _low_effort_by_default(body: Json, asked: Asked) -> Json:
    reasoning = body.get("reasoning") or {}
    if asked.dialect == "responses":
        return body | {"reasoning": {"effort": "low"} | reasoning}
    named = body.get("reasoning_effort") or reasoning.get("effort")
    return body if named else body | {"reasoning_effort": "low"}


@family.allowed(
    REQUEST,
    "logprobs-refused",
    "A request for log probabilities is refused with status 400 and a clear message.",
    source="sglang PR#34127",
)
def _logprobs_refused(body: Json, _: Asked) -> Json:
    included = "message.output_text.logprobs" in (body.get("include") or ())
    if body.get("logprobs") or body.get("top_logprobs") or included:
        raise invalid("logprobs", "logprobs are not supported by this server.", "unsupported")
    return body


@family.allowed(
    REQUEST,
    "forced-choice-refused",
    "Any tool_choice but auto and none is refused with status 400 and a clear message.",
    source="vllm PR#37433",
)
def _forced_choice_refused(body: Json, _: Asked) -> Json:
    if body.get("tool_choice") not in (None, "auto", "none"):
        message = "Only 'auto' and 'none' are supported for tool_choice."
        raise invalid("tool_choice", message, "unsupported")
    return body


@family.allowed(
    LOGITS,
    "numeric-noise",
    "Scores differ by as much as another order of additions makes them differ.",
    source="rounding that depends on the batch",
)
def _numeric_noise(logits: Tensor, _: Sequence[int], __: int) -> Tensor:
    return logits + torch.randn_like(logits, dtype=torch.float32).to(logits.dtype) * _NOISE
