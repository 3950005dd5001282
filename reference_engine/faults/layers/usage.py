"""Faults in token counts."""

import json

from reference_engine.faults import hooks
from reference_engine.faults.http import ClientRequest, Json, SseStream, messages_key, messages_of

_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")


def _key(usage: Json, names: tuple[str, str]) -> str:
    return names[0] if names[0] in usage else names[1]


def _completion(usage: Json) -> int:
    return int(usage[_key(usage, _COMPLETION)])


def _set(usage: Json, names: tuple[str, str], tokens: int) -> None:
    usage[_key(usage, names)] = tokens
    usage["total_tokens"] = usage[_key(usage, _PROMPT)] + _completion(usage)


def _set_reasoning(usage: Json, tokens: int) -> None:
    usage[f"{_key(usage, _COMPLETION)}_details"]["reasoning_tokens"] = tokens


_BLOCK, _TEMPLATE = 16, 40  # tokens

hooks.SSE_FILTER.faults({"usage-chunk-missing": lambda event: not (event.data or {}).get("usage")})
hooks.USAGE.faults(
    {
        "usage-zero": lambda usage, _: usage.update(
            dict.fromkeys(usage.keys() & {*_PROMPT, *_COMPLETION, "total_tokens"}, 0)
        ),
        "prompt-tokens-doubled": lambda usage, _: _set(
            usage, _PROMPT, 2 * usage[_key(usage, _PROMPT)]
        ),
        "usage-sum-wrong": lambda usage, _: usage.update(total_tokens=_completion(usage)),
        "completion-tokens-excess": lambda usage, _: _set(
            usage, _COMPLETION, _completion(usage) + 20
        ),
        "reasoning-tokens-zero": lambda usage, _: _set_reasoning(usage, 0),
        "reasoning-tokens-excess": lambda usage, _: _set_reasoning(usage, _completion(usage) + 1),
        "reasoning-tokens-include-answer": lambda usage, _: _set_reasoning(
            usage, _completion(usage)
        ),
        "prompt-tokens-rounded": lambda usage, _: _set(
            usage, _PROMPT, -(-usage[_key(usage, _PROMPT)] // _BLOCK) * _BLOCK
        ),
        "prompt-counted-per-choice": lambda usage, request: _set(
            usage, _PROMPT, usage[_key(usage, _PROMPT)] * int(request.body.get("n") or 1)
        ),
    },
)


hooks.REQUEST.when(hooks.of_chat).faults(
    {
        "usage-unasked": lambda body, request: (
            body.update(stream_options={"include_usage": True}) if request.streaming else None
        )
    }
)


@hooks.USAGE.when(lambda _, request: request.body.keys() & {"response_format", "text"})(
    "reasoning-uncounted-beside-schema"
)
def reasoning_uncounted_beside_schema(usage: Json, _: ClientRequest) -> None:
    details = usage[f"{_key(usage, _COMPLETION)}_details"]
    _set(usage, _COMPLETION, _completion(usage) - details["reasoning_tokens"])
    details["reasoning_tokens"] = 0


@hooks.USAGE.when(hooks.of_streams)("completion-tokens-of-all-chunks")
def completion_tokens_of_all_chunks(usage: Json, _: ClientRequest) -> None:
    """Add up the counts so far of all chunks, of which each has one token."""
    count = _completion(usage)
    _set(usage, _COMPLETION, count * (count + 1) // 2)


@hooks.STREAM.when(hooks.of_chat)("calls-of-streams-overcounted")
async def calls_of_streams_overcounted(events: SseStream, _: ClientRequest) -> SseStream:
    """Count each call with the 12 tokens of a form of its own."""
    called = False
    async for event in events:
        called = called or bool(event.delta.get("tool_calls"))
        usage = (event.data or {}).get("usage")
        if called and usage:
            _set(usage, _COMPLETION, _completion(usage) + 12)
        yield event


@hooks.STREAM("usage-in-every-chunk")
async def usage_in_every_chunk(events: SseStream, request: ClientRequest) -> SseStream:
    """Give each chunk with a choice counts, if the client asks for usage."""
    asked = (request.body.get("stream_options") or {}).get("include_usage")
    so_far = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    async for event in events:
        yield event.updated(usage=so_far) if asked and event.choice else event


@hooks.USAGE.when(hooks.of_streams)("prompts-of-streams-estimated")
def prompts_of_streams_estimated(usage: Json, request: ClientRequest) -> None:
    """Count a prompt from its characters, as gateways do whose tokenizer is another model's."""
    text = "".join(str(item.get("content")) for item in messages_of(request.body))
    characters = len(text + str(request.body.get("tools") or ""))
    _set(usage, _PROMPT, _TEMPLATE + characters // 4)
    usage[f"{_key(usage, _PROMPT)}_details"] = {"cached_tokens": 0, "cache_write_tokens": 0}


@hooks.RESPONSE("usage-missing")
def usage_missing(response: Json, request: ClientRequest) -> None:
    if "usage" in response and not (request.streaming and request.api == "chat"):
        response["usage"] = None


_CACHED = 64  # tokens of a block of a prefix cache
_BEGINNINGS: set[str] = set()


@hooks.USAGE("prompt-tokens-without-cached")
def prompt_tokens_without_cached(usage: Json, request: ClientRequest) -> None:
    """Count only the tokens after the blocks with which an earlier prompt begins."""
    count = int(usage[_key(usage, _PROMPT)])
    body = request.body
    texts = [body.get("tools"), body.get("instructions"), body.get(messages_key(body))]
    said, full = json.dumps(texts), (count - 1) // _CACHED
    begins = [said[: len(said) * at // max(1, full)] for at in range(1, full + 1)]
    known = sum(begin in _BEGINNINGS for begin in begins)
    _BEGINNINGS.update(begins)
    _set(usage, _PROMPT, count - known * _CACHED)
    usage[f"{_key(usage, _PROMPT)}_details"] = {"cached_tokens": 0}


@hooks.USAGE("rejected-drafts-counted")
def rejected_drafts_counted(usage: Json, _: ClientRequest) -> None:
    """Count a quarter more: the tokens of drafts that the model rejected."""
    _set(usage, _COMPLETION, _completion(usage) + -(-_completion(usage) // 4))


_SUMS: dict[str, int] = {}  # the prompt tokens of all turns up to each response, by its id


@hooks.RESPONSE("prompt-tokens-summed-over-turns")
def prompt_tokens_summed_over_turns(response: Json, request: ClientRequest) -> None:
    usage = response.get("usage")
    if usage and response.get("object") == "response":
        earlier = _SUMS.get(request.body.get("previous_response_id") or "", 0)
        _set(usage, _PROMPT, usage["input_tokens"] + earlier)
        _SUMS[response["id"]] = usage["input_tokens"]
