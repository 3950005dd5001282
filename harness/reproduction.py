"""Reproduce a finding: send its requests again, judge the replies, and reduce the request.

The requests are also written as curl commands, as Python, and as the text of an issue.

A smaller variant has fewer tools, options and turns, and shorter texts. It stays a valid
conversation: tool results are removed together with their calls, and at least one user message
remains.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from operator import attrgetter
from typing import Any, TypeVar

from harness.api import DIALECTS
from harness.api.fields import objects
from harness.api.parsed_rollout import ParsedRollout, parse_rollout
from harness.checks import SINGLE_CHECKS, examine
from harness.checks.rules import Rule
from harness.errors import ConfigurationError
from harness.probes.probe import Probe, ProbeOptions
from harness.probes.rule_results import RULES
from harness.records.analysis import Analysis, RuleResult
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Rollout
from harness.records.scores import Finding
from harness.run.tool_loop import run_attempt
from harness.tasks.probing import ProbeTask
from harness.text import suggestion
from harness.transport.interface import Transport
from harness.transport.redact import REDACTED

CONTINUES = "previous_response_id"


@dataclass(frozen=True)
class Subject:
    """One finding to reproduce."""

    result: RuleResult  # of its rule in the run
    finding: Finding
    rollout: Rollout  # with the evidence
    others: tuple[Rollout, ...] = ()  # one rollout of each other request that a probe compares

    @property
    def rule(self) -> Rule:
        """The rule that was violated."""
        return RULES[self.result.check.id]

    @property
    def exchange(self) -> Exchange:
        """The exchange with the evidence."""
        return self.rollout.exchanges[self.finding.evidence.exchange]

    @property
    def requests(self) -> tuple[Exchange, ...]:
        """The exchanges whose requests must be sent in this order.

        A request contains the conversation so far, unless it continues a stored response.
        """
        last = self.finding.evidence.exchange
        if CONTINUES in (self.exchange.request.body or {}):
            return self.rollout.exchanges[: last + 1]
        return (self.exchange,)

    @property
    def body(self) -> Mapping[str, Any] | None:
        """The body of the only request to send; None if there are several, or if it has no body."""
        return self.exchange.request.body if len(self.requests) == 1 else None

    @property
    def single(self) -> bool:
        """Whether one rollout shows the finding: a check of single rollouts found it."""
        return self.result.check.id in SINGLE_CHECKS


def choose(
    analysis: Analysis, rule_id: str, record: str | None = None
) -> tuple[RuleResult, Finding]:
    """The first finding of a rule in a run, or that in a record. Raises ConfigurationError."""
    for result in analysis.checks:
        for example in result.examples if result.check.id == rule_id else ():
            if record in (None, example.evidence.record):
                return result, example
    where = "" if record is None else f" with an example in {record}"
    known = [result.check.id for result in analysis.checks if result.examples]
    hint = suggestion(rule_id, known) if known else "it has no findings."
    raise ConfigurationError(f"There is no finding {rule_id!r}{where} in this run; {hint}")


def gather(result: RuleResult, finding: Finding, rollouts: Iterable[Rollout]) -> Subject:
    """Return the rollout of a finding, and those compared with it. Raises ConfigurationError."""
    rule = RULES[result.check.id]
    uses = rule.uses if isinstance(rule, Probe) else ()
    found: Rollout | None = None
    compared: dict[str, Rollout] = {}
    for rollout in rollouts:
        if rollout.id == finding.evidence.record:
            found = rollout
        elif isinstance(rule, Probe) and rollout.task == rule.group.name and rollout.sample in uses:
            compared.setdefault(f"{rollout.api}/{rollout.sample}", rollout)
    if found is None or len(found.exchanges) <= finding.evidence.exchange:
        raise ConfigurationError(
            f"the run lacks the record {finding.evidence.record} of the finding; "
            "judge it again with: gpt-oss-verify recheck RUN"
        )
    same = [compared.get(f"{found.api}/{name}") for name in uses if name != found.sample]
    return Subject(result, finding, found, tuple(each for each in same if each is not None))


Body = Mapping[str, Any]
T = TypeVar("T")

REQUIRED = frozenset({"model", "messages", "input", "stream", "prompt", "skip_special_tokens"})
SHORTEST_TEXT = 80  # characters up to which a text is not shortened


def smaller(body: Body) -> Iterator[Body]:
    """Variants of a request that each lack one part, largest removals first."""
    yield from _without_tools(body)
    for option in body:
        if option not in REQUIRED and option != "tools":
            yield {name: value for name, value in body.items() if name != option}
    for name in ("messages", "input"):
        if isinstance(items := body.get(name), list):
            for kept in (*_fewer_turns(items), *_shorter(items)):
                yield {**body, name: kept}


def size(body: Body) -> int:
    """Return the number of characters of all texts and names in a request."""
    return len(repr(dict(body)))


def _without_tools(body: Body) -> Iterator[Body]:
    tools = body.get("tools")
    if not isinstance(tools, list) or not tools:
        return
    yield {name: value for name, value in body.items() if name not in ("tools", "tool_choice")}
    for kept in _fewer(tools):
        yield {**body, "tools": kept}


def _fewer_turns(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the conversation without some of its turns."""
    for kept in _fewer(list(_turns(items))):
        flat = [item for turn in kept for item in turn]
        if any(item.get("role") == "user" for item in objects(flat)):
            yield flat


def _turns(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Groups of items that belong together: a message, or calls with their CoT and results."""
    turn: list[Any] = []
    for item in items:
        kind = _kind(item)
        begins = kind == "message" or (kind == "reply" and turn and _kind(turn[-1]) == "result")
        if begins and turn:
            yield turn
            turn = []
        turn.append(item)
    if turn:
        yield turn


def _kind(item: object) -> str:
    """`result`, `reply` (CoT or a call, which results may follow), or `message`."""
    if not isinstance(item, dict):
        return "message"
    kind, role = item.get("type"), item.get("role")
    if role == "tool" or kind == "function_call_output":
        return "result"
    return (
        "reply" if kind in ("reasoning", "function_call") or item.get("tool_calls") else "message"
    )


def _fewer(items: Sequence[T]) -> Iterator[list[T]]:
    """Each half of the items, then all items but one."""
    half = len(items) // 2
    if half > 1:
        yield list(items[half:])
        yield list(items[:half])
    for dropped in range(len(items) if half else 0):
        yield [*items[:dropped], *items[dropped + 1 :]]


def _shorter(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the conversation with the first half of one long text."""
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            continue
        for name in ("content", "output"):
            text = item.get(name)
            if isinstance(text, str) and len(text) > SHORTEST_TEXT:
                half = {**item, name: text[: len(text) // 2]}
                yield [*items[:place], half, *items[place + 1 :]]


Progress = Callable[[str], None]


@dataclass(frozen=True)
class Repeats:
    """How often a finding was reproduced: `seen` of `sent` repetitions; `failed` had no reply."""

    seen: int
    sent: int
    failed: int = 0

    def __add__(self, other: Repeats) -> Repeats:
        return Repeats(self.seen + other.seen, self.sent + other.sent, self.failed + other.failed)


async def resend(
    subject: Subject, transport: Transport, times: int, options: ProbeOptions
) -> Repeats:
    """Repeat the requests of a finding. Raises ConfigurationError if its rule compares replies."""
    if isinstance(subject.rule, Probe):
        return await _repeat_probe(subject.rule, transport, times, options)
    if not subject.single:
        raise ConfigurationError(
            f"{subject.rule.id} compares the replies of a whole run; repeat the run to see it again"
        )
    return await _repeat(
        subject, transport, [each.request.body for each in subject.requests], times
    )


async def shrink(
    subject: Subject, body: Body, transport: Transport, *, times: int, most: int, say: Progress
) -> Body:
    """Return the smallest request that still showed the finding of a check.

    Parts of `body` are removed as long as the finding still shows. A variant is sent up to `times`
    times before it is rejected, and at most `most` requests are sent in total.
    """
    sent, rejected = 0, False
    while not rejected:
        rejected = True
        for candidate in smaller(body):
            if sent + times > most:
                return body
            sent += times
            if (await _repeat(subject, transport, [candidate], times)).seen:
                body, rejected = candidate, False
                say(f"{sent} requests: still reproduced with {_outline(body)}")
                break
    return body


async def _repeat(
    subject: Subject, transport: Transport, bodies: Sequence[Body | None], times: int
) -> Repeats:
    """Send a conversation several times concurrently."""
    made = await asyncio.gather(*(_once(subject, transport, bodies) for _ in range(times)))
    return sum(made, Repeats(0, 0))


async def _once(subject: Subject, transport: Transport, bodies: Sequence[Body | None]) -> Repeats:
    """Send one conversation, and judge its last reply."""
    recorded, path = subject.rollout, DIALECTS[subject.rollout.api].path
    exchange: Exchange | None = None
    for body, before in zip(bodies, subject.requests, strict=False):
        sent: Body | str | None = body if body is not None else before.request.text
        if isinstance(sent, Mapping) and CONTINUES in sent:
            sent = {**sent, CONTINUES: _reply_id(recorded, exchange)}
        exchange = await transport.send(path, sent)
    exchanges = () if exchange is None else (exchange,)
    again = recorded.model_copy(update={"exchanges": exchanges, "end": "answered"})
    _, findings = examine(parse_rollout(again))
    seen = any(finding.id == subject.rule.id for finding in findings)
    arrived = exchange is not None and exchange.response is not None
    return Repeats(int(seen), 1, int(not arrived))


def _reply_id(recorded: Rollout, exchange: Exchange | None) -> object:
    """Return the id of the response that the next request continues."""
    if exchange is None:
        return None
    last = parse_rollout(recorded.model_copy(update={"exchanges": (exchange,)})).exchanges[-1]
    return None if last.reply is None else last.reply.raw.get("id")


async def _repeat_probe(
    probe: Probe, transport: Transport, times: int, options: ProbeOptions
) -> Repeats:
    repeats = Repeats(0, 0)
    for _ in range(times):
        task = ProbeTask(probe.group, [probe], options)
        arrived = True
        replies: dict[str, list[ParsedRollout]] = defaultdict(list)
        for attempt in task.all_attempts():
            made = await run_attempt(attempt, transport, DIALECTS[attempt.condition.api])
            arrived = arrived and all(each.response is not None for each in made.exchanges)
            replies[made.sample].append(parse_rollout(made))
        results = task.probe_results(replies)
        seen = any(result.findings for result in results if result.check.id == probe.id)
        repeats += Repeats(int(seen), 1, int(not arrived))
    return repeats


def _outline(body: Body) -> str:
    """Return the parts of a request in a few words."""
    items = body.get("messages", body.get("input"))
    turns = len(items) if isinstance(items, list) else 1
    tools = len(body.get("tools") or ())
    return f"messages: {turns}, tools: {tools}"


KEY_VARIABLE = "API_KEY"
NOT_SENT = frozenset({"accept", "accept-encoding", "user-agent", "content-type", "authorization"})
"""Headers that a command does not repeat; the key is added by name."""
LONGEST_REPLY = 3_000  # characters of a response in an issue text


def curl(exchange: Exchange, body: Body | str | None, key: str | None) -> str:
    """A request as a curl command with this body; `key` is the environment variable of the key."""
    lines = [f"curl -sS {shlex.quote(exchange.request.url)}", "-H 'Content-Type: application/json'"]
    lines += _key_headers(exchange, key)
    if body is not None:
        text = (
            body if isinstance(body, str) else json.dumps(dict(body), ensure_ascii=False, indent=1)
        )
        lines.append(f"-d {shlex.quote(text)}")
    return " \\\n  ".join(lines)


def python(api: Api, base_url: str, bodies: Sequence[Body], key: str | None) -> str:
    """Requests as a Python program with the openai package."""
    api_key = "'none'" if key is None else f"os.environ[{key!r}]"
    lines = [
        *(["import os", ""] if key else []),
        "from openai import OpenAI",
        "",
        f"client = OpenAI(base_url={base_url!r}, api_key={api_key}, max_retries=0)",
    ]
    for body in bodies:
        lines += _call(api, body, first=body is bodies[0])
    return "\n".join(lines)


def _call(api: Api, body: Body, *, first: bool) -> Iterator[str]:
    """A request; one that continues a stored response continues that of the previous request."""
    known = _parameters(api)
    others = {name: value for name, value in body.items() if name not in known}
    yield f"reply = client.{DIALECTS[api].sdk}.create("
    for name, value in body.items():
        if name in known:
            yield f"    {name}={'reply.id' if name == CONTINUES and not first else repr(value)},"
    if others:
        yield f"    extra_body={others!r},"
    yield ")"
    if body.get("stream"):
        yield "for event in reply:\n    print(event.model_dump_json())"
        if api == "responses":
            yield "reply = event.response"
    else:
        yield "print(reply.model_dump_json(indent=2))"


def issue(subject: Subject, commands: list[str], repeats: Repeats | None) -> str:
    """A finding as an issue in Markdown: what was sent, expected and received."""
    finding, about = subject.finding, subject.rule.about
    lines = [
        f"# {about.summary.rstrip('.')}: violated under {subject.rollout.condition.name}",
        "",
        finding.message,
        "",
        f"- Expected: {finding.evidence.expected}",
        f"- Received: {finding.evidence.got}",
        f"- Seen in a run: {subject.result.share} replies"
        + (f", and in {repeats.seen} of {repeats.sent} repetitions" if repeats else ""),
        f"- Specification: {about.source}",
    ]
    if about.why:
        lines.append(f"- Why it matters: {about.why}")
    lines += ["", "## Request", ""]
    for command in commands:
        lines += ["```sh", command, "```", ""]
    lines += ["## Response", "", "```", *_response(subject.exchange), "```", ""]
    lines.append(f"Found by the {about.kind} `{about.id}` of gpt-oss-verify.")
    return "\n".join(lines)


def _parameters(api: Api) -> Collection[str]:
    """Return the parameters of `create` in the openai package; others are sent as `extra_body`."""
    from openai import OpenAI

    create = attrgetter(f"{DIALECTS[api].sdk}.create")(OpenAI(api_key="-"))
    return signature(create).parameters


def _key_headers(exchange: Exchange, key: str | None) -> Iterator[str]:
    if key is not None:
        yield f'-H "Authorization: Bearer ${key}"'
    for name, value in exchange.request.headers.items():
        if name.lower() not in NOT_SENT:
            shown = f"${{{name.upper().replace('-', '_')}}}" if value == REDACTED else value
            quoted = f'"{name}: {shown}"' if value == REDACTED else shlex.quote(f"{name}: {value}")
            yield f"-H {quoted}"


def _response(exchange: Exchange) -> Iterator[str]:
    response = exchange.response
    if exchange.failure is not None:
        yield exchange.failure.message
    if response is None:
        return
    yield f"HTTP {response.status}"
    text = response.body or "\n\n".join(part.raw for part in response.parts)
    yield text if len(text) <= LONGEST_REPLY else f"{text[:LONGEST_REPLY]}…"
