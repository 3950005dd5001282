"""Code words in long prompts: those that the model finds, and those that it cannot know.

A word of another request proves that the server mixed up prompts or their cached values. A word
that is not found may be the model's own limit. It is evidence only in comparison with the shortest
prompts, whose words the same model found, and even then the model may be the cause.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from harness.api.parsed_rollout import ParsedExchange
from harness.rules.long.requests import (
    CODE_WORDS,
    GRID,
    GROUP,
    cell,
)
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import Sent, TrialResult, Trials
from harness.rules.rule import Problem
from harness.statistics.two_rates import chance_of_worse

_CELLS = {length: tuple(cell(length, depth) for depth in GRID[length]) for length in GRID}
_SIGNIFICANCE = 0.01
"""For all comparisons of a probe together: each length with all longer ones is one comparison."""
_LEAST_FOUND = 5 / 6
"""The share of words in the shortest prompts that a model must find to be judged at longer ones."""
_TOOLS = ("tools A", "tools B", "tools C")

Hits = Mapping[str, tuple[ParsedExchange, bool]]
"""By request, its exchange and whether the reply has the code word."""


def _hits(asked: Sent) -> Hits:
    """Return the requests with a reply that ended by itself, or has the word."""
    return {
        each.name: (exchange, hit)
        for each in asked
        for exchange, reply in each.readable
        if (hit := CODE_WORDS[each.name] in reply.generated) or reply.finish != "length"
    }


def _lost(shortest: Hits, longer: Sequence[Hits]) -> TrialResult:
    """A problem if significantly fewer words are found from some length on; see `_SIGNIFICANCE`.

    Each group is compared with the shortest prompts together with all longer groups. Raises
    NotVerifiableError if the model finds too few words in the shortest, or none are longer.
    """
    hits, most = sum(hit for _, hit in shortest.values()), len(shortest)
    if not most:
        raise NotVerifiableError("no_complete_reply", prompts="the shortest")
    if hits < _LEAST_FOUND * most:
        raise NotVerifiableError(
            "few_words_found", hits=hits, most=most, prompts="the shortest", what="long prompts"
        )
    pooled = [
        dict(chain.from_iterable(group.items() for group in longer[at:]))
        for at in range(len(longer))
    ]
    judged = required(filter(None, pooled), "no_longer_prompt")
    for group in judged:
        found, count = sum(hit for _, hit in group.values()), len(group)
        if chance_of_worse(found, count, hits, most) < _SIGNIFICANCE / len(judged):
            exchange = next(exchange for exchange, hit in group.values() if not hit)
            message = (
                f"Code words are found in {found} of {count} long prompts, and in {hits} of {most} "
                "of the shortest: a limit of the model, or a defect of positions, window or cache. "
                "Test the same weights on another server to find out which."
            )
            return Problem(exchange, message, "about as many as in the shortest", f"{found}")
    return None


@GROUP.probe(
    "long.words",
    *_CELLS.values(),
    severity="info",
    witness=True,
    component="model",
)
def _needles(*asked: Sent) -> Trials:
    """Code words in long prompts are found as often as in the shortest ones.

    Wrong positions, windows or cache pages hide parts of a prompt, but the model itself may also
    fail.
    """
    _ = asked[0].rollouts
    shortest, *longer = map(_hits, asked)
    yield _lost(shortest, longer)


_ALL = [name for names in (*_CELLS.values(), _TOOLS) for name in names]
_FOREIGN = "The reply has a code word that only another request contained."


@GROUP.probe("long.foreign", _ALL, component="shared")
def _foreign(asked: Sent) -> Trials:
    """No reply has a code word that only another request contained.

    The model cannot know it: another prompt, other tools, or their cached values reached the model.
    """
    answers = ((each.name, *answer) for each in asked for answer in each.readable)
    for name, exchange, reply in required(answers, "no_long_reply"):
        others = {word: other for other, word in CODE_WORDS.items() if word != CODE_WORDS[name]}
        seen = next((word for word in others if word in reply.generated), None)
        message, expected = _FOREIGN, f"{CODE_WORDS[name]}, or none"
        got = "" if seen is None else f"{seen}, of {others[seen]!r}"
        yield Problem(exchange, message, expected, got) if seen else None
