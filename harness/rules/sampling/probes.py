"""Temperature, top_p and seed: replies vary where they must, and nowhere else."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial

from harness.api.parsed_rollout import ParsedExchange
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import Sent, Trials
from harness.rules.rule import Problem
from harness.rules.sampling.requests import (
    COLD,
    COLD_TRIES,
    FRESH,
    GROUP,
    HOT,
    NARROW,
    NUCLEUS,
    SAMPLES,
    SEEDED,
    TRIES,
    WITH_TOOL,
    ZERO,
)
from harness.statistics.question import p_more
from harness.statistics.rates import at_least
from harness.text import percentage

_NOISE, _LUCK = 0.05, 0.001
"""The share of odd replies that batching causes at temperature 0, and the largest p-value of more:
six odd replies of 18."""
_BESIDE_COLD = 0.05  # the largest p-value of more than at temperature 0
_DIFFERENT = "replies differ from the most frequent one"
_BEGINNING = 60
"""Compared characters of a reply: later ones differ by noise even on healthy servers."""
_COMPARED = 120
_CACHED = 0.001
"""Characters compared, and the largest p-value, of replies that may come from a cache."""


@GROUP.probe(
    "sampling.temperature.high",
    HOT,
    *FRESH,
    COLD,
    component="sampling",
    fix="Apply the temperature of the request, and draw a new seed if it has none.",
)
def _hot(hot: Sent, *fresh_and_cold: Sent) -> Trials:
    """At temperature 1, replies to the same question differ.

    Evals and agents sample at 1.0. Greedy replies score differently and are not samples.
    """
    *fresh, cold = fresh_and_cold
    texts = [
        [text for each in (one, *others) for text in texts_of(each, least=1)]
        for one, others in zip(hot, fresh, strict=True)
    ]
    exchange = _first(hot)
    message = (
        "At temperature 1, all replies to the same question are equal, for each of three questions"
        f"{_author(hot, fresh, cold)}."
    )
    got = f"{len(texts[0])} times {texts[0][0]!r}, and likewise for the other questions"
    same = Problem(exchange, message, "replies that differ", got)
    constant = all(len(set(replies)) == 1 for replies in texts)
    answers = {replies[0] for replies in texts}
    if constant and (len(answers) < len(texts) or len(min(answers, key=len)) < _BEGINNING):
        raise NotVerifiableError("too_short_to_compare")  # such as one refusal
    yield same if constant else None


def _author(hot: Sent, fresh: Iterable[Sent], cold: Sent) -> str:
    """Return what equal replies at temperature 1 come from, if the other replies tell it.

    Those at temperature 0 are the same if the temperature has no effect. A reply that goes on where
    a lower token limit ends another was generated anew, so that no cache has sent it.
    """
    with suppress(NotVerifiableError):
        if all(
            texts_of(greedy, least=1)[0] == texts_of(sampled, least=1)[0]
            for greedy, sampled in zip(cold, hot, strict=True)
        ):
            return ", and equal to those at temperature 0: the temperature has no effect"
        for sampled, others in zip(hot, fresh, strict=True):
            begun = sampled.first[1].generated
            longer = (each.first[1].generated for each in others)
            if any(text.startswith(begun) and text != begun for text in longer):
                return ", but not to those at temperature 0: requests without a seed get the same"
    return ""


@GROUP.probe(
    "sampling.temperature.tools",
    HOT[-1],
    WITH_TOOL,
    component="sampling",
    fix="Apply the temperature of the request also if it offers tools.",
)
def _hot_with_tool(free: Sent, with_tool: Sent) -> Trials:
    """At temperature 1, ten replies to a question are not all equal if the request offers a tool.

    Agents always offer tools. The same question without a tool shows how much the model varies: if
    more than two of its replies are equal, nothing is judged. Nor is a reply that repeats a few
    words, of which a model is certain, or one that is so frequent over the other API, where others
    occur, that ten alike are no rarity.
    """
    plain, offered = ([reply.generated for _, reply in sent.replies] for sent in (free, with_tool))
    if len(offered) < SAMPLES - 1 or len(plain) < TRIES / 2:
        raise NotVerifiableError("too_few_replies", request=with_tool.name)
    if len(set(plain)) < len(plain) - 1:
        raise NotVerifiableError("hardly_varies")
    again = 2 * len(" ".join(dict.fromkeys(offered[0].split()))) < len(offered[0])
    if len(offered[0]) < _BEGINNING or again:
        raise NotVerifiableError("too_short_to_compare")
    elsewhere = [reply.generated for _, reply in with_tool.elsewhere]
    frequent = elsewhere.count(offered[0]) / max(len(elsewhere), 1)
    if frequent < 1 and frequent ** len(offered) > _LUCK:
        raise NotVerifiableError("hardly_varies")
    exchange, _ = with_tool.first
    message = "With a tool, all replies to a question are equal at temperature 1."
    got = (
        f"{len(offered)} times {offered[0]!r}; without a tool, {len(set(plain))} different replies"
    )
    same = Problem(exchange, message, "replies that differ", got)
    yield same if len(set(offered)) == 1 else None


@GROUP.probe(
    "sampling.cached",
    HOT,
    *FRESH,
    component="cache",
    fix="Sample every request anew; a cache of replies is wrong above temperature 0.",
)
def _cached(hot: Sent, *fresh_ones: Sent) -> Trials:
    """At temperature 1, a repeated request gets a new sample, not the reply to an earlier one.

    Evals and agents that retry rely on new samples. The repeated requests are sent one after the
    other; others with different token limits show how often the model itself repeats a reply.
    """
    same, repeated = _copies(hot)
    usual, fresh = _copies(fresh_ones)
    if not repeated or not fresh:
        raise NotVerifiableError("too_short_to_compare")
    if p_more((same, repeated), (usual, fresh)) > _CACHED:
        yield None
        return
    exchange = _first(hot)
    message = "Replies to repeated requests at temperature 1 are copies of earlier replies."
    expected = f"new samples: {usual} of {fresh} replies to changed requests are copies"
    yield Problem(exchange, message, expected, f"{same} of {repeated} are copies")


def _copies(groups: Iterable[Sent]) -> tuple[int, int]:
    """How many replies to each group of requests equal an earlier one, and how many are later."""
    copies = later = 0
    for group in groups:
        replies = (reply for each in group for _, reply in each.replies)
        texts = [reply.reasoning + reply.text for reply in replies]
        compared = [text[:_COMPARED] for text in texts if len(text) >= _BEGINNING]
        copies += len(compared) - len(set(compared))
        later += max(len(compared) - 1, 0)
    return copies, later


@GROUP.probe(
    "sampling.temperature.zero",
    HOT,
    COLD,
    component="sampling",
    example=(
        "The temperature is 0.7, regardless of the request.",
        "https://github.com/InternLM/lmdeploy/pull/3962",
    ),
)
def _cold(hot: Sent, cold: Sent) -> Trials:
    """At temperature 0, replies to the same request are nearly equal.

    Batching causes small differences. If the provider ignores the temperature, replies differ as
    much as at temperature 1.
    """
    message = "Replies to one request at temperature 0 differ more often than noise explains."
    yield _as_varied(hot, cold, message)


@GROUP.probe(
    "sampling.top_p",
    HOT,
    COLD,
    NARROW,
    component="sampling",
    fix="Pass top_p on to the engine, also beside a temperature.",
)
def _narrow(hot: Sent, cold: Sent, narrow: Sent) -> Trials:
    """At temperature 1 and a top_p near 0, replies to the same request are nearly equal.

    Only the most probable token can be drawn, so replies differ no more than at temperature 0. If
    the provider ignores top_p, they differ as much as without it.
    """
    narrow.served("top_p")
    message = f"At temperature 1, replies differ with a top_p of {NUCLEUS} as without it."
    problem = _as_varied(hot, narrow, message)
    drawn, greedy = (_odd([texts_of(e, least=1) for e in some]) for some in (narrow, cold))
    yield problem if problem and p_more(drawn, greedy) <= _BESIDE_COLD else None


_of_seeds = partial(GROUP.probe, apis=("chat",), needs="seed", severity="warning")


@_of_seeds("sampling.seed", HOT, SEEDED, component="sampling")
def _seed(hot: Sent, seeded: Sent) -> Trials:
    """The same seed usually produces the same reply.

    Users set a seed to reproduce replies. The API only promises best effort.
    """
    first, *_ = seeded
    first.served("seeds")
    message = "Replies to one request with one seed differ more often than noise explains."
    yield _as_varied(hot, seeded, message)


@_of_seeds("sampling.seed.zero", HOT, SEEDED, ZERO, suite="full", component="sampling")
def _zero(*sent: Sent) -> Trials:
    """The seed 0 reproduces replies like any other seed.

    Code that tests whether a seed is set may take 0 for none. The replies with a different seed
    show how often the same seed gives different replies, and the replies without a seed show
    whether seeds matter.
    """
    *_, of_zero = sent
    first, *_ = of_zero
    first.served("the seed 0")
    hot, seeded, zero = ([texts_of(each) for each in group] for group in sent)
    if _exceeds_noise(seeded):
        raise NotVerifiableError("seeds_vary")
    (odd, replies), (usual, others) = _odd(zero), _odd(seeded)
    if p_more(_odd(hot), (usual, others)) > _LUCK:
        raise NotVerifiableError("hardly_varies")
    if p_more((odd, replies), (usual, others)) > _LUCK:
        yield None
        return
    exchange = _first(of_zero)
    message = "Replies with the seed 0 vary significantly more than those with a different seed."
    expected = f"{usual} of {others} {_DIFFERENT}, as with a different seed"
    yield Problem(exchange, message, expected, f"{odd} of {replies}")


def _first(sent: Sent) -> ParsedExchange:
    """Return the reply to the first of several requests. Raises NotVerifiableError."""
    first, *_ = sent
    return first.first[0]


def _as_varied(sampled: Sent, compared: Sent, message: str) -> Problem | None:
    """A problem if the replies vary more than noise explains.

    Raises NotVerifiableError if there are too few, or those at temperature 1 vary too little.
    """
    exchange = _first(compared)
    hot = [texts_of(each) for each in sampled]
    cold = [texts_of(each, least=COLD_TRIES - 1) for each in compared]
    (usual, _), (odd, replies) = _odd(hot), _odd(cold)
    if not _exceeds_noise(hot):
        raise NotVerifiableError("hardly_varies")
    if not _exceeds_noise(cold):
        return None
    expected = f"{percentage(_NOISE, 0)} of the {_DIFFERENT}, as noise causes"
    return Problem(exchange, message, expected, f"{odd} of {replies}; at temperature 1, {usual}")


def texts_of(sent: Sent, least: float = TRIES / 2) -> list[str]:
    """Return the beginning of each reply, CoT first. Raises NotVerifiableError."""
    texts = [(reply.reasoning + reply.text)[:_BEGINNING] for _, reply in sent.replies]
    if len(texts) < least:
        raise NotVerifiableError("too_few_replies", request=sent.name)
    return texts


def _exceeds_noise(questions: Sequence[Sequence[str]]) -> bool:
    """Whether more replies are odd than batching explains at temperature 0."""
    return at_least(*_odd(questions), _NOISE) <= _LUCK


def _odd(questions: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How many replies differ from the most frequent one to the same question, and the total."""
    usual = sum(Counter(texts).most_common(1)[0][1] for texts in questions)
    replies = sum(map(len, questions))
    return replies - usual, replies
