"""The same prompt sent several times: a prefix cache must not change its logprobs or replies."""

from collections.abc import Iterator, Sequence
from statistics import median

from harness.api.items import Reply
from harness.api.parsed_rollout import ParsedExchange
from harness.golden.distance import ReportedToken, entries_of
from harness.rules.long.requests import GROUP, PREFIXES
from harness.rules.missing import NotVerifiableError, required
from harness.rules.probe import Answer, Sent, Trials
from harness.rules.rule import Problem

_INFORMATIVE = (-100.0, -0.01)
"""Only logprobs in between show changes: below is an API's floor, above the model is certain."""
_TOLERANCE = 1.0
"""Nats. Twice the median of healthy engines of different number formats, a KV cache in 8 bits
included, is 0.6 (docs/numerics.md, small checkpoint). A server differs less from itself."""
_SAME = 1e-4
"""Nats between numbers that come from the same computation; APIs round them at 1e-5 or finer."""
_LEAST = 10  # values needed for a judgement
_KINDS = ("cold", "warm", "again")
_USES = [f"{kind} {n}" for kind in _KINDS for n in PREFIXES]


def _changes(one: list[ReportedToken], other: list[ReportedToken]) -> list[float]:
    """|Δ logprob| of the alternatives that both list, up to the first different token."""
    changes: list[float] = []
    least, most = _INFORMATIVE
    for first, second in zip(one, other, strict=False):
        changes += (
            abs(value - second.top[name])
            for name, value in first.top.items()
            if name in second.top and least < value < most
        )
        if first.name != second.name:
            break
    return changes


def _pairs(sent: Sent, *kinds: str) -> Iterator[tuple[Reply, ParsedExchange, Reply, list[float]]]:
    """The reply to each new prompt, each repetition of these kinds, and the changes of logprobs."""
    for number in PREFIXES:
        cold = _replies(sent, number, "cold")
        for later in _replies(sent, number, *kinds):
            for new in cold:
                yield new[1], *later, _changes(entries_of(*new), entries_of(*later))


def _replies(sent: Sent, number: int, *kinds: str) -> Sequence[Answer]:
    """The replies to the requests of these kinds with one of the prompts; each is sent once."""
    return sent.beside(*(f"{kind} {number}" for kind in kinds)).readable


@GROUP.probe(
    "long.prefix.numbers",
    _USES,
    needs="logprobs",
    fix=(
        "Compare answers with and without cached prefixes; the key of a prefix has all of its "
        "tokens."
    ),
    component="shared",
)
def _numbers(prompts: Sent) -> Trials:
    """A prompt that is sent again has the same logprobs, within rounding.

    A cached prefix with wrong positions, lost pages or values of another prompt changes them.
    """
    judged = (
        (later, changes)
        for cold, later, reply, changes in _pairs(prompts, "warm", "again")
        if cold.reasoning == reply.reasoning and len(changes) >= _LEAST
    )
    for later, changes in required(judged, "few_logprobs_again"):
        change = median(changes)
        message = "The same prompt has different logprobs when it is sent again."
        expected = f"median |Δ logprob| up to {_TOLERANCE} nats"
        got = f"{change:.2f} nats, of {len(changes)} values"
        yield None if change <= _TOLERANCE else Problem(later, message, expected, got)


@GROUP.probe(
    "long.prefix.replies",
    _USES,
    severity="warning",
    fix=(
        "Compare answers with and without cached prefixes; the key of a prefix has all of its "
        "tokens."
    ),
    component="shared",
)
def _other_replies(prompts: Sent) -> Trials:
    """Resending a prompt does not change the reply.

    A cached prefix with wrong positions, lost pages or values of another prompt changes replies.
    """
    documents = [_replies(prompts, number, *_KINDS) for number in PREFIXES]
    if not all(len(replies) == len(_KINDS) for replies in documents):
        raise NotVerifiableError("not_three_replies")
    # If all three are drawn from one distribution, the probability is Σ pᵢ² (1 − pᵢ) ≤ 1/4.
    if not all(
        warm.generated == again.generated != cold.generated
        for (_, cold), (_, warm), (_, again) in documents
    ):
        yield None
        return
    count = len(documents)
    yield Problem(
        documents[0][1][0],
        f"Each of {count} long prompts gets one reply when it is new, and a different one both "
        "times that it is sent again. If the cache changes nothing, this happens in at most one of "
        f"{4**count} runs.",
        "the same reply, or three different ones",
        documents[0][1][1].generated[:80],
    )


@GROUP.probe(
    "long.prefix.effort",
    [f"{kind} {n}" for kind in ("cold", "other effort") for n in PREFIXES],
    needs="logprobs",
    fix=(
        "Compare answers with and without cached prefixes; the key of a prefix has all of its "
        "tokens."
    ),
    component="shared",
)
def _effort(prompts: Sent) -> Trials:
    """A different reasoning effort gives different logprobs.

    The same logprobs mean that the model read the same prompt: the server lost the effort, or the
    cache ignores it.
    """
    judged = [
        (later, cold.reasoning == reply.reasoning and max(changes) <= _SAME)
        for cold, later, reply, changes in _pairs(prompts, "other effort")
        if len(changes) >= _LEAST
    ]
    if not judged:
        raise NotVerifiableError("few_logprobs")
    for later, same in judged:
        message = "The prompt with effort high has exactly the logprobs of the one with effort low."
        expected = "a different reply, or different logprobs"
        yield Problem(later, message, expected, "the same CoT and logprobs") if same else None
