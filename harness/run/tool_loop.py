"""One attempt at one sample: send requests and tool results until the model answers."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from urllib.parse import quote

import orjson

from harness.api.dialect import Dialect
from harness.api.items import (
    Body,
    ConversationItem,
    Follow,
    Message,
    Reply,
    Sample,
    ToolCall,
    ToolResult,
    UnreadableReplyError,
)
from harness.records.rollouts import Exchange, LoopEnd, Rollout, Sender
from harness.run.attempts import Attempt
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
    sender = replace(attempt.sender, socket=attempt.sender.socket and attempt.id)
    if sample.together:
        bodies = [body, *({**body, **members} for members in sample.together)]
        return _rollout(attempt, "answered", await send_together(transport, path, bodies, sender))
    while len(exchanges) < most:
        exchange = await transport.send(path, payload, sender=sender)
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
            path, payload = _followed(sample.follow, reply, dialect)
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
        payload = body = body | _later(sample, dialect)
    return _rollout(attempt, end, exchanges)


def _later(sample: Sample, dialect: Dialect) -> Body:
    """Return the members that replace those of the first request in all others."""
    later: Body = {}
    if sample.later_instructions is not None:
        later["instructions"] = sample.later_instructions
    if sample.later_tools is not None:
        later |= dialect.offered(sample.later_tools)
    return {**later, **sample.later}


def _followed(follow: Follow, reply: Reply, dialect: Dialect) -> tuple[str, Payload]:
    """Return the path and the body of the request that follows a response by its id."""
    path = f"{dialect.path}/{quote(str(reply.raw.get('id')), safe='')}"
    return (path, None) if follow == "retrieve" else (f"{path}/cancel", "")


async def send_together(
    transport: Transport, path: str, bodies: Iterable[Payload], sender: Sender
) -> list[Exchange]:
    """Send requests in this order before the first is answered."""
    return await asyncio.gather(*(transport.send(path, body, sender=sender) for body in bodies))


def _rollout(attempt: Attempt, end: LoopEnd, exchanges: Iterable[Exchange]) -> Rollout:
    return Rollout(
        id=attempt.id,
        task=attempt.task,
        sample=attempt.sample.id,
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
    text = next(messages, None) if reply.text or sample.later else None
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
