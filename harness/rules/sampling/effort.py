"""Replies to one question at several efforts, and the comparison of their CoT."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from statistics import median

from harness.api.items import Message, Tool
from harness.records.conditions import EFFORTS, Api, Mode
from harness.rules.evidence.offers import answer_format, closed
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import NON_STREAMING, PUZZLE_TOKENS, ProbeRequest, ProbeResponses
from harness.rules.rule import Problem
from harness.statistics.differences import share_larger
from harness.text import percentage

TOOL, SCHEMA = " with a tool", " with a schema"
"""What a request has in addition to the question, as the end of its name."""
GREEDY = tuple(f"greedy {effort}" for effort in EFFORTS)
_GREEDY_TOKENS = 256  # of replies that gpt-oss does not begin alike if it sees different efforts
_TRIES = 5
_FEWEST_COTS = 3
"""Replies with CoT at the higher effort; those without CoT are left out, as theirs was lost."""
_LEAST_ORDER = 0.75
"""If effort has no effect, five pairs of replies reach this value once in nine times."""
_SHORTEST = 16
"""Characters of a CoT. With shorter ones at the higher effort, the model does not reason."""
_MUCH_LONGER = 2  # a ratio of medians that shows an effect where lengths vary more than usual

_PUZZLE = (
    Message("user", "How many positive whole numbers below 1000 are not divisible by 2, 3 or 5?"),
)
_UNUSED = Tool("get_tide", "Height of the tide.", {"type": "object", "properties": {}}, "{}")
_ANSWER = closed({"answer": {"type": "integer"}})
_puzzled = partial(ProbeRequest, turns=_PUZZLE, max_tokens=PUZZLE_TOKENS, tries=_TRIES, whole=False)


def requests_with(suffix: str = "", efforts: Sequence[str] = ("low", "high")) -> tuple[str, ...]:
    """Return the names of the requests at these efforts."""
    return tuple(f"effort {effort}{suffix}" for effort in efforts)


def effort_requests(api: Api) -> tuple[ProbeRequest, ...]:
    """The question at every effort, and at two of them with a tool and with a JSON schema.

    With a schema it is a stream. Without streaming, high effort shows that the model then reasons.
    """
    schema = partial(
        _puzzled,
        options=answer_format(api, _ANSWER),
        provokes=frozenset({"request.refused", "answer.json"}),
    )
    return (
        *(_puzzled(f"effort {effort}", effort=effort) for effort in EFFORTS),
        *(
            _puzzled(name, effort=effort, temperature=0.0, tries=1, max_tokens=_GREEDY_TOKENS)
            for name, effort in zip(GREEDY, EFFORTS, strict=True)
        ),
        *(
            _puzzled(f"effort {effort}{TOOL}", tools=(_UNUSED,), effort=effort)
            for effort in ("low", "high")
        ),
        schema(f"effort low{SCHEMA}", effort="low"),
        schema(f"effort high{SCHEMA}", effort="high", modes=NON_STREAMING),
    )


def without_effect(responses: ProbeResponses) -> Iterator[Problem]:
    """Yield the problems that show that the prompts of two efforts are equal, or not harmony's.

    The effort is one token of the system message: greedy replies to two efforts are equal only if
    the model does not see it, and all these prompts have as many tokens.
    """
    made = [
        (effort, exchange, reply)
        for effort, name in zip(EFFORTS, GREEDY, strict=True)
        for _, exchange, reply in responses.readable(name)
    ]
    for (less, _, lower), (more, exchange, higher) in pairwise(made):
        message = f"Greedy replies at {more} and {less} effort are equal."
        got = higher.reasoning + higher.text
        if got == lower.reasoning + lower.text != "":
            yield Problem(exchange, message, "replies that differ", got)
    counts = {
        effort: {reply.input_tokens for *_, reply in responses.readable(f"effort {effort}")}
        for effort in EFFORTS
    }
    fixed = {effort: next(iter(each)) for effort, each in counts.items() if len(each) == 1}
    if made and len({*fixed.values()}) > 1 and None not in fixed.values():
        message = "The prompts of different efforts have different numbers of tokens."
        got = ", ".join(f"{count} at {effort} effort" for effort, count in fixed.items())
        yield Problem(made[0][1], message, "the same number", got, "$.usage")


def unordered(
    responses: ProbeResponses, less: str, more: str, suffix: str = "", mode: Mode | None = None
) -> Problem | None:
    """Return the problem if the CoT is not longer at one effort than at a lower one.

    Raises NotVerifiableError if too few replies have CoT, if their CoTs are too short to differ and
    not longer in the other mode or in the plain form, or if all are shorter at the higher effort:
    then it has an effect.
    """
    # Lengths in characters, which every provider returns.
    shorter, longer = (
        [
            len(reply.reasoning)
            for _, reply in responses.replies(f"effort {effort}{suffix}", mode=mode)
        ]
        for effort in (less, more)
    )
    longer = [length for length in longer if length]
    if len(longer) < _FEWEST_COTS:
        raise NotVerifiableError("few_cots")
    share = share_larger(shorter, longer)
    low, high = median(shorter), median(longer)
    if share >= _LEAST_ORDER or high >= _MUCH_LONGER * low > 0:
        return None
    every = [len(reply.reasoning) for _, reply in responses.replies(f"effort {more}{suffix}")]
    plain = [len(reply.reasoning) for *_, reply in responses.readable(f"effort {more}")]
    if high < _SHORTEST and max(median(every), median(plain or [0])) < _MUCH_LONGER * high:
        raise NotVerifiableError("too_short_to_compare")
    if share == 0 and low > high:
        raise NotVerifiableError("reasons_less", more=more, less=less)
    exchange, _ = next(responses.replies(f"effort {more}{suffix}", mode=mode))
    message = f"The model does not reason longer at {more} effort than at {less} effort{suffix}."
    pairs = (
        f"of the pairs of a reply at {more} and one at {less} effort, the first has the longer CoT"
    )
    got = f"in {percentage(share, 0)}; medians of {high:g} and {low:g} characters"
    return Problem(exchange, message, f"in at least {percentage(_LEAST_ORDER, 0)} {pairs}", got)
