"""One attempt at one sample: send requests and tool results until the model answers."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from urllib.parse import quote

import orjson

from harness.api.dialect import Dialect
from harness.api.items import (
    ConversationItem,
    Message,
    Reply,
    ToolCall,
    ToolResult,
    UnreadableReplyError,
)
from harness.records.rollouts import Exchange, LoopEnd, Rollout
from harness.run.attempts import Attempt, Sample
from harness.text import repeated_piece
from harness.transport.interface import Payload, Transport, processed

PENDING = frozenset({"queued", "in_progress"})
"""The statuses of a response that is not finished."""
_BETWEEN = 1.0  # seconds after which a response that is not finished is retrieved again


async def run_attempt(attempt: Attempt, transport: Transport, dialect: Dialect) -> Rollout:
    """Carry out one attempt. Failures of the provider do not raise: `Rollout.end` has the result.

    Once all user messages are sent, the attempt ends as "answered" with the first reply that calls
    no tool or is truncated at a token limit. If that does not happen within `max_turns` requests,
    it ends as "max_turns". A request that is repeated with `more_tokens` is not counted; a reply
    that ends with endless repetition is not requested again. The result of a call of a tool that
    was not offered is an error text. A seed in the settings becomes a seed of this attempt.
    """
    sample, settings = attempt.sample, attempt.settings
    if settings.seed is not None:
        settings = replace(settings, seed=attempt_seed(settings.seed, attempt.id))
    body = replace(attempt, settings=settings).first_request()
    path = dialect.path
    payload: Payload = body if sample.raw is None else sample.raw
    messages = iter(sample.then)
    exchanges: list[Exchange] = []
    end: LoopEnd = "max_turns"
    more, most = attempt.more_tokens, attempt.max_turns
    while len(exchanges) < most:
        exchange = await transport.send(path, payload, sender=attempt.sender)
        exchanges.append(exchange)
        reply = await _read(exchange, dialect)
        if isinstance(reply, str):
            end = reply
            break
        if sample.follow is not None:
            followed = len(exchanges) > 1
            if followed and (sample.follow == "cancel" or reply.raw.get("status") not in PENDING):
                end = "answered"
                break
            await asyncio.sleep(_BETWEEN * followed)
            path = f"{dialect.path}/{quote(str(reply.raw.get('id')), safe='')}"
            path, payload = (path, None) if sample.follow == "retrieve" else (f"{path}/cancel", "")
            continue
        cut = reply.finish == "length" and repeated_piece(reply.generated) is None
        if cut and more is not None:
            payload = body = dialect.with_limit(body, more)
            more, most = None, most + 1
            continue
        turns = await _next_items(sample, reply, messages)
        if not turns:
            end = "answered"
            break
        body = dialect.next_request(body, reply, turns, history=settings.history)
        if sample.later_instructions is not None:
            body["instructions"] = sample.later_instructions
        if sample.later_tools is not None:
            body |= dialect.offered(sample.later_tools)
        payload = body
    return Rollout(
        id=attempt.id,
        task=attempt.task,
        sample=sample.id,
        condition=attempt.condition,
        attempt=attempt.number,
        end=end,
        exchanges=tuple(exchanges),
        alone=attempt.alone,
    )


async def _read(exchange: Exchange, dialect: Dialect) -> Reply | LoopEnd:
    """Return the reply, or how an attempt without one ends."""
    response = exchange.response
    if exchange.failure is not None or response is None or not response.good_status:
        return "failed"
    try:
        return await processed(len(response.text), partial(dialect.read, exchange))
    except UnreadableReplyError:
        return "unreadable"


async def _next_items(
    sample: Sample, reply: Reply, messages: Iterator[str]
) -> tuple[ConversationItem, ...]:
    """Return the results of the called tools, or the next message of the user, if there is one."""
    if reply.finish == "length":
        return ()
    if reply.calls:
        return tuple([ToolResult(call.id, await _output(sample, call)) for call in reply.calls])
    text = next(messages, None) if reply.text else None
    return () if text is None else (Message("user", text),)


async def _output(sample: Sample, call: ToolCall) -> str:
    """Return the output of the called tool, or an error text if the sample has no such tool."""
    for tool in sample.tools:
        if tool.name == call.name:
            return tool.output if tool.run is None else await tool.run(call.arguments)
    return orjson.dumps({"error": f"there is no tool named {call.name}"}).decode()


def attempt_seed(seed: int, attempt_id: str) -> int:
    """Return a seed for one attempt: tries differ, and a run can be repeated."""
    digest = hashlib.sha256(f"{seed}/{attempt_id}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1
