"""Numerics: replies compared with a golden file of the reference engine on the same weights.

Greedy replies are compared token by token, with logprobs if the provider returns them. Replies
sampled at temperature 1 are compared as distributions, which needs neither logprobs nor greedy
replies, but dozens of replies, and detects only large differences.
"""

from collections.abc import Callable, Sequence

from harness.api.parsed_rollout import ParsedExchange
from harness.checks.rules import HARMONY, Problem
from harness.golden.content import Distance, Golden, Pattern, Tolerance, drawn_text
from harness.golden.distance import LEAST_ALONE, LEAST_VALUES, Compared, distance, shown
from harness.golden.divergence import ComparedReply, compared_replies
from harness.golden.patterns import gap_with_defect, recognized, with_defect
from harness.probes import golden_prompts
from harness.probes.probe import NotVerifiableError, ProbeGroup, ProbeResponses, Trials
from harness.probes.refusals import first_replies
from harness.records.conditions import APIS
from harness.statistics.model_equality import p_value
from harness.text import percentage

GROUP = ProbeGroup(
    "numerics", golden_prompts.greedy, HARMONY, apis=APIS, golden=lambda golden: golden
)
LONG_GROUP = ProbeGroup(
    "long.numerics",
    golden_prompts.long,
    HARMONY,
    suite="long",
    apis=APIS,
    golden=lambda golden: golden.long,
    expensive=True,
)
DRAWN_GROUP = ProbeGroup(
    "sampling.drawn",
    golden_prompts.drawn,
    "https://arxiv.org/abs/2410.20247",
    suite="full",
    golden=lambda golden: golden,
)
_HINT = "create one with `gpt-oss-verify golden create` and pass it with --golden"
_USES = tuple(request.id for request in golden_prompts.greedy("chat"))
_LONG_USES = tuple(request.id for request in golden_prompts.long("chat"))
_SIGNIFICANCE = 0.001
_LEAST_REPLIES = 24


def _proven(
    golden: Golden, fails: Callable[[Pattern], bool], method: str = "these logprobs"
) -> str:
    """Which known defects would have failed a probe that passed."""
    if not golden.patterns:
        return "The golden file has no patterns of defects, so it is unknown what this proves."
    found = [pattern.defect for pattern in golden.patterns if fails(pattern)]
    listed = f": {', '.join(found)}" if found else ""
    return f"{len(found)} of {len(golden.patterns)} known defects would show in {method}{listed}."


def _proven_by_distances(responses: ProbeResponses, allowed: Callable[[Golden], Tolerance]) -> str:
    golden = _reference(responses)
    compared = _compared(responses, golden, _USES)
    return _proven(
        golden,
        lambda pattern: any(
            _distances([with_defect(each, pattern) for each in compared], allowed(golden))
        ),
    )


def _proven_by_pattern(responses: ProbeResponses) -> str:
    golden = _reference(responses)
    compared = _compared(responses, golden, _USES)

    def named(pattern: Pattern) -> bool:
        defective = [with_defect(each, pattern) for each in compared]
        only = golden.model_copy(update={"patterns": (pattern,)})
        return recognized(only, [(each.name, each.compared) for each in defective]) is not None

    return _proven(golden, named)


def _proven_by_text(responses: ProbeResponses) -> str:
    golden = _reference(responses)
    names = {each.name for each in _comparable(responses, golden, _USES)}

    def diverges(pattern: Pattern) -> bool:
        gaps = (gap_with_defect(golden.continuations[name], name, pattern) for name in names)
        return any(gap > golden.tolerance.gap for gap in gaps)

    return _proven(golden, diverges, "the text of the answers")


@GROUP.probe(
    "numerics.logprobs",
    _USES,
    needs="logprobs",
    proves=lambda responses: _proven_by_distances(responses, lambda golden: golden.tolerance),
)
def _logprobs(responses: ProbeResponses) -> Trials:
    """Logprobs agree with those of the reference engine on the same weights.

    Wrong attention, experts or weights show here before any score drops. The tolerance, learned
    from healthy engines, covers number formats (bfloat16 throughout, a KV cache in 8 bits), kernels
    and batching.
    """
    golden = _reference(responses)
    yield from _distances(_compared(responses, golden, _USES), golden.tolerance)


@GROUP.probe(
    "numerics.precision",
    _USES,
    needs="logprobs",
    severity="warning",
    proves=lambda responses: _proven_by_distances(responses, lambda golden: golden.exact_tolerance),
)
def _precision(responses: ProbeResponses) -> Trials:
    """Logprobs are as exact as those of engines that compute and store numbers in 16 bits.

    Larger differences come from a KV cache or weights in 8 bits, or from a small defect.
    """
    golden = _reference(responses)
    yield from _distances(_compared(responses, golden, _USES), golden.exact_tolerance)


@GROUP.probe("numerics.defect", _USES, needs="logprobs", proves=_proven_by_pattern)
def _defect(responses: ProbeResponses) -> Trials:
    """The differences of logprobs do not have the pattern of a known defect.

    Each defect of attention, positions, experts or the prompt changes the logprobs in its own way.
    Its pattern shows even where the changes are smaller than those of rounding.
    """
    golden = _reference(responses)
    if not golden.patterns:
        raise NotVerifiableError("no_patterns", hint=_HINT)
    compared = _compared(responses, golden, _USES)
    found = recognized(golden, [(each.name, each.compared) for each in compared])
    if found is None:
        yield None
        return
    message = (
        "The logprobs differ from the reference's like those of an engine with a known defect "
        f"({found.pattern.defect}): {found.pattern.text}"
    )
    expected = "0% of the changes that the defect causes"
    got = f"{percentage(found.share, 0)} of them (± {percentage(found.error, 0)})"
    yield Problem(compared[0].exchange, message, expected, got)


@GROUP.probe("numerics.greedy", _USES, proves=_proven_by_text)
def _greedy(responses: ProbeResponses) -> Trials:
    """At temperature 0 the reply equals the reference's, except at near-ties between two tokens.

    A token that the reference clearly rejects means another model, other weights or a defect of
    the engine. This comparison needs no logprobs.
    """
    golden = _reference(responses)
    yield from _divergences(_comparable(responses, golden, _USES), golden.tolerance)


@LONG_GROUP.probe("long.numerics.logprobs", _LONG_USES, needs="logprobs")
def _long_logprobs(responses: ProbeResponses) -> Trials:
    """After long prompts, logprobs agree with those of the reference engine on the same weights.

    Wrong positions, windows and cache pages show here, whether the model uses them or not.
    """
    golden = _reference(responses, golden_prompts.long_fingerprint)
    yield from _distances(_compared(responses, golden, _LONG_USES), golden.tolerance)


@LONG_GROUP.probe("long.numerics.greedy", _LONG_USES)
def _long_greedy(responses: ProbeResponses) -> Trials:
    """After long prompts, the reply at temperature 0 equals the reference's, except at near-ties.

    This comparison needs no logprobs.
    """
    golden = _reference(responses, golden_prompts.long_fingerprint)
    yield from _divergences(_comparable(responses, golden, _LONG_USES), golden.tolerance)


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
)
def _distribution(responses: ProbeResponses) -> Trials:
    golden = _reference(responses)
    same = [
        (name, exchange, reply)
        for name, drawn in golden.drawn.items()
        for rollout in responses.rollouts.get(name, ())
        for exchange, reply in rollout.replies
        if reply.input_tokens == drawn.prompt_tokens
    ]
    if len(same) < _LEAST_REPLIES:
        raise NotVerifiableError("few_golden_prompts", count=len(same), least=_LEAST_REPLIES)
    if not any(reply.reasoning for _, _, reply in same):
        raise NotVerifiableError("no_cot_as_golden")
    texts: dict[str, list[str]] = {}
    for name, _, reply in same:
        texts.setdefault(name, []).append(drawn_text(reply.reasoning, reply.text))
    found = p_value({name: each.texts for name, each in golden.drawn.items()}, texts)
    message = f"{len(same)} replies at temperature 1 are not distributed like the reference's."
    expected = f"a p-value above {_SIGNIFICANCE:g}"
    other = Problem(same[0][1], message, expected, f"p = {found:.2g}")
    yield other if found <= _SIGNIFICANCE else None


def _reference(
    responses: ProbeResponses, fingerprint: Callable[[], str] = golden_prompts.fingerprint
) -> Golden:
    """The golden answers to the requests of a group. Raises NotVerifiableError if none fit."""
    if responses.golden is None:
        raise NotVerifiableError("no_golden", hint=_HINT)
    if responses.golden.requests_sha256 != fingerprint():
        raise NotVerifiableError("other_golden", hint=_HINT)
    if responses.golden.lone:
        raise NotVerifiableError(
            "lone_golden", engine=responses.golden.engine, dtype=responses.golden.dtype
        )
    parts = [responses.golden, *([responses.golden.dated] if responses.golden.dated else [])]
    return max(parts, key=lambda part: _same_prompts(part, responses))


def _same_prompts(golden: Golden, responses: ProbeResponses) -> int:
    """How many replies have prompts as long as the golden ones, with or without a date."""
    due = {name: each.prompt_tokens for name, each in golden.continuations.items()}
    due |= {name: each.prompt_tokens for name, each in golden.drawn.items()}
    return sum(
        reply.input_tokens == tokens
        for name, tokens in due.items()
        for _, reply in first_replies(responses.rollouts.get(name, ()))
    )


def _comparable(
    responses: ProbeResponses, golden: Golden, uses: Sequence[str]
) -> Sequence[ComparedReply]:
    """The replies to prompts as long as the golden ones, compared. Raises NotVerifiableError."""
    replies = [
        (name, *pair) for name in uses for pair in first_replies(responses.rollouts.get(name, ()))
    ]
    if not replies:
        responses.reply(uses[0])  # Raises, and says why.
    if not any(reply.reasoning for _, _, reply in replies):
        raise NotVerifiableError("no_cot_before_answers")
    compared = list(compared_replies(golden, replies))
    if not compared:
        name, _, reply = replies[0]
        due = golden.continuations[name].prompt_tokens
        tokens = reply.input_tokens or "an unknown number of"
        raise NotVerifiableError("other_prompts", tokens=tokens, due=due)
    return compared


def _compared(
    responses: ProbeResponses, golden: Golden, uses: Sequence[str]
) -> Sequence[ComparedReply]:
    """Return the replies with enough logprobs for a judgement. Raises NotVerifiableError."""
    compared = [each for each in _comparable(responses, golden, uses) if each.compared.tokens]
    values = sum(len(each.compared.differences) for each in compared)
    if values < LEAST_VALUES:
        raise NotVerifiableError("few_comparable", count=values, least=LEAST_VALUES)
    return compared


def _divergences(compared: Sequence[ComparedReply], allowed: Tolerance) -> Trials:
    """One trial per reply: whether it diverges where the reference is certain."""
    for each in compared:
        found = each.divergence
        if found is None or found.gap <= allowed.gap:
            yield None
            continue
        message = (
            f"The greedy reply diverges after {found.at} tokens, where the reference prefers its "
            "token by more than noise explains."
        )
        got = f"{found.got}, less probable by at least {found.gap:.1f} nats"
        limit = f"{allowed.gap:.1f} nats"
        expected = f"{found.expected}, or a token at most {limit} less probable"
        yield Problem(each.exchange, message, expected, got)


def _distances(compared: Sequence[ComparedReply], allowed: Tolerance) -> Trials:
    """One trial for all replies together, and one for each reply that is long enough.

    A single reply is judged without the token that differs most: in a short reply, one token whose
    logprobs all change through rounding would decide.
    """
    together = sum((each.compared for each in compared), Compared())
    yield _exceeding(compared[0].exchange, distance(together), allowed)
    for each in compared:
        most = each.compared.without_farthest()
        if len(most.differences) >= LEAST_ALONE:
            yield _exceeding_alone(each.exchange, distance(most), allowed)


def _exceeding(exchange: ParsedExchange, found: Distance, allowed: Tolerance) -> Problem | None:
    if allowed.allows(found):
        return None
    message = (
        "The logprobs differ from the reference's by more than those of healthy engines: "
        f"{found.values} logprobs at {found.tokens} positions, {percentage(found.agreement, 0)} of "
        "which have the same most probable token."
    )
    return Problem(exchange, message, f"at most {shown(allowed)}", shown(found))


def _exceeding_alone(
    exchange: ParsedExchange, found: Distance, allowed: Tolerance
) -> Problem | None:
    if found.p95 <= allowed.request_p95:
        return None
    message = (
        "The logprobs of this reply differ from the reference's by more than those of any reply of "
        f"healthy engines: {found.values} logprobs at {found.tokens} positions, without the "
        "position that differs most."
    )
    expected = f"95% of |Δ logprob| within {allowed.request_p95:.3f} nats"
    got = f"95% of |Δ logprob| within {found.p95:.3f} nats"
    return Problem(exchange, message, expected, got)
