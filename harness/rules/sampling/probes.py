"""Temperature, top_p and seed: replies vary where they must, and nowhere else."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain

from harness.api.parsed_rollout import ParsedExchange
from harness.rules.evidence.fetched import first_replies, served
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import ProbeResponses, Trials
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
    (*HOT, *chain.from_iterable(FRESH), *COLD),
    component="sampling",
    fix="Apply the temperature of the request, and draw a new seed if it has none.",
)
def _hot(responses: ProbeResponses) -> Trials:
    """At temperature 1, replies to the same question differ.

    Evals and agents sample at 1.0. Greedy replies score differently and are not samples.
    """
    texts = [
        [text for name in (hot, *fresh) for text in texts_of(responses, name, least=1)]
        for hot, fresh in zip(HOT, FRESH, strict=True)
    ]
    exchange, _ = responses.reply(HOT[0])
    message = (
        "At temperature 1, all replies to the same question are equal, for each of three questions"
        f"{_author(responses)}."
    )
    got = f"{len(texts[0])} times {texts[0][0]!r}, and likewise for the other questions"
    same = Problem(exchange, message, "replies that differ", got)
    constant = all(len(set(replies)) == 1 for replies in texts)
    answers = {replies[0] for replies in texts}
    if constant and (len(answers) < len(texts) or len(min(answers, key=len)) < _BEGINNING):
        raise NotVerifiableError("too_short_to_compare")  # such as one refusal
    yield same if constant else None


def _author(responses: ProbeResponses) -> str:
    """Return what equal replies at temperature 1 come from, if the other replies tell it.

    Those at temperature 0 are the same if the temperature has no effect. A reply that goes on where
    a lower token limit ends another was generated anew, so that no cache has sent it.
    """
    with suppress(NotVerifiableError):
        if all(
            texts_of(responses, cold, least=1)[0] == texts_of(responses, hot, least=1)[0]
            for cold, hot in zip(COLD, HOT, strict=True)
        ):
            return ", and equal to those at temperature 0: the temperature has no effect"
        for hot, fresh in zip(HOT, FRESH, strict=True):
            begun = responses.reply(hot)[1].generated
            longer = (responses.reply(name)[1].generated for name in fresh)
            if any(text.startswith(begun) and text != begun for text in longer):
                return ", but not to those at temperature 0: requests without a seed get the same"
    return ""


@GROUP.probe(
    "sampling.temperature.tools",
    (HOT[-1], WITH_TOOL),
    component="sampling",
    fix="Apply the temperature of the request also if it offers tools.",
    example=(
        "With tools, the temperature becomes 0.",
        "https://github.com/LostRuins/koboldcpp/issues/2481",
    ),
)
def _hot_with_tool(responses: ProbeResponses) -> Trials:
    """At temperature 1, ten replies to a question are not all equal if the request offers a tool.

    Agents always offer tools. The same question without a tool shows how much the model varies: if
    more than two of its replies are equal, nothing is judged. Nor is a reply that repeats a few
    words, of which a model is certain, or one that is so frequent over the other API, where others
    occur, that ten alike are no rarity.
    """
    plain, offered = (
        [reply.generated for _, reply in responses.replies(name)] for name in (HOT[-1], WITH_TOOL)
    )
    if len(offered) < SAMPLES - 1 or len(plain) < TRIES / 2:
        raise NotVerifiableError("too_few_replies", request=WITH_TOOL)
    if len(set(plain)) < len(plain) - 1:
        raise NotVerifiableError("hardly_varies")
    again = 2 * len(" ".join(dict.fromkeys(offered[0].split()))) < len(offered[0])
    if len(offered[0]) < _BEGINNING or again:
        raise NotVerifiableError("too_short_to_compare")
    elsewhere = [
        reply.generated for _, reply in first_replies(responses.other_apis.get(WITH_TOOL, ()))
    ]
    frequent = elsewhere.count(offered[0]) / max(len(elsewhere), 1)
    if frequent < 1 and frequent ** len(offered) > _LUCK:
        raise NotVerifiableError("hardly_varies")
    exchange, _ = responses.reply(WITH_TOOL)
    message = "With a tool, all replies to a question are equal at temperature 1."
    got = (
        f"{len(offered)} times {offered[0]!r}; without a tool, {len(set(plain))} different replies"
    )
    same = Problem(exchange, message, "replies that differ", got)
    yield same if len(set(offered)) == 1 else None


@GROUP.probe(
    "sampling.cached",
    (*HOT, *chain.from_iterable(FRESH)),
    component="cache",
    fix="Sample every request anew; a cache of replies is wrong above temperature 0.",
)
def _cached(responses: ProbeResponses) -> Trials:
    """At temperature 1, a repeated request gets a new sample, not the reply to an earlier one.

    Evals and agents that retry rely on new samples. The repeated requests are sent one after the
    other; others with different token limits show how often the model itself repeats a reply.
    """
    same, repeated = _copies(responses, [[name] for name in HOT])
    usual, fresh = _copies(responses, FRESH)
    if not repeated or not fresh:
        raise NotVerifiableError("too_short_to_compare")
    if p_more((same, repeated), (usual, fresh)) > _CACHED:
        yield None
        return
    exchange, _ = responses.reply(HOT[0])
    message = "Replies to repeated requests at temperature 1 are copies of earlier replies."
    expected = f"new samples: {usual} of {fresh} replies to changed requests are copies"
    yield Problem(exchange, message, expected, f"{same} of {repeated} are copies")


def _copies(responses: ProbeResponses, groups: Iterable[Sequence[str]]) -> tuple[int, int]:
    """How many replies to each group of requests equal an earlier one, and how many are later."""
    copies = later = 0
    for names in groups:
        replies = (reply for name in names for _, reply in responses.replies(name))
        texts = [reply.reasoning + reply.text for reply in replies]
        compared = [text[:_COMPARED] for text in texts if len(text) >= _BEGINNING]
        copies += len(compared) - len(set(compared))
        later += max(len(compared) - 1, 0)
    return copies, later


@GROUP.probe(
    "sampling.temperature.zero",
    (*HOT, *COLD),
    component="sampling",
    example=(
        "The temperature is 0.7, regardless of the request.",
        "https://github.com/InternLM/lmdeploy/pull/3962",
    ),
)
def _cold(responses: ProbeResponses) -> Trials:
    """At temperature 0, replies to the same request are nearly equal.

    Batching causes small differences. If the provider ignores the temperature, replies differ as
    much as at temperature 1.
    """
    exchange, _ = responses.reply(COLD[0])
    message = "Replies to one request at temperature 0 differ more often than noise explains."
    yield _as_varied(responses, exchange, message, COLD)


@GROUP.probe(
    "sampling.top_p",
    (*HOT, *COLD, *NARROW),
    component="sampling",
    fix="Pass top_p on to the engine, also beside a temperature.",
    example=(
        "A gateway drops top_p if the request also sets a temperature.",
        "https://github.com/pollinations/pollinations/pull/12162",
    ),
)
def _narrow(responses: ProbeResponses) -> Trials:
    """At temperature 1 and a top_p near 0, replies to the same request are nearly equal.

    Only the most probable token can be drawn, so replies differ no more than at temperature 0. If
    the provider ignores top_p, they differ as much as without it.
    """
    for name in NARROW:
        served(responses, name, "top_p")
    exchange, _ = responses.reply(NARROW[0])
    message = f"At temperature 1, replies differ with a top_p of {NUCLEUS} as without it."
    problem = _as_varied(responses, exchange, message, NARROW)
    narrow, cold = (
        _odd([texts_of(responses, n, least=1) for n in some]) for some in (NARROW, COLD)
    )
    yield problem if problem and p_more(narrow, cold) <= _BESIDE_COLD else None


_of_seeds = partial(GROUP.probe, apis=("chat",), needs="seed", severity="warning")


@_of_seeds("sampling.seed", (*HOT, *SEEDED), component="sampling")
def _seed(responses: ProbeResponses) -> Trials:
    """The same seed usually produces the same reply.

    Users set a seed to reproduce replies. The API only promises best effort.
    """
    served(responses, SEEDED[0], "seeds")
    exchange, _ = responses.reply(SEEDED[0])
    message = "Replies to one request with one seed differ more often than noise explains."
    yield _as_varied(responses, exchange, message, SEEDED)


@_of_seeds("sampling.seed.zero", (*HOT, *SEEDED, *ZERO), suite="full", component="sampling")
def _zero(responses: ProbeResponses) -> Trials:
    """The seed 0 reproduces replies like any other seed.

    Code that tests whether a seed is set may take 0 for none. The replies with a different seed
    show how often the same seed gives different replies, and the replies without a seed show
    whether seeds matter.
    """
    served(responses, ZERO[0], "the seed 0")
    hot, seeded, zero = (
        [texts_of(responses, name) for name in names] for names in (HOT, SEEDED, ZERO)
    )
    if _exceeds_noise(seeded):
        raise NotVerifiableError("seeds_vary")
    (odd, replies), (usual, others) = _odd(zero), _odd(seeded)
    if p_more(_odd(hot), (usual, others)) > _LUCK:
        raise NotVerifiableError("hardly_varies")
    if p_more((odd, replies), (usual, others)) > _LUCK:
        yield None
        return
    exchange, _ = responses.reply(ZERO[0])
    message = "Replies with the seed 0 vary significantly more than those with a different seed."
    expected = f"{usual} of {others} {_DIFFERENT}, as with a different seed"
    yield Problem(exchange, message, expected, f"{odd} of {replies}")


def _as_varied(
    responses: ProbeResponses, exchange: ParsedExchange, message: str, names: Sequence[str]
) -> Problem | None:
    """A problem if the replies vary more than noise explains.

    Raises NotVerifiableError if there are too few, or those at temperature 1 vary too little.
    """
    hot = [texts_of(responses, name) for name in HOT]
    cold = [texts_of(responses, name, least=COLD_TRIES - 1) for name in names]
    (usual, _), (odd, replies) = _odd(hot), _odd(cold)
    if not _exceeds_noise(hot):
        raise NotVerifiableError("hardly_varies")
    if not _exceeds_noise(cold):
        return None
    expected = f"{percentage(_NOISE, 0)} of the {_DIFFERENT}, as noise causes"
    return Problem(exchange, message, expected, f"{odd} of {replies}; at temperature 1, {usual}")


def texts_of(responses: ProbeResponses, name: str, least: float = TRIES / 2) -> list[str]:
    """Return the beginning of each reply, CoT first. Raises NotVerifiableError."""
    texts = [(reply.reasoning + reply.text)[:_BEGINNING] for _, reply in responses.replies(name)]
    if len(texts) < least:
        raise NotVerifiableError("too_few_replies", request=name)
    return texts


def _exceeds_noise(questions: Sequence[Sequence[str]]) -> bool:
    """Whether more replies are odd than batching explains at temperature 0."""
    return at_least(*_odd(questions), _NOISE) <= _LUCK


def _odd(questions: Sequence[Sequence[str]]) -> tuple[int, int]:
    """How many replies differ from the most frequent one to the same question, and the total."""
    usual = sum(Counter(texts).most_common(1)[0][1] for texts in questions)
    replies = sum(map(len, questions))
    return replies - usual, replies
