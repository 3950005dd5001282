"""Faults in token counts."""

from __future__ import annotations

import orjson

from reference_engine.faults.base import FaultGroup
from reference_engine.faults.hooks import PAYLOAD, SSE_FILTER, USAGE
from reference_engine.faults.http import ClientRequest, Json, SseEvent, response_of

group = FaultGroup("usage")

_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")


def _key(usage: Json, names: tuple[str, str]) -> str:
    return names[0] if names[0] in usage else names[1]


def _set(usage: Json, names: tuple[str, str], tokens: int) -> None:
    usage[_key(usage, names)] = tokens
    usage["total_tokens"] = usage[_key(usage, _PROMPT)] + usage[_key(usage, _COMPLETION)]


def _set_reasoning(usage: Json, tokens: int) -> None:
    usage[f"{_key(usage, _COMPLETION)}_details"]["reasoning_tokens"] = tokens


@group.fault(PAYLOAD, "usage.missing", source="vllm#23007")
def usage_missing(data: Json, request: ClientRequest) -> Json:
    """Responses have no usage, except Chat streams."""
    response = response_of(data)
    if "usage" in response and not (request.streaming and request.api == "chat"):
        response["usage"] = None
    return data


@group.fault(SSE_FILTER, "usage.missing", "chat.stream.usage", source="vllm PR#22667")
def usage_chunk_missing(event: SseEvent) -> bool:
    """A Chat stream lacks the requested chunk with the usage."""
    return not (event.data or {}).get("usage")


@group.fault(USAGE, "usage.zero", source="diegosouzapw/OmniRoute PR#4615")
def prompt_tokens_zero(usage: Json, _: ClientRequest) -> None:
    """The count of prompt tokens is zero."""
    _set(usage, _PROMPT, 0)


@group.fault(USAGE, "usage.zero", source="vllm#24184")
def usage_zero(usage: Json, _: ClientRequest) -> None:
    """All token counts are zero."""
    usage |= dict.fromkeys(usage.keys() & {*_PROMPT, *_COMPLETION, "total_tokens"}, 0)


@group.fault(USAGE, "usage.sum")
def usage_sum_wrong(usage: Json, _: ClientRequest) -> None:
    """The total is not the sum of prompt and completion tokens."""
    usage["total_tokens"] = usage[_key(usage, _COMPLETION)]


@group.fault(USAGE, "usage.reasoning.missing", source="vllm PR#22667")
def reasoning_tokens_zero(usage: Json, _: ClientRequest) -> None:
    """The chain of thought does not count as reasoning tokens."""
    _set_reasoning(usage, 0)


@group.fault(USAGE, "usage.reasoning.excess")
def reasoning_tokens_excess(usage: Json, _: ClientRequest) -> None:
    """The count of reasoning tokens exceeds that of completion tokens."""
    _set_reasoning(usage, usage[_key(usage, _COMPLETION)] + 1)


@group.fault(USAGE, "usage.reasoning.differs", source="vLLM 0.32, measured")
def reasoning_tokens_include_answer(usage: Json, _: ClientRequest) -> None:
    """All completion tokens count as reasoning tokens."""
    _set_reasoning(usage, usage[_key(usage, _COMPLETION)])


@group.fault(USAGE, "usage.output.uncounted", "parity.usage")
def usage_of_stream_differs(usage: Json, request: ClientRequest) -> None:
    """Streams count one completion token; non-streaming responses count all of them."""
    if request.streaming:
        _set(usage, _COMPLETION, 1)
        _set_reasoning(usage, 0)


@group.fault(USAGE, "prompt.system", "prompt.tool")
def prompt_tokens_estimated(usage: Json, request: ClientRequest) -> None:
    """The count of prompt tokens is an estimate from the length of the request."""
    _set(usage, _PROMPT, len(orjson.dumps(request.body)) // 4)
