"""The conversations that clients would have: a tool is called, or a text is read.

The tool cases, the tool loops and the texts of echo and parity are such conversations, in the form
of request that all clients can send. Probes of single tokens or options are not.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.api.statuses import explanation, without_reply
from harness.records.conditions import Api, Mode
from harness.rules.clients.sdk import reading, reads

TASKS = frozenset({"tool_calling", "tools.loop", "echo", "parity"})
_MOST = 12
"""Conversations of a task that are read over an API and in a mode: the shortest."""


@dataclass(frozen=True)
class Conversation:
    """A recorded conversation, and why clients get nothing usable from it."""

    record: str
    api: Api
    mode: Mode
    calls: bool  # whether a tool is called
    readable: bool = True  # whether our own reading finds a reply in each response
    failed: str | None = None  # for every client
    turn: int = 0  # the request that was refused
    read: Mapping[str, str | None] = field(default_factory=dict)
    """By client that is installed and read all replies: why it gets nothing usable, if so."""


def is_conversation(parsed: ParsedRollout) -> bool:
    """Whether a rollout is the first try of a conversation."""
    return parsed.rollout.task in TASKS and parsed.rollout.attempt == 1


def conversations(rollouts: Iterable[ParsedRollout]) -> tuple[Conversation, ...]:
    """Read those of the rollouts that were answered; one that was made again alone counts once."""
    last = {(r.rollout.task, r.rollout.sample, r.rollout.condition): r for r in rollouts}
    by_task: dict[tuple[str, Api, Mode], list[ParsedRollout]] = defaultdict(list)
    for rollout in last.values():
        if not any(without_reply(exchange.recorded) for exchange in rollout.exchanges):
            by_task[rollout.rollout.task, rollout.rollout.api, rollout.mode].append(rollout)
    return tuple(
        _read(rollout) for made in by_task.values() for rollout in sorted(made, key=_length)[:_MOST]
    )


def _length(rollout: ParsedRollout) -> int:
    return sum(len(exchange.events) for exchange in rollout.exchanges)


def _read(rollout: ParsedRollout) -> Conversation:
    # Of an unreadable reply to an offer of tools, a call is expected.
    calls = any(
        exchange.request.functions if exchange.reply is None else exchange.reply.calls
        for exchange in rollout.exchanges
    )
    readable = all(exchange.reply is not None for exchange in rollout.exchanges)
    made = Conversation(rollout.rollout.id, rollout.rollout.api, rollout.mode, calls, readable)
    unread: dict[str, str] = {}
    able = set.intersection(*map(reading, rollout.exchanges))
    for turn, exchange in enumerate(rollout.exchanges):
        if failed := _failed(exchange):
            return replace(made, failed=failed, turn=turn if exchange.recorded.response else 0)
        if what := _no_reply(exchange):
            return replace(made, failed=what)
        for client in able - unread.keys():
            if why := reads(exchange, client):
                unread[client] = why
    return replace(made, read={**dict.fromkeys(able), **unread})


def _failed(exchange: ParsedExchange) -> str | None:
    """Return why no client gets a reply; None if a 2xx response arrived."""
    response, failure = exchange.recorded.response, exchange.recorded.failure
    if failure is not None and failure.kind != "cut":
        return failure.message
    if response is None:
        return "no response"
    if response.good_status:
        return None
    return f"status {response.status}: {explanation(response)}"


def _no_reply(exchange: ParsedExchange) -> str | None:
    """Return what came with a 2xx status, if it is nothing that a client can parse."""
    response = exchange.recorded.response
    if response is None or exchange.reply is not None:
        return None
    if exchange.request.stream and re.search(r"^data:", response.text, re.M):
        return None
    try:
        json.loads(response.text)
    except ValueError:
        wanted = "events" if exchange.request.stream else "JSON"
        return f"the reply is {exchange.content_type or 'of no media type'}, and no {wanted}"
    return None


def shares(made: Sequence[Conversation], problems: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Yield "7 of 9 tool conversations: reason" for each kind, and whether it is most of them."""
    for calls, kind in ((True, "tool conversations"), (False, "conversations without a call")):
        for streams in (False, True):
            those = [c for c in made if (c.calls, c.mode == "streaming") == (calls, streams)]
            reasons = [problems[c.record] for c in those if c.record in problems]
            if reasons:
                name = f"streamed {kind}" if streams else kind
                reason = max(reasons, key=reasons.count)
                text = f"{len(reasons)} of {len(those)} {name}: {reason}"
                yield text, 2 * len(reasons) >= len(those)
