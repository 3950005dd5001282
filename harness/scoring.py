"""What every scorer needs: usage, timing, findings and traits of single rollouts, and sums.

Traits are the properties by which the rollouts of a run are compared: requests, contents, servers.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from harness import checks as rules
from harness.api.fields import json_object
from harness.checks.accounting import accounted
from harness.checks.across import cuts, edges
from harness.checks.foreign import CODE_WORD
from harness.checks.json_text import strings
from harness.checks.prompt_texts import user_texts
from harness.parsing.rollout import ParsedExchange, ParsedRollout
from harness.records.figures import Latency, TokenCounts
from harness.records.scores import Score, Timing, Traits, Usage
from harness.statistics.estimators import percentiles

_FEWEST_EVENTS = 8
_LONGEST_CONVERSATION = 20_000
_SHORTEST_VALUE = 4
_SHORTEST_CONTENT, _SHORTEST_ANSWER = 200, 16
_OF_RESPONSES = re.compile(
    r"content-.*|transfer-encoding|connection|date|age|etag|expires|cache-control|keep-alive|vary"
    r"|set-cookie|alt-svc|strict-transport-security|access-control-.*|x-frame-options"
    r"|.*(?:request|trace|correlation)-?id.*|.*ratelimit.*|.*(?:time|duration|latency|ms)$",
    re.IGNORECASE,
)
"""Headers that describe a response or a connection, not the server."""
_INVENTED = re.compile(r"\b[a-z]{4,}(?!(?:19|20)\d\d\b|1234)\d{4,}\b")
"""Invented words in recorded traffic; `python312`, `user123` and `january2026` are usual there."""
_RANDOM = re.compile(r"[0-9A-Za-z]{8,}")
_WORD = re.compile(r"\w{3,}")


def measured_score(
    parsed: ParsedRollout,
    judged: Mapping[str, Any],
    *,
    checks: bool = True,
    except_for: Collection[str] = (),
) -> Score:
    """A score with all measurements of a rollout, and `judged`: its outcome and other members.

    With `checks`, the checks of single rollouts run, except those in `except_for`, which do not
    apply because the request provokes what they find.
    """
    rollout = parsed.rollout
    counted = checks and "usage.output.unseen" not in except_for
    applicable, findings = (
        rules.examine(parsed, except_for=except_for) if checks else (frozenset(), ())
    )
    ids = (reply.raw.get("id") for _, reply in parsed.replies)
    return Score(
        record=rollout.id,
        task=rollout.task,
        sample=rollout.sample,
        condition=rollout.condition,
        attempt=rollout.attempt,
        usage=usage(parsed),
        timing=tuple(map(timing, parsed.delivered)),
        seconds=rollout.exchanges[-1].elapsed if rollout.exchanges else None,
        requests=len(rollout.exchanges),
        retries=sum(len(exchange.retries) for exchange in rollout.exchanges),
        applicable=applicable,
        findings=findings,
        reply_ids=tuple(each for each in ids if isinstance(each, str) and each),
        first_input=_first_input(parsed),
        accounts=tuple(each.account for each in accounted(parsed)) if counted else (),
        cuts=tuple(cuts(parsed)) if checks else (),
        edges=tuple(edges(parsed)) if checks else (),
        traits=traits(parsed) if checks else Traits(),
        **judged,
    )


def _first_input(parsed: ParsedRollout) -> int | None:
    """None with built-in tools, where the count is the sum over several prompts."""
    first = parsed.exchanges[0] if parsed.exchanges else None
    if first is None or first.reply is None or first.request.built_in:
        return None
    return first.reply.input_tokens


def usage(parsed: ParsedRollout) -> Usage:
    """The token counts of a rollout."""
    reported = [reply.usage for _, reply in parsed.replies]
    known = [each for each in reported if each is not None]
    return Usage(
        input=_sum(each.input_tokens for each in known),
        output=_sum(each.output_tokens for each in known),
        reasoning=_sum(each.reasoning_tokens for each in known),
        unreported=len(reported) - len(known),
    )


def timing(exchange: ParsedExchange) -> Timing:
    """Times of one exchange.

    The first token is the first event with text of any kind. The rate of a stream is measured
    between its first and last such event, which excludes the time in a queue. It needs the
    provider's own count of output tokens, and enough events not to measure a burst.
    """
    elapsed = exchange.recorded.elapsed
    tokens = None if exchange.reply is None else exchange.reply.output_tokens
    times = exchange.text_times
    if not times:
        return Timing(total=elapsed)
    spent = times[-1] - times[0]
    steady = len(times) >= _FEWEST_EVENTS and spent > 0
    rate = (tokens - 1) / spent if steady and tokens is not None and tokens > 1 else None
    return Timing(total=elapsed, first_token=times[0], tokens_per_second=rate)


def token_counts(scores: Sequence[Score]) -> TokenCounts:
    """The tokens of several attempts."""
    counts = [score.usage for score in scores]
    both = [each for each in counts if each.output is not None and each.reasoning is not None]
    return TokenCounts(
        input=sum(each.input or 0 for each in counts),
        output=sum(each.output or 0 for each in counts),
        reasoning=sum(each.reasoning or 0 for each in counts),
        unreported=sum(each.unreported for each in counts),
        reasoning_each=percentiles([each.reasoning or 0 for each in both]),
        answer_each=percentiles([(each.output or 0) - (each.reasoning or 0) for each in both]),
    )


def latency(scores: Sequence[Score]) -> Latency:
    """The times of several attempts."""
    times = [each for score in scores for each in score.timing]
    first = [each.first_token for each in times if each.first_token is not None]
    rates = [each.tokens_per_second for each in times if each.tokens_per_second is not None]
    return Latency(
        total=percentiles([each.total for each in times]),
        first_token=percentiles(first),
        tokens_per_second=percentiles(rates),
        last=percentiles([score.seconds for score in scores if score.seconds is not None]),
    )


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def traits(parsed: ParsedRollout) -> Traits:
    """The traits of one rollout."""
    sent = "\n".join(_sent(exchange) for exchange in parsed.exchanges)
    replies = [reply for _, reply in parsed.replies]
    calls = {
        f"{call.name} {_canonical(call.arguments)}" for reply in replies for call in reply.calls
    }
    written = "\n".join(reply.generated for reply in replies)
    invented = CODE_WORD if parsed.rollout.recording is None else _INVENTED
    strange = {word for word in invented.findall(written.lower()) if word not in sent}
    strange |= {
        value
        for reply in replies
        for call in reply.calls
        for value in map(str.lower, strings(json_object(call.arguments)))
        if len(value) >= _SHORTEST_VALUE and value not in sent
    }
    # Replies that the token limit truncates may be endless repetitions, which requests share.
    unique = not calls and all(reply.finish != "length" for reply in replies)
    first = parsed.exchanges[0] if parsed.exchanges else None
    answer = replies[0].text if unique and len(replies) == 1 else ""
    return Traits(
        conversation="" if first is None else _conversation(first),
        user=user_texts(parsed),
        strange=frozenset(strange),
        calls=frozenset(calls),
        content=_digest(written, _SHORTEST_CONTENT) if unique else "",
        answer="" if _is_from(answer, sent) else _digest(answer, _SHORTEST_ANSWER),
        replicas=tuple(dict.fromkeys(_replicas(parsed))),
        models=frozenset(_models(parsed)),
    )


def _is_from(answer: str, sent: str) -> bool:
    """Whether at least half of the words of an answer are in its own request."""
    words = _WORD.findall(answer.lower())
    return 2 * sum(word in sent for word in words) >= len(words)


def _sent(exchange: ParsedExchange) -> str:
    return orjson.dumps(exchange.request.body).decode(errors="replace").lower()


def _conversation(exchange: ParsedExchange) -> str:
    """The conversation of a request, without its tools and options."""
    body = exchange.request.body
    turns = [body.get(name) for name in ("instructions", "messages", "input")]
    return orjson.dumps(turns).decode(errors="replace").lower()[:_LONGEST_CONVERSATION]


def _canonical(arguments: str) -> str:
    found = json_object(arguments)
    return arguments if found is None else orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()


def _digest(written: str, shortest: int) -> str:
    if len(written) < shortest:
        return ""
    return blake2b(written.encode(errors="replace"), digest_size=12).hexdigest()


def _models(parsed: ParsedRollout) -> Iterator[str]:
    model = parsed.rollout.condition.model
    for exchange, reply in () if parsed.rollout.recording else parsed.replies:
        name = reply.raw.get("model")
        if isinstance(name, str) and exchange.request.body.get("model") == model:
            yield name.rpartition("/")[2].lower()


def _replicas(parsed: ParsedRollout) -> Iterator[tuple[str, str]]:
    """What may differ between servers: headers, fingerprint, model, and the form of ids."""
    for exchange in parsed.exchanges:
        response = exchange.recorded.response
        for name, value in {} if response is None else response.headers.items():
            if not _OF_RESPONSES.fullmatch(name):
                yield f"header {name.lower()}", value
    for exchange, reply in parsed.replies:
        yield from _of_reply(exchange, reply.raw)


def _of_reply(exchange: ParsedExchange, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("system_fingerprint", "model"):
        if isinstance(raw.get(name), str):
            yield name, raw[name]
    reply_id = raw.get("id")
    if isinstance(reply_id, str):
        form = _RANDOM.sub(lambda found: f"<{len(found[0])}>", reply_id)
        yield f"form of {exchange.api} ids", form
