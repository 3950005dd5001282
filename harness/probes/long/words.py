"""Replies to long prompts: code words that the model finds or cannot know, and cached prefixes.

A word of another request proves that the server mixed up prompts or their cached values. A word
that is not found may be the model's own limit. It is evidence only in comparison with the shortest
prompts, whose words the same model found, and even then the model may be the cause. A prefix cache
must not change the numbers of a prompt that is sent again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from harness.api.base import Reply
from harness.findings import Problem
from harness.golden.distance import ReportedToken, entries_of
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import NotVerifiableError, ProbeResponses, TrialResult, Trials
from harness.probes.long.requests import (
    CONVERSATIONS,
    GRID,
    GROUP,
    PREFIXES,
    STEPS,
    cell,
    code_words,
    steps,
)
from harness.probes.refusals import required
from harness.statistics.reliability import chance_of_worse

_CELLS = {length: tuple(cell(length, each) for each in GRID[length]) for length in GRID}
_WORDS = code_words()
_SIGNIFICANCE = 0.01
"""Of all comparisons of a probe together: each length and all longer ones are one comparison."""
_LEAST_FOUND = 5 / 6
"""The share of words in the shortest prompts that a model must find to be judged at longer ones."""
_TOOLS = ("tools A", "tools B", "tools C")

Found = Mapping[str, tuple[ParsedExchange, bool]]
"""By request, its exchange and whether the reply has the code word."""


def _found(responses: ProbeResponses, names: Iterable[str]) -> Found:
    """The requests with a reply that ended by itself, or has the word."""
    return {
        name: (exchange, hit)
        for name in names
        for exchange, reply in _replies(responses, name)
        if (hit := _WORDS[name] in reply.generated) or reply.finish != "length"
    }


def _replies(responses: ProbeResponses, name: str) -> Iterator[tuple[ParsedExchange, Reply]]:
    return (pair for rollout in responses.rollouts.get(name, ()) for pair in rollout.replies)


def _lost(
    shortest: Found, longer: Sequence[Found], what: str, easier: str = "the shortest"
) -> TrialResult:
    """A problem if significantly fewer words are found from some length on; see `_SIGNIFICANCE`.

    Each group is compared with the shortest prompts together with all longer groups. Raises
    NotVerifiableError if the model finds too few words in the shortest, or none are longer.
    """
    hits, most = sum(hit for _, hit in shortest.values()), len(shortest)
    if not most:
        raise NotVerifiableError(f"None of {easier} prompts got a complete reply.")
    if hits < _LEAST_FOUND * most:
        raise NotVerifiableError(
            f"The model finds {hits} of {most} code words in {easier} prompts, too few to judge "
            f"{what}."
        )
    pooled = [{k: v for each in longer[at:] for k, v in each.items()} for at in range(len(longer))]
    judged = [each for each in pooled if each]
    if not judged:
        raise NotVerifiableError("No longer prompt got a complete reply.")
    for each in judged:
        found, count = sum(hit for _, hit in each.values()), len(each)
        if chance_of_worse(found, count, hits, most) < _SIGNIFICANCE / len(judged):
            exchange = next(exchange for exchange, hit in each.values() if not hit)
            message = (
                f"Code words are found in {found} of {count} {what}, and in {hits} of {most} of "
                "the shortest: a limit of the model, or a defect of positions, window or cache. "
                "Test the same weights on another server to find out which."
            )
            return Problem(exchange, message, "about as many as in the shortest", f"{found}")
    return None


@GROUP.probe("long.words", [name for names in _CELLS.values() for name in names], severity="info")
def _needles(responses: ProbeResponses) -> Trials:
    """Code words in long prompts are found as often as in the shortest ones.

    Wrong positions, windows or cache pages hide parts of a prompt, and so does the model's limit.
    """
    shortest, *longer = (_found(responses, names) for names in _CELLS.values())
    yield _lost(shortest, longer, "long prompts")


@GROUP.probe(
    "long.words.loop",
    [steps(count, each) for count in (STEPS[0], STEPS[-1]) for each in CONVERSATIONS],
    severity="info",
)
def _canary(responses: ProbeResponses) -> Trials:
    """The model still knows a code word from the first CoT of a tool loop after 25 calls.

    Agents keep their plan in the first CoT.
    """
    few, many = (
        _found(responses, [steps(count, each) for each in CONVERSATIONS])
        for count in (STEPS[0], STEPS[-1])
    )
    yield _lost(few, [many], f"conversations of {STEPS[-1]} tool calls")


@GROUP.probe(
    "long.prefix.words", [f"{kind} {n}" for kind in ("cold", "warm", "again") for n in PREFIXES]
)
def _repeated(responses: ProbeResponses) -> Trials:
    """In a repeated prompt, the model finds the same code words as in the first request.

    Prompt and model are the same, so only a cache can cause a difference.
    """
    cold = _found(responses, [f"cold {n}" for n in PREFIXES])
    again = _found(responses, [f"{kind} {n}" for kind in ("warm", "again") for n in PREFIXES])
    lost = _lost(cold, [again], "repeated prompts", "the new")
    if lost is not None:
        lost = Problem(
            lost.exchange,
            "Code words that the model found in new prompts are not found in the same prompts sent "
            "again, which a prefix cache serves.",
            f"{len(again)} of {len(again)}",
            lost.got,
        )
    yield lost


@GROUP.probe("long.foreign", [name for names in (*_CELLS.values(), _TOOLS) for name in names])
def _foreign(responses: ProbeResponses) -> Trials:
    """A reply has no code word that only another request contained.

    The model cannot know it: another prompt, other tools, or their cached values reached the model.
    """
    judged = False
    for name in (name for names in (*_CELLS.values(), _TOOLS) for name in names):
        others = {each: other for other, each in _WORDS.items() if each != _WORDS[name]}
        for exchange, reply in _replies(responses, name):
            judged, text = True, reply.generated
            seen = next((each for each in others if each in text), None)
            message = "The reply has a code word that only another request contained."
            expected = f"{_WORDS[name]}, or none"
            yield (
                None
                if seen is None
                else Problem(exchange, message, expected, f"{seen}, of {others[seen]!r}")
            )
    if not judged:
        raise NotVerifiableError("No long prompt got a reply.")


_INFORMATIVE = (-100.0, -0.01)
"""Logprobs beyond these tell nothing: an API's floor, or a token of which the model is certain."""
_TOLERANCE = 1.0
"""Nats. Twice the median of healthy engines of different number formats, a KV cache in 8 bits
included, is 0.6 (docs/numerics.md, small checkpoint). A server differs less from itself."""
_SAME = 1e-4
"""Nats between numbers that come from the same computation; APIs round them at 1e-5 or finer."""
_LEAST = 10  # values needed for a judgement
_SHOWN = 80  # characters of a reply in a finding
_USES = [f"{kind} {n}" for kind in ("cold", "warm", "again") for n in PREFIXES]


def _changes(one: list[ReportedToken], other: list[ReportedToken]) -> list[float]:
    """|Δ logprob| of the alternatives that both list, up to the first different token."""
    found: list[float] = []
    least, most = _INFORMATIVE
    for first, second in zip(one, other, strict=False):
        found += (
            abs(value - second.top[name])
            for name, value in first.top.items()
            if name in second.top and least < value < most
        )
        if first.name != second.name:
            break
    return found


def _pairs(
    responses: ProbeResponses, *kinds: str
) -> Iterator[tuple[Reply, ParsedExchange, Reply, list[float]]]:
    """The reply to each new prompt, each repetition of these kinds, and the changes of logprobs."""
    for number in PREFIXES:
        cold = _one(responses, f"cold {number}")
        for kind in kinds:
            later = _one(responses, f"{kind} {number}")
            if cold is not None and later is not None:
                yield cold[1], *later, _changes(entries_of(*cold), entries_of(*later))


def _one(responses: ProbeResponses, name: str) -> tuple[ParsedExchange, Reply] | None:
    pairs = (pair for rollout in responses.rollouts.get(name, ()) for pair in rollout.replies)
    return next(pairs, None)


@GROUP.probe("long.prefix.numbers", _USES, needs="logprobs")
def _numbers(responses: ProbeResponses) -> Trials:
    """A prompt that is sent again has the same logprobs, within rounding.

    A cached prefix with other positions, lost pages or values of another prompt changes them.
    """
    judged = (
        (later, changes)
        for cold, later, reply, changes in _pairs(responses, "warm", "again")
        if cold.reasoning == reply.reasoning and len(changes) >= _LEAST
    )
    reason = "No prompt that was sent again has enough logprobs after the same CoT."
    for later, changes in required(judged, reason):
        found = median(changes)
        message = "The same prompt has other logprobs when it is sent again."
        expected = f"median |Δ logprob| up to {_TOLERANCE} nats"
        got = f"{found:.2f} nats, of {len(changes)} values"
        yield None if found <= _TOLERANCE else Problem(later, message, expected, got)


@GROUP.probe("long.prefix.replies", _USES, severity="warning")
def _other_replies(responses: ProbeResponses) -> Trials:
    """Repeated prompts do not all get one reply when new and another one when sent again.

    A cached prefix with other positions, lost pages or values of another prompt changes replies.
    """
    documents = [
        [_one(responses, f"{kind} {n}") for kind in ("cold", "warm", "again")] for n in PREFIXES
    ]
    complete = [[pair for pair in each if pair] for each in documents if None not in each]
    if len(complete) < len(PREFIXES):
        raise NotVerifiableError("Not every prompt that was sent again got three replies.")
    found = sum(_changed(*(reply for _, reply in each)) for each in complete)
    if found < len(complete):
        yield None
        return
    yield Problem(
        complete[0][1][0],
        f"Each of {found} long prompts gets one reply when it is new, and another one both times "
        "that it is sent again. If the cache changes nothing, this happens in at most one of "
        f"{4**found} runs.",
        "the same reply, or three different ones",
        complete[0][1][1].generated[:_SHOWN],
    )


def _changed(cold: Reply, warm: Reply, again: Reply) -> bool:
    """Whether both repetitions have one reply, and the new prompt another.

    If all three are drawn from one distribution, the probability is Σ pᵢ² (1 − pᵢ) ≤ 1/4.
    """
    return warm.generated == again.generated != cold.generated


@GROUP.probe(
    "long.prefix.effort",
    [f"{kind} {n}" for kind in ("cold", "other effort") for n in PREFIXES],
    needs="logprobs",
)
def _effort(responses: ProbeResponses) -> Trials:
    """A prompt with another reasoning effort has other logprobs.

    The same numbers mean that the model read the same prompt: the effort is lost, or the cache
    ignores it.
    """
    judged = [
        (later, cold.reasoning == reply.reasoning and max(changes) <= _SAME)
        for cold, later, reply, changes in _pairs(responses, "other effort")
        if len(changes) >= _LEAST
    ]
    if not judged:
        raise NotVerifiableError("No reply has enough logprobs.")
    for later, same in judged:
        message = "A prompt with effort high has exactly the logprobs of the one with effort low."
        expected = "another reply, or other logprobs"
        yield Problem(later, message, expected, "the same CoT and logprobs") if same else None
