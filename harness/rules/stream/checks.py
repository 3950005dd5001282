"""Streams of both APIs, and the grammar of Chat Completions streams."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from harness.api import chat_grammar as grammar
from harness.api.fields import both_ends, failure_reason, json_object, nested, objects
from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.api.sse import DONE
from harness.api.stream_events import Violation
from harness.records.conditions import MODES, Api
from harness.records.rollouts import Lost
from harness.records.scores import Finding, Score, Severity
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.subjects import (
    delivered,
    exchanges,
    good_statuses,
    streams,
    timed_streams,
)
from harness.rules.habits import BROKEN_STREAMS, Habit, unmeasured
from harness.rules.rule import CHAT_STREAM, GUIDE, SERVER_SENT_EVENTS, Problem, WarnsInRecordings

family = Family("stream", CHAT_STREAM, component="events", modes=("streaming",))

# Requests, and tries of each, which a network does not break all by chance.
_FEWEST_CUT_STREAMS = 2
# Tokens per second; no known server decodes a single reply this fast.
_TOO_FAST = 20_000
# A stream arrives in a burst if its reader waits for this share of the total time, and at least
# for this many seconds.
_WAITING_SHARE, _WAITING_SECONDS = 0.9, 1.0


@dataclass(frozen=True)
class Grammar:
    """A rule of the grammar of streams, which one check reports; the fields are as in `Rule`.

    With `only`, the check judges the streams that violate it, and those whose replies can: for
    example, only a stream with a call can violate a rule about calls.
    """

    severity: Severity
    text: str
    component: str | None = None
    fix: str | None = None
    reads: tuple[Lost, ...] = ()
    only: Callable[[Reply], object] | None = None
    habit: Habit | None = None


def grammar_checks(to: Family, api: Api, rules: Mapping[str, Grammar]) -> None:
    """Register a check for each grammar rule; it reports the first violation in a stream."""
    for name, rule in rules.items():
        to.check(
            f"{api}.stream.{name}",
            streams,
            None if rule.only is None else partial(_can_violate, name, rule.only),
            apis=(api,),
            severity=rule.severity,
            text=rule.text,
            component=rule.component,
            fix=rule.fix,
            reads=rule.reads,
            habit=rule.habit,
        )(partial(_judge, name))


def _first_violation(rule_id: str, exchange: ParsedExchange) -> Violation | None:
    return next((violation for violation in exchange.violations if violation.rule == rule_id), None)


def _can_violate(rule_id: str, only: Callable[[Reply], object], exchange: ParsedExchange) -> object:
    reply = exchange.reply
    return _first_violation(rule_id, exchange) or (reply is not None and only(reply))


def _judge(rule_id: str, exchange: ParsedExchange) -> Iterator[Problem]:
    first = _first_violation(rule_id, exchange)
    if first is not None:
        yield Problem(exchange, first.message, first.expected, first.got, first.path, first.event)


@family.check(
    "stream.content_type",
    delivered,
    source=SERVER_SENT_EVENTS,
    fix="Send streams as text/event-stream.",
    reads=("headers",),
    component="unreadable",
)
def _content_type(exchange: ParsedExchange) -> Iterator[Problem]:
    """A streaming reply has the media type text/event-stream.

    Clients select their parser by it; browsers reject any other type. A header that is sent twice
    is a warning: some clients join both values, and compare them as one text.
    """
    websocket = exchange.recorded.request.over_websocket
    sent = exchange.header("content-type")
    if exchange.content_type == "text/event-stream" and "," in sent:
        message = "The header content-type is sent more than once."
        yield Problem(exchange, message, "text/event-stream", sent, severity="warning")
    elif exchange.content_type != "text/event-stream" and not websocket:
        message = "The request set stream, but the content type is not text/event-stream."
        got = exchange.content_type or "no content-type"
        yield Problem(exchange, message, "text/event-stream", got)


@family.check(
    "stream.json",
    exchanges,
    fix="Write the data of every event as JSON on one line.",
    reads=("framing",),
    component="unreadable",
)
def _event_json(exchange: ParsedExchange) -> Iterator[Problem]:
    """The data of every event is a JSON object, or the final [DONE] of Chat Completions.

    Clients parse each event as JSON and abort on invalid data. A blank line ends an event, so one
    in which the connection broke is none.
    """
    broke = exchange.recorded.failure is not None
    for event in exchange.events[: -1 if broke else None]:
        if event.data is None and not (event.is_done or event.is_error):
            message = "The data of an event is not a JSON object."
            lines = event.text.split("\n")
            if len(lines) > 1 and all(json_object(line) for line in lines if line.strip() != DONE):
                message = "No blank line separates the events, so clients read them as one."
            yield Problem(exchange, message, "a JSON object", event.text, event=event.number)


@family.check("stream.error_event", good_statuses, habit=BROKEN_STREAMS, component="interrupted")
def _error_event(exchange: ParsedExchange) -> Iterator[Problem]:
    """A stream that began with status 200 contains no error event.

    Many clients ignore error events and show a truncated answer. An overload may cause one
    occasionally. A chunk with an error in its choice, or with the finish_reason error, is also
    reported.
    """
    for event in exchange.error_events:
        where = "midway" if exchange.text_times else "at its beginning"
        kind = event.type if event.type == "response.failed" else "an error event"
        if any("finish_reason" in choice for choice in objects(nested(event.data, "choices"))):
            kind = "an error in a choice"
        reason = failure_reason(event.data or {})
        # Numbers and ids make no other kind of failure.
        said = both_ends(re.sub(r"\w*\d\w*", "…", " ".join(reason.split())), 200)
        message = f"The stream fails {where}, with {kind}" + (f": {said}" if said else ".")
        got = both_ends(reason or event.text)
        yield Problem(exchange, message, "the rest of the reply", got, event=event.number)


@family.check(
    "stream.cut",
    good_statuses,
    source=GUIDE,
    habit=BROKEN_STREAMS,
    relations=(WarnsInRecordings("recorded_cut"),),
    component="interrupted",
)
def _cut(exchange: ParsedExchange) -> Iterator[Problem]:
    """A stream is sent to its end.

    A connection may break occasionally; more often the server failed during generation. No other
    check judges what arrived before. A stream that the client left at a time limit is a timeout,
    and a stream that is not well-formed HTTP, or that does not end, is unreadable.
    """
    response, failure = exchange.recorded.response, exchange.recorded.failure
    left = failure is not None and failure.kind not in ("connect", "cut")
    if response is not None and not (response.complete or left):
        message = "The stream broke off before its end."
        last = exchange.events[-1].text if exchange.events else "no event"
        yield Problem(exchange, message, "the rest of the stream", last)


@family.cross_check(
    "stream.cut.always",
    lambda score: score.condition.mode == "streaming" and "stream.cut" in score.applicable,
    modes=MODES,
    relations=(WarnsInRecordings("recorded_cut"),),
    component="interrupted",
    fix="Raise the limit on the length or the time of a stream, and send streams to their end.",
    example=(
        "A load balancer resets long streams.",
        "https://github.com/BerriAI/litellm/issues/31865",
    ),
)
def cut_at_every_try(examined: Sequence[Score]) -> Iterator[Difference]:
    """No request has its stream cut on every try while other streams arrive.

    A network breaks streams at random, and not the same ones each time. A limit of the server, or
    of a load balancer before it, breaks all long streams.
    """
    tries: dict[tuple[str, str], list[tuple[Score, Finding | None]]] = defaultdict(list)
    for score in examined:
        broken = (finding for finding in score.findings if finding.id == "stream.cut")
        tries[score.task, score.sample].append((score, next(broken, None)))
    always = [
        made
        for made in tries.values()
        if len(made) >= _FEWEST_CUT_STREAMS and all(finding for _, finding in made)
    ]
    for score, finding in chain(*always) if len(always) >= _FEWEST_CUT_STREAMS else ():
        if finding is not None:
            message = "Every stream of this request breaks off."
            expected, got = finding.evidence.expected, finding.evidence.got
            yield message, evidence(score.record, "$", expected, got)


@family.check(
    "stream.burst",
    timed_streams,
    severity="warning",
    source=SERVER_SENT_EVENTS,
    habit=BROKEN_STREAMS._replace(share=0.1),
    component="events",
    fix="Send every event when its token is generated.",
    reads=("arrivals",),
)
def _burst(exchange: ParsedExchange) -> Iterator[Problem]:
    """A stream arrives while it is generated, not in one burst at the end.

    Otherwise a proxy or the server buffers the stream, and users wait for the complete answer.
    """
    # No server decodes as fast as _TOO_FAST, so a higher rate means buffering. A single piece of
    # text is also a burst.
    times = exchange.text_times
    usage = exchange.reply.usage if exchange.reply else None
    tokens = (usage.output_tokens or 0) if usage else 0
    if not times or times[0] < max(_WAITING_SECONDS, _WAITING_SHARE * times[-1]):
        return
    if times[-1] - times[0] < tokens / _TOO_FAST:
        message = "All text of the stream arrived at once."
        got = f"{tokens} tokens within {times[-1] - times[0]:.4f} s, after {times[0]:.1f} s"
        yield Problem(exchange, message, "text during generation", got)


@family.check(
    "reply.content_type",
    delivered,
    modes=("non-streaming",),
    fix=(
        "Send complete replies as application/json, and streams only if the request sets stream "
        "to true."
    ),
    reads=("headers",),
    component="unreadable",
)
def _json_content_type(exchange: ParsedExchange) -> Iterator[Problem]:
    """A non-streaming reply has the media type application/json.

    openai 7.59 (npm) gives its caller the body of another type as a string; openai 3.51 (Python)
    parses it (`make clients`). A body that is a stream is reported by `reply.unreadable`.
    """
    if exchange.content_type != "application/json" and not exchange.events:
        message = "A JSON reply does not have the media type of JSON."
        got = exchange.content_type or "no content-type"
        yield Problem(exchange, message, "application/json", got)


_FINISH_ONCE = "Send finish_reason in the last chunk of every choice, and only there."
_NAMED_ONCE = "Send the id, the name and the type of a call in its first delta only."
_NUMBERED = "Number the calls of a choice from 0, in each of their deltas."


def _has_calls(reply: Reply) -> object:
    return reply.calls


grammar_checks(
    family,
    "chat",
    {
        grammar.DONE_MARK: Grammar(
            "error",
            "A stream has a `data: [DONE]` event, and no output or usage follows it. Clients stop "
            "reading there, and use it to tell a finished stream from a broken one.",
            fix="End every stream with `data: [DONE]`.",
            reads=("framing",),
        ),
        grammar.DONE_REPEATED: Grammar(
            "warning",
            "A stream has `data: [DONE]` only once. Clients that read on take the second one for "
            "the end of the next stream, or fail.",
            fix="End every stream with one `data: [DONE]`.",
            reads=("framing",),
        ),
        grammar.FINISH: Grammar(
            "error",
            "A stream has a chunk with finish_reason. Clients that wait for it take the stream "
            "for a broken one, and drop the answer or the calls.",
            fix=_FINISH_ONCE,
        ),
        grammar.FINISH_FOLLOWED: Grammar(
            "error",
            "No output and no other finish_reason follows the finish_reason. Some clients stop "
            "reading there.",
            fix=_FINISH_ONCE,
        ),
        grammar.FINISH_REPEATED: Grammar(
            "warning",
            "Only one chunk has a finish_reason. Some gateways repeat it with the usage; most "
            "clients use the last one.",
            fix=_FINISH_ONCE,
        ),
        grammar.ROLE: Grammar(
            "warning",
            "The first delta has the role assistant. Most clients assume this role.",
            fix="Name the role in the first delta of every choice.",
            reads=("fields",),
        ),
        grammar.ID: Grammar(
            "error",
            "All chunks of a stream have the same id. Clients assemble messages by id.",
            reads=("fields",),
        ),
        grammar.TOOL_CALLS: Grammar(
            "error",
            "A streamed tool call starts with its id and name, which later deltas do not change or "
            "name again. Clients send the id back; they keep one piece of a name, or append all.",
            fix=_NAMED_ONCE,
            only=_has_calls,
        ),
        grammar.TOOL_CALLS_INDEX: Grammar(
            "error",
            "Every delta of a tool call has the index of the call. Clients assemble calls by it.",
            fix=_NUMBERED,
            only=_has_calls,
        ),
        grammar.TOOL_CALLS_NUMBERS: Grammar(
            "error",
            "The calls of a choice have the indices 0, 1, 2, and so on. The stream helper of "
            "OpenAI's SDK takes the index for the place in its list of calls.",
            fix=_NUMBERED,
            only=_has_calls,
        ),
        grammar.TOOL_CALLS_TYPE: Grammar(
            "error",
            "The first delta of a tool call has its type; later ones have none, or the same. "
            "Without it, OpenAI's stream helper for npm and the AI SDK's providers for Groq and "
            "OpenRouter raise an error; OpenAI's helper for Python copies a null.",
            fix=_NAMED_ONCE,
            only=_has_calls,
        ),
        grammar.TOOL_CALLS_REPEATED: Grammar(
            "warning",
            "The id of a streamed tool call is sent once. Clients that concatenate all strings of "
            "the deltas get it twice.",
            fix=_NAMED_ONCE,
            only=_has_calls,
        ),
        grammar.ORDER: Grammar(
            "error",
            "No CoT follows the end of the answer. Clients show the answer from its first delta, "
            "and treat the CoT as complete.",
            only=lambda reply: reply.reasoning and reply.text,
            habit=unmeasured(0.02),
        ),
    },
)
