"""Numerics: replies compared with a golden file of the reference engine on the same weights.

Greedy replies are compared token by token, with logprobs if the provider returns them. Replies
sampled at temperature 1 are compared as distributions, which needs neither logprobs nor greedy
replies, but dozens of replies, and detects only large differences.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from harmony.render import Order
from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.golden.content import Distance, Golden, Tolerance, drawn_text
from harness.golden.distance import (
    LEAST_ALONE,
    LEAST_VALUES,
    differences,
    distance,
    shown,
    without_farthest,
)
from harness.golden.divergence import ComparedReply, compared_replies
from harness.golden.patterns import in_rendered_order, recognized, retold, with_defect
from harness.records.conditions import APIS
from harness.records.scores import Severity
from harness.rules.missing import NotVerifiableError
from harness.rules.numerics import golden_prompts
from harness.rules.probe import ProbeGroup, Sent, Trials
from harness.rules.rule import HARMONY, Problem
from harness.statistics.model_equality import p_value
from harness.text import percentage

GROUP = ProbeGroup(
    "numerics",
    HARMONY,
    generated=golden_prompts.greedy,
    apis=APIS,
    golden=lambda golden: golden,
    component="model",
)
LONG_GROUP = ProbeGroup(
    "long.numerics",
    HARMONY,
    generated=golden_prompts.long,
    suite="long",
    apis=APIS,
    golden=lambda golden: golden.long,
    expensive=True,
    family="numerics",
    component="model",
)
DRAWN_GROUP = ProbeGroup(
    "sampling.drawn",
    "https://arxiv.org/abs/2410.20247",
    generated=golden_prompts.drawn,
    suite="full",
    golden=lambda golden: golden if golden.drawn else None,
    family="numerics",
    component="sampling",
)
_SIGNIFICANCE = 0.001
_LEAST_REPLIES = 24

Comparison = Callable[[Golden, Sequence[ComparedReply]], Trials]
"""Judges replies by the golden answers."""


def _numeric(
    group: ProbeGroup,
    rule_id: str,
    *,
    logprobs: bool = True,
    severity: Severity = "error",
    text: str | None = None,
    component: str | None = None,
    witness: bool = False,
    behaviour: bool = False,
) -> Callable[[Comparison], Comparison]:
    """Register the decorated comparison as a probe, which needs `logprobs` or only texts."""
    uses = [request.id for request in group.requests("chat")]
    long = group is LONG_GROUP
    fingerprint = golden_prompts.long_fingerprint if long else golden_prompts.fingerprint

    def compared(sent: Sent) -> tuple[Golden, Sequence[ComparedReply]]:
        golden, replies = _comparable(sent, _reference(sent, fingerprint))
        return golden, _with_logprobs(replies) if logprobs else replies

    def proves(compare: Comparison, sent: Sent) -> str:
        golden, replies = compared(sent)
        if not golden.patterns:
            return "The golden file has no patterns of defects, so it is unknown what this proves."
        defects = [
            pattern.defect
            for pattern in golden.patterns
            if any(
                compare(
                    golden.model_copy(update={"patterns": (pattern,)}),
                    [with_defect(reply, golden, pattern) for reply in replies],
                )
            )
        ]
        where = "these logprobs" if logprobs else "the text of the answers"
        listed = f": {', '.join(defects)}" if defects else ""
        return (
            f"{len(defects)} of {len(golden.patterns)} known defects would show in {where}{listed}."
        )

    def add(compare: Comparison) -> Comparison:
        group.probe(
            rule_id,
            uses,
            needs="logprobs" if logprobs else None,
            severity=severity,
            text=text or compare.__doc__,
            proves=None if long else partial(proves, compare),
            component=component,
            witness=witness,
            behaviour=behaviour,
        )(lambda sent: compare(*compared(sent)))
        return compare

    return add


@_numeric(
    LONG_GROUP,
    "long.numerics.logprobs",
    text="After long prompts, logprobs agree with those of the reference engine on the same "
    "weights. Wrong positions, windows and cache pages show here, whether the model uses them or "
    "not.",
)
@_numeric(GROUP, "numerics.logprobs")
def _logprobs(golden: Golden, compared: Sequence[ComparedReply]) -> Trials:
    """Logprobs agree with those of the reference engine on the same weights.

    Wrong attention, experts or weights show here before any score drops. The tolerance, learned
    from healthy engines, covers number formats (bfloat16 throughout, a KV cache in 8 bits), kernels
    and batching.
    """
    return _distances(compared, golden.tolerance)


@_numeric(GROUP, "numerics.precision", severity="warning")
def _precision(golden: Golden, compared: Sequence[ComparedReply]) -> Trials:
    """Logprobs are as exact as those of engines that compute and store numbers in 16 bits.

    Larger differences come from a KV cache or weights in 8 bits, or from a small defect.
    """
    return _distances(compared, golden.exact_tolerance)


@_numeric(GROUP, "numerics.defect")
def _defect(golden: Golden, compared: Sequence[ComparedReply]) -> Trials:
    """The differences of logprobs do not have the pattern of a known defect.

    Each defect of attention, positions, experts or the prompt changes the logprobs in its own way.
    Its pattern shows even where the changes are smaller than those of rounding. Where a defect
    leaves few logprobs to compare, whole texts are those of an engine with the defect.
    """
    if not golden.patterns:
        raise NotVerifiableError("no_patterns")
    if match := recognized(golden, compared):
        pattern, what = match.pattern, "logprobs"
        expected = "0% of the changes that the defect causes"
        got = f"{percentage(match.share, 0)} of them (± {percentage(match.error, 0)})"
    elif repeated := retold(golden, compared):
        pattern, what = repeated[0], "texts"
        expected, got = "none of the texts that the defect causes", f"{repeated[1]} of them"
    else:
        yield None
        return
    message = (
        f"The {what} differ from the reference's like those of an engine with a known defect "
        f"({pattern.defect}): {pattern.text}"
    )
    yield Problem(compared[0].exchange, message, expected, got)


_WRITTEN: Mapping[Order, str] = {
    "calls after": "calls have it after the channel, and results before it",
    "results after": "results have it after the channel, and calls before it",
    "after": "calls and results have it after the channel",
}


@GROUP.probe(
    "numerics.recipient",
    (golden_prompts.RESULT, golden_prompts.TWO_RESULTS),
    severity="info",
    apis=("chat", "responses"),
    component="prompt",
    fix="Render the recipients of earlier calls and of tool results before the channel.",
)
def _recipient(with_results: Sent) -> Trials:
    """In the prompt, the recipients of earlier calls and of tool results precede the channel.

    OpenAI's format description renders them so. oss-harmony, which vLLM renders with since 0.31,
    puts them after the channel, where gpt-oss itself mostly writes them in calls. Token counts are
    equal: the golden answers that fit the replies tell which order it is.
    """
    reference = _reference(with_results)
    if not reference.orders:
        raise NotVerifiableError("no_orders")
    golden, compared = _comparable(with_results, reference)
    for reply in compared:
        if golden.order == "before":
            yield None
            continue
        message = f"Recipients are in another place of the prompt: {_WRITTEN[golden.order]}."
        expected = "functions.NAME to=assistant<|channel|>commentary"
        yield Problem(reply.exchange, message, expected, "the answers to prompts in that order")


@_numeric(
    LONG_GROUP,
    "long.numerics.greedy",
    logprobs=False,
    text="After long prompts, the reply at temperature 0 equals the reference's, except at "
    "near-ties. This comparison needs no logprobs.",
    component="sampling",
    witness=True,
    behaviour=True,
)
@_numeric(
    GROUP,
    "numerics.greedy",
    logprobs=False,
    component="sampling",
    witness=True,
    behaviour=True,
)
def _greedy(golden: Golden, compared: Sequence[ComparedReply]) -> Trials:
    """At temperature 0 the reply equals the reference's, except at near-ties between two tokens.

    A token that the reference clearly rejects means a different model, different weights or a
    defect of the engine. This comparison needs no logprobs.
    """
    for reply in compared:
        divergence, most = reply.divergence, golden.tolerance.gap
        if divergence is None or divergence.gap <= most:
            yield None
            continue
        message = (
            f"The greedy reply diverges after {divergence.at} tokens, where the reference prefers "
            "its token by more than noise explains."
        )
        got = f"{divergence.got}, less probable by at least {divergence.gap:.1f} nats"
        expected = f"{divergence.expected}, or a token at most {most:.1f} nats less probable"
        yield Problem(reply.exchange, message, expected, got)


_DRAWN_TEXT = (
    "Replies at temperature 1 are distributed like those of the reference engine. A different "
    "temperature, a hidden top_p or other weights change the distribution, even if each reply "
    f"looks good; healthy providers fail in one of {1 / _SIGNIFICANCE:,.0f} runs."
)


@DRAWN_GROUP.probe(
    "sampling.distribution",
    [request.id for request in golden_prompts.drawn()],
    apis=("chat",),
    severity="warning",
    text=_DRAWN_TEXT,
    witness=True,
)
def _distribution(drawn: Sent) -> Trials:
    golden = _reference(drawn)
    same = [
        (name, exchange, reply)
        for name, exchange, reply in _named(drawn.beside(*golden.drawn))
        if reply.input_tokens == golden.drawn[name].prompt_tokens
    ]
    if len(same) < _LEAST_REPLIES:
        raise NotVerifiableError("few_golden_prompts", count=len(same), least=_LEAST_REPLIES)
    if not any(reply.reasoning for _, _, reply in same):
        raise NotVerifiableError("no_cot_as_golden")
    texts: dict[str, list[str]] = {}
    for name, _, reply in same:
        texts.setdefault(name, []).append(drawn_text(reply.reasoning, reply.text))
    p = p_value({name: draws.texts for name, draws in golden.drawn.items()}, texts)
    message = f"{len(same)} replies at temperature 1 are not distributed like the reference's."
    other = Problem(same[0][1], message, f"a p-value above {_SIGNIFICANCE:g}", f"p = {p:.2g}")
    yield other if p <= _SIGNIFICANCE else None


def _reference(sent: Sent, fingerprint: Callable[[], str] = golden_prompts.fingerprint) -> Golden:
    """The golden answers to the requests of a group. Raises NotVerifiableError if none fit."""
    golden = sent.responses.golden
    if sent.responses.without_part:
        raise NotVerifiableError("no_golden_part")
    if golden is None:
        raise NotVerifiableError("no_golden")
    if golden.requests_sha256 != fingerprint():
        raise NotVerifiableError("other_golden")
    if golden.lone:
        raise NotVerifiableError("lone_golden", engine=golden.engine, dtype=golden.dtype)
    parts = [golden, *([golden.dated] if golden.dated else [])]
    return max(parts, key=lambda part: _same_prompts(part, sent))


def _same_prompts(golden: Golden, sent: Sent) -> int:
    """How many replies have prompts as long as the golden ones, with or without a date."""
    due = {name: answer.prompt_tokens for name, answer in golden.continuations.items()}
    due |= {name: answer.prompt_tokens for name, answer in golden.drawn.items()}
    replies = _named(sent.beside(*due))
    return sum(reply.input_tokens == due[name] for name, _, reply in replies)


def _named(sent: Sent) -> Iterator[tuple[str, ParsedExchange, Reply]]:
    """Yield each readable reply after the name of its request."""
    return ((each.name, *answer) for each in sent for answer in each.readable)


def _comparable(sent: Sent, golden: Golden) -> tuple[Golden, Sequence[ComparedReply]]:
    """The replies to golden prompts, compared, and the golden file in the order of these prompts.

    Raises NotVerifiableError.
    """
    replies = list(_named(sent))
    if not replies:
        first, *_ = sent
        _ = first.first  # Raises, and says why.
    if not any(reply.reasoning for _, _, reply in replies):
        raise NotVerifiableError("no_cot_before_answers")
    golden = in_rendered_order(golden, replies)
    compared = list(compared_replies(golden, replies))
    if not compared:
        name, _, reply = replies[0]
        due = golden.continuations[name].prompt_tokens
        tokens = reply.input_tokens or "an unknown number of"
        if tokens == due:
            raise NotVerifiableError("other_prompt_tokens", tokens=due)
        raise NotVerifiableError("other_prompts", tokens=tokens, due=due)
    return golden, compared


def _with_logprobs(replies: Sequence[ComparedReply]) -> Sequence[ComparedReply]:
    """Return the replies if their logprobs suffice. Raises NotVerifiableError."""
    values = sum(len(differences(reply.compared)) for reply in replies)
    if values < LEAST_VALUES:
        raise NotVerifiableError("few_comparable", count=values, least=LEAST_VALUES)
    return replies


def _distances(compared: Sequence[ComparedReply], allowed: Tolerance) -> Trials:
    """One trial for all replies together, and one for each reply that is long enough.

    The first one shows the reply with the largest differences. A single reply is judged without the
    token that differs most: in a short reply, one token whose logprobs all change through rounding
    would decide.
    """
    compared = [reply for reply in compared if reply.compared]
    together = [token for reply in compared for token in reply.compared]
    farthest = max(compared, key=lambda reply: distance(reply.compared).p99)
    yield _exceeding(farthest.exchange, distance(together), allowed)
    for reply in compared:
        most = without_farthest(reply.compared)
        if len(differences(most)) >= LEAST_ALONE:
            yield _exceeding_alone(reply.exchange, distance(most), allowed)


def _exceeding(exchange: ParsedExchange, distance: Distance, allowed: Tolerance) -> Problem | None:
    if allowed.allows(distance):
        return None
    message = (
        "The logprobs differ from the reference's by more than those of healthy engines: "
        f"{distance.values} logprobs at {distance.tokens} positions, "
        f"{percentage(distance.agreement, 0)} of which have the same most probable token."
    )
    return Problem(exchange, message, f"at most {shown(allowed)}", shown(distance))


def _exceeding_alone(
    exchange: ParsedExchange, distance: Distance, allowed: Tolerance
) -> Problem | None:
    if distance.p95 <= allowed.request_p95:
        return None
    message = (
        "The logprobs of this reply differ from the reference's by more than those of any reply of "
        f"healthy engines: {distance.values} logprobs at {distance.tokens} positions, without the "
        "position that differs most."
    )
    expected = f"95% of |Δ logprob| within {allowed.request_p95:.3f} nats"
    got = f"95% of |Δ logprob| within {distance.p95:.3f} nats"
    return Problem(exchange, message, expected, got)
