"""The conversations that clients would have: a tool is called, or a text is read.

The tool cases, the tool loops and the texts of echo and parity are such conversations, in the form
of request that all clients can send, and so is recorded traffic. Of the other probes, those count
whose replies are whole: a refusal, or a reply that a limit cut, may be what the probe is about.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from harness.api.fields import objects
from harness.api.parsed_rollout import ParsedExchange, ParsedRollout
from harness.api.sdk_types import shape_of
from harness.api.statuses import explanation, without_reply
from harness.records.conditions import Api, Mode
from harness.records.rollouts import Rollout
from harness.records.scores import Score
from harness.rules.clients.damages import Found, damages_of, is_cut
from harness.rules.clients.needs import CONTENT_RULES
from harness.rules.clients.sdk import reading, reads

TASKS = frozenset({"tool_calling", "tools.loop", "echo", "parity"})
RECORDED = "traffic"
"""The task of imported conversations."""
_MOST = 12
"""Conversations of a kind that are read over an API and in a mode: the shortest."""
NOTHING: Mapping[str, frozenset[str]] = {}
_Damaged = tuple[frozenset[tuple[str, Found]], frozenset[str]]
"""The damages of a conversation, and the rules that found what the bytes do not show."""


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
    own: bool = True  # whether it has the form that all clients can send, so that it is read
    damages: Mapping[str, Found] = field(default_factory=dict)  # what its replies have
    read: Mapping[str, str | None] = field(default_factory=dict)
    """By client that is installed and read all replies: why it gets nothing usable, if so."""


def is_conversation(parsed: ParsedRollout) -> bool:
    """Whether a rollout is the first try of a conversation."""
    if (recording := parsed.rollout.recording) is not None:
        return "extras" not in recording.lost and _is_whole(parsed)
    return parsed.rollout.attempt == 1 and (parsed.rollout.task in TASKS or _is_whole(parsed))


def _is_whole(parsed: ParsedRollout) -> bool:
    """Whether all replies arrived over HTTP, and functions alone were offered.

    What a limit cut shows no conversation, unless its bytes break clients.
    """
    cut = any(exchange.truncated for exchange in parsed.exchanges)
    damaged = cut and any(seen for exchange in parsed.exchanges for seen in damages_of(exchange))
    return bool(parsed.exchanges) and all(
        exchange.delivered
        and not exchange.request.over_socket
        and (damaged or not exchange.truncated)
        and all(
            tool.get("type", "function") == "function"
            for tool in objects(exchange.request.body.get("tools"))
        )
        for exchange in parsed.exchanges
    )


def conversations(
    rollouts: Iterable[ParsedRollout], damaged: Mapping[str, frozenset[str]] = NOTHING
) -> tuple[Conversation, ...]:
    """Read those of the rollouts that were answered; one that was made again alone counts once.

    `damaged` has, by record, the rules that found what breaks clients (see `damaging`). Of the
    tasks and the recordings, the shortest of each kind are read, one of each form; of the other
    probes only damaged ones, the shortest with the same damages. The others with these do to
    clients what most of those that were read do.
    """
    last = {_again(parsed.rollout): parsed for parsed in rollouts}
    alike: dict[tuple[str, Api, Mode, _Damaged], list[ParsedRollout]] = defaultdict(list)
    for parsed in last.values():
        if not any(without_reply(exchange.recorded) for exchange in parsed.exchanges):
            task = parsed.rollout.task if _has_own_form(parsed) else ""
            seen = {name: found for each in parsed.exchanges for name, found in damages_of(each)}
            found = frozenset(seen.items()), damaged.get(parsed.rollout.id, frozenset())
            alike[task, parsed.rollout.api, parsed.mode, found].append(parsed)
    return tuple(
        replace(made, damages=dict(seen))
        for (task, _, _, (seen, rules)), those in alike.items()
        for made in _like_the_shortest(those, unread=not (task or seen or rules))
    )


def damaging(scores: Iterable[Score]) -> Mapping[str, frozenset[str]]:
    """Return, by record, the rules with findings that tell what breaks clients."""
    found = ((s.record, CONTENT_RULES.intersection(f.id for f in s.findings)) for s in scores)
    return {record: rules for record, rules in found if rules}


def _has_own_form(parsed: ParsedRollout) -> bool:
    return parsed.rollout.task in (*TASKS, RECORDED)


def _again(rollout: Rollout) -> object:
    """Return what the repetitions of a conversation have in common."""
    recorded = rollout.task == RECORDED
    return rollout.id if recorded else (rollout.task, rollout.sample, rollout.condition)


def _like_the_shortest(those: Sequence[ParsedRollout], *, unread: bool) -> Iterator[Conversation]:
    """Yield the conversations with equal findings, of which the shortest of each form are read."""
    of_form: dict[object, Conversation] = {}
    read: dict[bool, list[Conversation]] = defaultdict(list)  # with a call, and without one
    usual: dict[bool, Conversation] = {}
    shortest = sorted(those, key=lambda one: sum(len(each.events) for each in one.exchanges))
    for at, parsed in enumerate(shortest):
        made = _kind(parsed)
        if unread or any(map(is_cut, parsed.exchanges)):
            yield made  # what programs do with a cut reply is their own
            continue
        if at < _MOST or made.calls not in read:
            form = made.calls, _form(parsed)
            like = of_form[form] = of_form.get(form) or _read(parsed)
            read[made.calls].append(like)
        else:
            like = usual[made.calls] = usual.get(made.calls) or _usual(read[made.calls])
        yield replace(made, failed=like.failed, turn=like.turn, read=like.read)


def _usual(read: Sequence[Conversation]) -> Conversation:
    """Return the first of those with the most frequent result."""
    results = [(one.failed, one.read) for one in read]
    return max(read, key=lambda one: results.count((one.failed, one.read)))


def _form(parsed: ParsedRollout) -> object:
    """Return what clients can stumble over: the forms of the replies without texts and numbers."""
    return tuple(
        tuple(form for form, _ in groupby(_forms(exchange))) for exchange in parsed.exchanges
    )


def _forms(exchange: ParsedExchange) -> Iterator[object]:
    yield exchange.recorded.failure is None, exchange.content_type
    yield shape_of(exchange.body or {})
    response = exchange.recorded.response
    parts = response.parts if response else ()
    for event in exchange.events:
        framing = parts[event.number].raw.replace(event.text, "", 1)
        yield framing, event.problem, shape_of(event.data or {})


def _kind(rollout: ParsedRollout) -> Conversation:
    # Of an unreadable reply to an offer of tools, a call is expected.
    calls = any(
        exchange.request.functions if exchange.reply is None else exchange.reply.calls
        for exchange in rollout.exchanges
    )
    readable = all(exchange.reply is not None for exchange in rollout.exchanges)
    made = Conversation(rollout.rollout.id, rollout.rollout.api, rollout.mode, calls, readable)
    return replace(made, own=_has_own_form(rollout))


def _read(rollout: ParsedRollout) -> Conversation:
    made = _kind(rollout)
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
    except (ValueError, RecursionError):
        wanted = "events" if exchange.request.stream else "JSON"
        return f"the reply is {exchange.content_type or 'of no media type'}, and no {wanted}"
    return None


def shares(made: Sequence[Conversation], problems: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Yield "7 of 9 tool conversations: reason" for each kind, and whether it is most of them.

    Most of those in the form of all clients are enough: what broke others may be unread.
    """
    for calls, kind in ((True, "tool conversations"), (False, "conversations without a call")):
        for streams in (False, True):
            those = [c for c in made if (c.calls, c.mode == "streaming") == (calls, streams)]
            own = [c for c in those if c.own]
            bad = [c for c in those if c.record in problems]
            reasons = [problems[c.record] for c in bad]
            if bad:
                those = own if all(c.own for c in bad) else those
                name = f"streamed {kind}" if streams else kind
                reason = max(reasons, key=reasons.count)
                text = f"{len(reasons)} of {len(those)} {name}: {reason}"
                most_own = bool(own) and 2 * sum(c.own for c in bad) >= len(own)
                yield text, most_own or 2 * len(bad) >= len(those)
