"""Requests that were rejected, failed, or succeeded only after a retry.

A provider may reject what gpt-oss cannot do (images, sound, files), tools that the provider itself
would have to run, prompts beyond its context length, options that it may lack, and encrypted CoT of
another server, if the rejection names the option or the encrypted CoT.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.api.fields import both_ends, objects
from harness.api.parsed_request import ParsedRequest
from harness.api.parsed_rollout import ParsedExchange
from harness.api.statuses import GATEWAY, explanation, meaning, refuses_streams
from harness.records.conditions import APIS, EFFORTS
from harness.records.replies import Row, Tries
from harness.records.scores import Score
from harness.rules.check import Difference, Family, evidence
from harness.rules.evidence.subjects import delivered, exchanges
from harness.rules.habits import FAILED_REQUESTS
from harness.rules.refusals import (
    foreign_reason,
    is_about_length,
    may_be_too_long,
    outcome,
)
from harness.rules.rule import CHAT, ERRORS, GUIDE, Problem
from harness.statistics.rates import FALSE_ALARM

family = Family("errors", GUIDE, component="refusals")

# Error messages of the harmony parser and of servers built on it, whatever the status.
_PARSER_ERROR = re.compile(
    r"unexpected tokens? .{0,40}(?:message header|start token)|HarmonyError|harmony pars"
    r"|channel marker present but no channel",
    re.IGNORECASE,
)


_FEWEST_OTHERS = 20  # other requests that show that a server was up while one kept failing
_FEWEST_BETWEEN = 3  # assumed: those that show it between the failures in the run and that alone
_FEWEST_LOCKOUTS = 2  # requests that show that a rejection is not that of one alone
_MANY_TOOLS = 8  # of one request: some servers limit their number
_REFUSED = frozenset({400, 422})  # statuses after which only another field helps
_OPTIONAL = ("logprobs", "top_logprobs", "previous_response_id")
_NO_TEXT = frozenset({"image_url", "input_image", "input_audio", "file", "input_file"})


@family.check(
    "request.refused",
    exchanges,
    lambda exchange: not (exchange.request.built_in or _other_parts(exchange.request)),
    apis=APIS,
    recordings=False,
)
def _refused(exchange: ParsedExchange) -> Iterator[Problem]:
    """Valid requests are not rejected.

    OpenAI's guide requires 0 invalid requests. Providers most often reject conversations that
    contain tool results or CoT. To refuse streams and say so is a warning.
    """
    response = exchange.recorded.response
    if response is not None and meaning(response) == "refusal":
        body = response.text
        if is_about_length(body) and may_be_too_long(exchange.request, body):
            return
        if any(option in body for option in _may_be_missing(exchange.request)):
            return
        if "encrypted_content" in body and _has_foreign_cot(exchange):
            return
        got = outcome(exchange)
        offered = len(exchange.request.functions)
        with_tools = f" with {offered} tools" if offered >= _MANY_TOOLS else ""
        # Numbers and ids make no other kind of refusal.
        reason = both_ends(re.sub(r"\w*\d\w*", "…", explanation(response, len(body))), 200)
        message = f"The provider rejected a valid request{with_tools}: {reason}"
        if refuses_streams(exchange.recorded):
            message = "The provider refuses streams, and says so."
            yield Problem(exchange, message, "a stream", got, severity="warning")
            return
        unrendered = exchange.received == "unrendered"
        yield Problem(exchange, message, "a reply", got, proven=unrendered)


@family.check(
    "request.refused.foreign",
    exchanges,
    lambda exchange: not exchange.good_status,
    severity="warning",
    source=ERRORS,
    reads=("fields", "extras"),
    fix="Name the parameters of the client's request, and check what the conversion adds to it.",
)
def _foreign_reason(exchange: ParsedExchange) -> Iterator[Problem]:
    """The reason of a refusal is something that the request has.

    If it is a parameter, a tool or a length that the client did not send, the server converted the
    request to another format, and the next server refused the result. Such a refusal does not show
    that the provider lacks the requested feature.
    """
    if reason := foreign_reason(exchange):
        expected = "a reply, or a refusal of what the client sent"
        message = f"The request is refused for {reason}."
        yield Problem(exchange, message, expected, outcome(exchange))


@family.check("request.failed", exchanges, habit=FAILED_REQUESTS, apis=APIS, component="failures")
def _failed(exchange: ParsedExchange) -> Iterator[Problem]:
    """Requests do not cause an internal server error.

    The usual cause is a harmony parser that fails on some generated text. An image, sound or file,
    which gpt-oss cannot use, must be rejected with a 4xx status: clients retry what failed.
    """
    response = exchange.recorded.response
    if response is None or meaning(response) != "server_error":
        return
    if response.status in GATEWAY and not _PARSER_ERROR.search(response.text):
        return
    message, expected = "The server failed on a valid request.", "a reply"
    if kinds := _other_parts(exchange.request):
        message = f"The server failed on a part of type {kinds[0]}, which gpt-oss cannot use."
        expected = "a 4xx status"
    proven = bool(kinds) or exchange.received == "unrendered"
    yield Problem(exchange, message, expected, outcome(exchange), proven=proven)


@family.check(
    "request.server_error", delivered, severity="warning", component="failures", recordings=False
)
def _server_error(exchange: ParsedExchange) -> Iterator[Problem]:
    """Requests succeed without a retry after a 5xx status or a cut connection.

    Clients that do not retry lose the reply. The cause may be a transient failure, or a harmony
    parser that fails on some generated text. The gate limits the share of such requests
    (`max_server_errors`); an overload (429, 503) does not count.
    """
    failed = [retry for retry in exchange.recorded.retries if retry.server_failed]
    if failed:
        what = "a cut connection" if failed[0].status is None else f"status {failed[0].status}"
        message = f"The request succeeded only after {what} and a retry."
        got = f"failures of the server before the reply: {len(failed)}"
        yield Problem(exchange, message, "a reply to the first request", got)


@family.check(
    "request.limit_name",
    delivered,
    lambda exchange: exchange.request.limit is not None,
    severity="warning",
    source=CHAT,
    apis=("chat",),
    fix="Accept max_tokens as the limit of a Chat reply.",
)
def _limit_name(exchange: ParsedExchange) -> Iterator[Problem]:
    """max_tokens limits a Chat reply.

    OpenAI replaced it by max_completion_tokens, but most clients still send it. If a provider
    refuses it and names max_completion_tokens, all requests are sent with that.
    """
    for retry in exchange.recorded.retries:
        if retry.status in _REFUSED and not retry.overloaded:
            message = "The provider refused max_tokens, and then served max_completion_tokens."
            yield Problem(exchange, message, "a reply", f"status {retry.status}")


def _has_foreign_cot(exchange: ParsedExchange) -> bool:
    """Whether a request has encrypted CoT that no earlier reply of its conversation contains.

    Only the server that encrypted a CoT can read it.
    """
    sent = _encrypted(exchange.request.body.get("input"))
    while exchange.before is not None:
        exchange = exchange.before
        sent -= _encrypted(exchange.reply.raw.get("output") if exchange.reply else None)
    return bool(sent)


def _encrypted(items: object) -> set[str]:
    contents = (item.get("encrypted_content") for item in objects(items))
    return {content for content in contents if isinstance(content, str)}


def _other_parts(request: ParsedRequest) -> list[str]:
    """Return the types of the parts of a request that are not text."""
    turns = objects(request.body.get("messages")) + objects(request.body.get("input"))
    kinds = (part.get("type") for turn in turns for part in objects(turn.get("content")))
    return [kind for kind in kinds if kind in _NO_TEXT]


def _may_be_missing(request: ParsedRequest) -> Iterator[str]:
    """The options of a request that a provider may lack: servers of gpt-oss differ in them."""
    if request.effort not in (None, *EFFORTS):
        yield "effort"
    if request.forces_call:
        yield "tool_choice"
    yield from (name for name in _OPTIONAL if request.body.get(name))


@family.cross_check(
    "request.refused.partly",
    by_row=lambda row: row.sent or None,
    component="replicas",
    fix="Serve a valid request whatever the model generates, and by every replica.",
)
def _partly_refused(tries: Sequence[tuple[Score, Row]]) -> Iterator[Difference]:
    """Identical requests are all served or all refused.

    A missing feature is missing every time. If it refuses some of several equal requests, the text
    that the model generated, or one of several replicas, is the reason. A refusal that violates
    `request.refused` is reported there.
    """
    served = sum(not row.refusal for _, row in tries)
    for score, row in tries if served else ():
        known = any(finding.id == "request.refused" for finding in score.findings)
        if row.refusal and not known:
            times = f"{served} of {len(tries)} times"
            message = f"The provider refused a request that it served {times}."
            expected = "a reply, as to the same request before or after"
            yield message, evidence(score.record, "$", expected, row.refusal, row.exchange)


@family.cross_check(
    "request.locked_out",
    lambda score: any(row.sent or row.locked_out or row.rejected for row in score.rows),
    source=ERRORS,
    component="errors",
    fix="Answer a rejected request with its own 4xx status, and do not lock the model for others.",
    example=(
        "A gateway answers a rejected request with status 503, and for 30 s all others, too.",
        "https://github.com/decolua/9router",
    ),
)
def _locked_out_by_another(examined: Sequence[Score]) -> Iterator[Difference]:
    """A rejected request has no effect on other requests.

    One client's mistake blocks all clients for that time, and clients that obey the status repeat
    the rejected request, which blocks them again. This run waited, and sent the other requests
    again.
    """
    every = [
        (score, row) for score in examined for row in score.rows if row.locked_out or row.rejected
    ]
    others = sum(bool(row.locked_out) for _, row in every)
    if not others and len(every) < _FEWEST_LOCKOUTS:
        return
    rejected = [(score, row) for score, row in every if row.rejected]
    for score, row in rejected or every:
        message = "The server answered other requests with its rejection of this one."
        expected, got = f"a 4xx status, and replies to {others:,} others at once", row.rejected
        if not row.rejected:
            message = "The server answered this request with the rejection of another request."
            expected, got = "a reply", f"the rejection, {row.locked_out} times"
        yield message, evidence(score.record, "$", expected, got, row.exchange), True


@family.cross_check(
    "request.failed.always",
    lambda score: score.traits.tries,
    component="failures",
    fix="Read the exception that this request causes in the log of the server or the gateway.",
)
def _always_failed(examined: Sequence[Score]) -> Iterator[Difference]:
    """No request fails in all its tries with a 5xx status while others are served.

    Clients can only leave out what the server fails on. A server that fails at random serves one of
    the tries; a server that is down serves nothing else at that time.
    """
    groups: dict[tuple[str, str], dict[str, list[Score]]] = defaultdict(lambda: defaultdict(list))
    for score in examined:
        groups[score.task, score.sample][score.condition.name].append(score)
    served = [tries for score in examined if (tries := score.traits.tries) and not tries.status]
    for (task, sample), conditions in groups.items():
        failed = [
            (score, tries)
            for scores in conditions.values()
            if all(score.traits.tries and score.traits.tries.status for score in scores)
            for score in scores
            if (tries := score.traits.tries) is not None
        ]
        if not failed:
            continue
        most, meanwhile = _while_up([tries for _, tries in failed], served)
        if not _is_no_chance(most, meanwhile, len(examined)):
            continue
        every = sum(tries.failed for _, tries in failed)
        for score, tries in failed:
            message = (
                f"The request {sample!r} of {task} failed in all {every} tries, while "
                f"{len(meanwhile)} other requests were served."
            )
            shown = evidence(
                score.record, "$", "a reply", f"status {tries.status}", score.requests - 1
            )
            yield message, shown


def _while_up(failed: Sequence[Tries], served: Sequence[Tries]) -> tuple[int, Sequence[Tries]]:
    """How often a request failed, and the others that were served meanwhile; none if too few were.

    Many others show that the server was up. So do those that it served between the tries of the run
    and those of the request alone, if it answered these itself; a slow server serves few.
    """
    since, until = min(tries.since for tries in failed), max(tries.until for tries in failed)
    meanwhile = [tries for tries in served if since <= tries.until <= until]
    first = [tries for tries in failed if not tries.alone]
    again = [tries for tries in failed if tries.alone and tries.status not in GATEWAY]
    if len(meanwhile) >= _FEWEST_OTHERS:
        return max(tries.failed for tries in failed), meanwhile
    if not (first and again):
        return 0, ()
    begin, end = max(tries.until for tries in first), min(tries.since for tries in again)
    between = [tries for tries in meanwhile if begin < tries.until < end]
    most = max(tries.failed for tries in first) + max(tries.failed for tries in again)
    return (most, between) if len(between) >= _FEWEST_BETWEEN else (0, ())


def _is_no_chance(most: int, meanwhile: Sequence[Tries], requests: int) -> bool:
    """Whether a server that fails at random would not fail so often at one of the requests.

    Its rate of failures is that of the tries of the served requests, one more failure included.
    """
    failures = sum(tries.failed for tries in meanwhile) + 1
    return bool(requests * (failures / (failures + len(meanwhile))) ** most <= FALSE_ALARM)
