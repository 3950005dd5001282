"""Reproduce a finding: send its requests again, judge the replies, and reduce the request.

The requests are also written as curl commands, as Python, and as the text of an issue.

A smaller variant has fewer tools, options and turns, and shorter texts. It stays a valid
conversation: tool results are removed together with their calls, and at least one user message
remains.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from inspect import signature
from operator import attrgetter
from typing import Any, TypeVar

from harness.api import DIALECTS
from harness.api.fields import objects
from harness.api.parsed_rollout import parse_rollout
from harness.api.statuses import without_reply
from harness.errors import ConfigurationError
from harness.records.analysis import Analysis, RuleResult
from harness.records.conditions import Api
from harness.records.redact import REDACTED
from harness.records.rollouts import SDK, Exchange, Rollout
from harness.records.scores import Finding
from harness.rules.catalogue import PROBES, RULES, SINGLE_CHECKS, examine
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import Probe, ProbeOptions, ProbeRequest
from harness.rules.rule import Rule
from harness.statistics.intervals import exact_bounds
from harness.statistics.recurrence import MISSED, fewest_tries
from harness.text import suggestion
from harness.transport.interface import Transport

CONTINUES = "previous_response_id"
Body = Mapping[str, Any]
Variants = Iterator[tuple[str, Body]]
"""Variants of a request that each lack one part, with the name of that part."""
T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """One finding to reproduce."""

    result: RuleResult  # of its rule in the run
    finding: Finding
    rollout: Rollout  # with the evidence
    others: tuple[Rollout, ...]  # those without which a probe does not find it
    options: ProbeOptions
    compared: Rollout | None = None  # the only one of `others` that the finding needs

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
    def enough(self) -> int:
        """The tries that show the finding with a probability of 95% at its rate in the run."""
        failures, tries = self.result.affected
        return max(USUAL_TRIES, fewest_tries(failures / tries)) if tries else USUAL_TRIES

    @property
    def of_run(self) -> bool:
        """Whether the rule compares the replies of a whole run."""
        return not isinstance(self.rule, Probe) and self.result.check.id not in SINGLE_CHECKS

    @property
    def difference(self) -> str:
        """What to look at in the reply and in the one that it is compared with."""
        evidence = self.finding.evidence
        what = f"`{evidence.path}` in both replies" if evidence.path else "both replies"
        return f"{what}: {evidence.got}, instead of {evidence.expected}"

    @property
    def body(self) -> Body | None:
        """The body of the only request to send; None if there are several, or if it has no body."""
        return self.exchange.request.body if len(self.requests) == 1 else None

    @property
    def continues(self) -> bool:
        """Whether a request names a response that only the server of the run may still store."""
        return any(CONTINUES in (sent.request.body or {}) for sent in self.requests)

    def shows(self, exchanges: Sequence[Exchange]) -> bool:
        """Whether the rule finds a problem in new exchanges for `requests`.

        A probe compares them with the recorded replies to its other requests.
        """
        rule, rollout = self.rule, self.rollout
        before = self.finding.evidence.exchange + 1 - len(exchanges)
        kept = rollout.exchanges[:before] if isinstance(rule, Probe) else ()
        changes = {"exchanges": (*kept, *exchanges), "end": "answered"}
        again = parse_rollout(rollout.model_copy(update=changes))
        if not isinstance(rule, Probe):
            return any(finding.id == rule.id for finding in examine(again)[1])
        rollouts = {rollout.sample: [again]}
        for other in self.others:
            rollouts.setdefault(other.sample, []).append(parse_rollout(other))
        responses = rule.group.responses(rollouts, rollout.api, self.options)
        try:
            problems = [problem for problem in rule.judge(responses) if problem is not None]
        except NotVerifiableError:
            return False
        return any(problem.exchange.recorded is exchanges[-1] for problem in problems)

    def smaller(self, body: Body) -> Variants:
        """Yield variants of a request that are still an experiment of the rule.

        A probe judges what its own request asks for. It can lose the tools that neither the finding
        nor the reply names, unless it is compared with other requests.
        """
        if not isinstance(self.rule, Probe):
            yield from smaller(body)
            return
        if self.others or not _request(self.rule, self.rollout).valid:
            return
        replies = (reply for _, reply in parse_rollout(self.rollout).replies)
        said = (self.finding.model_dump_json(), *(reply.generated for reply in replies))
        rest = json.dumps({**body, "tools": []}) + "".join(said)
        tools = objects(body.get("tools"))
        named = [tool for tool in tools if str(tool.get("function", tool).get("name")) in rest]
        if 0 < len(named) < len(tools):
            yield "the other tools", {**body, "tools": named}


def _request(probe: Probe, rollout: Rollout) -> ProbeRequest:
    """Return the request of a probe that a rollout sent."""
    return next(r for r in probe.group.requests(rollout.api) if r.id == rollout.sample)


def choose(
    analysis: Analysis,
    rollouts: Iterable[Rollout],
    options: ProbeOptions,
    rule_id: str,
    record: str | None = None,
) -> Subject:
    """Return the first finding of a rule in a run, or that in a record, with its evidence.

    Raises ConfigurationError if there is none.
    """
    examples = ((result, e) for result in analysis.checks for e in result.examples)
    named = (pair for pair in examples if pair[0].check.id == rule_id)
    result, finding = next(
        (p for p in named if record in (None, p[1].evidence.record)), (None, None)
    )
    if result is None or finding is None:
        where = "" if record is None else f" with an example in {record}"
        known = [result.check.id for result in analysis.checks if result.examples]
        hint = suggestion(rule_id, known) if known else "it has no findings."
        raise ConfigurationError(f"There is no finding {rule_id!r}{where} in this run; {hint}")
    rule = RULES[rule_id]
    task, uses = (rule.group.name, rule.uses) if isinstance(rule, Probe) else ("", ())
    evidence = finding.evidence
    shown = {evidence.record, evidence.compared}
    kept = [r for r in rollouts if r.id in shown or (r.task == task and r.sample in uses)]
    rollout = next((rollout for rollout in kept if rollout.id == evidence.record), None)
    if rollout is None or len(rollout.exchanges) <= evidence.exchange:
        raise ConfigurationError(
            f"the run lacks the record {evidence.record} of the finding; "
            "judge it again with: gpt-oss-verify recheck RUN"
        )
    alone = Subject(result, finding, rollout, (), options)
    if not alone.of_run and alone.shows(alone.requests):
        return alone
    others = tuple(other for other in kept if other is not rollout and other.api == rollout.api)
    compared = next((other for other in others if other.id == evidence.compared), None)
    return replace(alone, others=others, compared=compared)


LIMITS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
"""Without its limit of output tokens, a request may take minutes."""
REQUIRED = LIMITS | {"model", "messages", "input", "stream", "prompt", "skip_special_tokens"}
SHORTEST_TEXT = 80  # characters up to which a text is not shortened


def smaller(body: Body) -> Variants:
    """Variants of a request that each lack one part, largest removals first."""
    tools = body.get("tools")
    if isinstance(tools, list) and tools:
        unoffered = ("tools", "tool_choice")
        yield "tools", {name: value for name, value in body.items() if name not in unoffered}
        yield from (("some tools", {**body, "tools": kept}) for kept in _fewer(tools))
    for option in body:
        if option not in REQUIRED and option != "tools":
            rest = {name: value for name, value in body.items() if name != option}
            yield f"`{option}`", rest
    for name in ("messages", "input"):
        if isinstance(items := body.get(name), list):
            yield from (("some turns", {**body, name: kept}) for kept in _fewer_turns(items))
            yield from (("half of a text", {**body, name: kept}) for kept in _shorter(items))


def size(body: Body) -> int:
    """Return the number of characters of all texts and names in a request."""
    return len(repr(dict(body)))


def _fewer_turns(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield the conversation without some of its turns."""
    for kept in _fewer(list(_turns(items))):
        flat = [item for turn in kept for item in turn]
        if any(item.get("role") == "user" for item in objects(flat)):
            yield flat


def _turns(items: Sequence[Any]) -> Iterator[list[Any]]:
    """Groups of items that belong together: a message, or calls with their CoT and results."""
    turn: list[Any] = []
    before = "message"
    for item in items:
        known = item if isinstance(item, dict) else {}
        kind = known.get("type"), known.get("role"), bool(known.get("tool_calls"))
        now = "message"
        if "tool" in kind or "function_call_output" in kind:
            now = "result"
        elif "reasoning" in kind or "function_call" in kind or kind[-1]:
            now = "reply"
        if turn and (now == "message" or (now, before) == ("reply", "result")):
            yield turn
            turn = []
        turn, before = [*turn, item], now
    if turn:
        yield turn


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


@dataclass
class Outcome:
    """How often a finding was reproduced, and the smallest request that still showed it.

    `sent` counts the tries that ended, `unanswered` those of them that say nothing, because the
    server did not answer.
    """

    seen: int = 0
    sent: int = 0
    unanswered: int = 0
    smallest: Body | None = None

    @property
    def answered(self) -> int:
        """The tries that say something."""
        return self.sent - self.unanswered

    @property
    def unseen(self) -> str:
        """What tries without the finding show: `0 of 53: gone, or rarer than 1 in 18 (95%)`."""
        most = exact_bounds(0, self.answered, MISSED)[1]
        if self.answered < USUAL_TRIES:
            return f"0 of {self.answered}, which says little"
        return f"0 of {self.answered}: gone, or rarer than 1 in {1 / most:.0f} (95%)"


Progress = Callable[[str], None]
MOST_REQUESTS = 60  # for variants of a request, and by default for the request itself
USUAL_TRIES = 5  # fewer without a finding do not exclude that half of the replies have it
MOST_TRIES_OF_A_VARIANT = 15  # a finding that needs more is too rare to reduce its request
WAIT = 10  # seconds after which a step says what it waits for


async def experiment(
    subject: Subject,
    transport: Transport,
    outcome: Outcome,
    *,
    times: int,
    at_once: int,
    until_seen: bool,
    reduce: bool,
    say: Progress,
) -> None:
    """Repeat the requests of a finding, then reduce the request if it shows the finding again.

    The requests are sent `times` times, `at_once` at a time, or only `until_seen`. No variant is
    sent twice. `outcome` has the results so far, if this is cancelled.
    """
    say(f"Sending the request of {subject.rollout.id} {times} times, {at_once} at once.")
    usual = 0.0
    while outcome.sent < times and not (until_seen and outcome.seen):
        began = time.monotonic()
        batch = min(at_once, times - outcome.sent)
        await _repeat(subject, transport, outcome, subject.body, batch, say)
        if outcome.sent < times and not outcome.seen:
            say(f"Not seen in {outcome.sent} of {times} tries.")
        usual = max(usual, time.monotonic() - began)
    said = f"Reproduced in {outcome.seen} of {outcome.sent} tries"
    if not reduce or not outcome.seen or subject.body is None:
        say(f"{said}.")
        return
    tries = max(min(times, USUAL_TRIES), fewest_tries(outcome.seen / outcome.sent))
    if tries > MOST_TRIES_OF_A_VARIANT:
        say(f"{said}. That is too rare to reduce the request.")
        return
    say(f"{said}; reducing the request.")
    await _reduce(subject, transport, outcome, subject.body, tries, usual, say)


async def _reduce(
    subject: Subject,
    transport: Transport,
    outcome: Outcome,
    body: Body,
    tries: int,
    usual: float,
    say: Progress,
) -> None:
    """Leave out parts of a request as long as the rest shows the finding."""
    total, variants, reduced = 0, [body], True
    while reduced:
        reduced = False
        for part, candidate in subject.smaller(body):
            if candidate in variants:
                continue
            variants.append(candidate)
            if (total := total + tries) > MOST_REQUESTS:
                return
            tried = Outcome()
            await _repeat(subject, transport, tried, candidate, tries, say, usual)
            missed = "not reproduced" if tried.sent == tries else "too slow"
            shown = "still reproduced" if tried.seen else missed
            say(f"{total} requests: without {part}, {shown} ({size(candidate):,} characters)")
            if tried.seen:
                body = outcome.smallest = candidate
                reduced = True
                break
    if not total:
        say("No part of it can be left out.")


async def _repeat(
    subject: Subject,
    transport: Transport,
    outcome: Outcome,
    body: Body | None,
    times: int,
    say: Progress,
    usual: float | None = None,
) -> None:
    """Send a conversation several times at once, and count the results as they arrive.

    The first reply with the finding decides about a variant. Its replies may be endless: those that
    take longer than the `usual` seconds of the recorded request are not awaited.
    """
    began = time.monotonic()
    bodies = (
        [body] if body is not None else [exchange.request.body for exchange in subject.requests]
    )
    waiting = {asyncio.ensure_future(_once(subject, transport, bodies)) for _ in range(times)}
    try:
        while waiting and (usual is None or not outcome.seen):
            done, waiting = await asyncio.wait(
                waiting, timeout=WAIT, return_when=asyncio.FIRST_COMPLETED
            )
            if not done and usual is not None and time.monotonic() - began > usual:
                return
            if not done:
                say(f"waiting for {len(waiting)} of {times} replies")
            for exchanges in (task.result() for task in done):
                shown = subject.shows(exchanges)
                outcome.sent += 1
                outcome.seen += shown
                outcome.unanswered += not shown and without_reply(exchanges[-1])
    finally:
        for task in waiting:
            task.cancel()


async def _once(
    subject: Subject, transport: Transport, bodies: Sequence[Body | None]
) -> list[Exchange]:
    """Send one conversation."""
    path, rule = DIALECTS[subject.rollout.api].path, subject.rule
    sender = _request(rule, subject.rollout).sender if isinstance(rule, Probe) else SDK
    made: list[Exchange] = []
    for body, before in zip(bodies, subject.requests, strict=False):
        sent: Body | str | None = body if body is not None else before.request.text
        if isinstance(sent, Mapping) and CONTINUES in sent and made:
            again = subject.rollout.model_copy(update={"exchanges": tuple(made)})
            reply = parse_rollout(again).exchanges[-1].reply
            sent = {**sent, CONTINUES: None if reply is None else reply.raw.get("id")}
        made.append(await transport.send(path, sent, sender=sender))
    return made


KEY_VARIABLE = "API_KEY"
_NOT_SENT = re.compile(
    r"accept-encoding|user-agent|connection|content-type|authorization|x-stainless-.*"
)
"""Headers that a command does not repeat; the key is added by name."""
_MOST_LINES = 24  # of all requests and responses in the text of an issue
_LONGEST_LINE = 1_000  # characters of such a line of a response


def curl(
    exchange: Exchange, body: Body | str | None, key: str | None, indent: int | None = 1
) -> str:
    """A request as a curl command with this body; `key` is the environment variable of the key."""
    response = exchange.response
    compressed = "--compressed " if response and "content-encoding" in response.headers else ""
    url = shlex.quote(exchange.request.url)
    lines = [f"curl -sS {compressed}{url}", "-H 'Content-Type: application/json'"]
    lines += _key_headers(exchange, key)
    if isinstance(body, Mapping):
        body = json.dumps(dict(body), ensure_ascii=False, indent=indent)
    if body is not None:
        lines.append(f"-d {shlex.quote(body)}")
    return " \\\n  ".join(lines)


def python(
    api: Api, base_url: str, bodies: Sequence[Body], key: str | None, accept: str = SDK.accept
) -> str:
    """Requests as a Python program with the openai package; `accept` is the header `Accept`."""
    api_key = "'none'" if key is None else f"os.environ[{key!r}]"
    if accept != SDK.accept:
        api_key += f", default_headers={{'Accept': {accept!r}}}"
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


def issue(subject: Subject, commands: Sequence[str], outcome: Outcome) -> str:
    """A finding of a run as an issue in Markdown of at most 60 lines.

    It has what was sent, expected and received, and a command that tests the server again.
    `commands` send its requests, and then the one with which its reply is compared, if any.
    """
    finding, about = subject.finding, subject.rule.about
    lines = [
        f"# {finding.message.rstrip('.')} ({subject.rollout.condition.name})",
        "",
        about.summary,
        "",
        f"- Expected: {finding.evidence.expected}",
        f"- Received: {finding.evidence.shown}",
        f"- Seen in a run: {subject.result.share} replies"
        + (f", and in {outcome.seen} of {outcome.answered} repetitions" * bool(outcome.answered)),
        f"- Specification: {about.source}",
    ]
    if about.why:
        lines.append(f"- Why it matters: {about.why}")
    if subject.compared is not None:
        lines.append(f"- Compare: {subject.difference}")
    answers = [("Response", subject.exchange)]
    if subject.compared is not None:
        answers.append(("Response for comparison", subject.compared.exchanges[-1]))
    most = _MOST_LINES // (len(commands) + len(answers))
    titles = ["Request"] * len(subject.requests) + ["Request for comparison"]
    for title, command in zip(titles, commands, strict=False):
        lines += ["", f"## {title}", "", "```sh", command, "```"]
    for title, exchange in answers:
        lines += ["", f"## {title}", "", "```", *_response(exchange, most), "```"]
    origin = f"Found by the {about.kind} `{about.id}` of gpt-oss-verify {version('gpt-oss-verify')}"
    lines += ["", f"{origin}. This tests a server for it:", "", f"    {_command(subject)}"]
    return "\n".join(lines)


def _command(subject: Subject) -> str:
    """Return a command that tests the server for a finding, without the folder of the run."""
    rollout, only = subject.rollout, subject.rule.about.id
    sent_by = (p for p in PROBES.values() if p.group.name == rollout.task)
    if only not in PROBES:
        only = next((p.id for p in sent_by if rollout.sample in p.uses), only)
    address = subject.exchange.request.url.removesuffix(DIALECTS[rollout.api].path)
    model = shlex.quote(rollout.condition.model)
    return f"gpt-oss-verify --base-url {shlex.quote(address)} --model {model} --only {only}"


def _parameters(api: Api) -> Collection[str]:
    """Return the parameters of `create` in the openai package; others are sent as `extra_body`."""
    from openai import OpenAI

    create = attrgetter(f"{DIALECTS[api].sdk}.create")(OpenAI(api_key="-"))
    return signature(create).parameters


def _key_headers(exchange: Exchange, key: str | None) -> Iterator[str]:
    if key is not None:
        yield f'-H "Authorization: Bearer ${key}"'
    for name, value in exchange.request.headers.items():
        if not _NOT_SENT.fullmatch(name.lower()):
            shown = f"${{{name.upper().replace('-', '_')}}}" if value == REDACTED else value
            quoted = f'"{name}: {shown}"' if value == REDACTED else shlex.quote(f"{name}: {value}")
            yield f"-H {quoted}"


def _response(exchange: Exchange, most: int) -> Iterator[str]:
    response = exchange.response
    if exchange.failure is not None:
        yield exchange.failure.message
    if response is None:
        return
    yield f"HTTP {response.status}"
    lines = [line for line in response.text.splitlines() if line]
    yield from (x if len(x) <= _LONGEST_LINE else f"{x[:_LONGEST_LINE]}…" for x in lines[:most])
    if len(lines) > most:
        yield f"… {len(lines) - most} more lines"
