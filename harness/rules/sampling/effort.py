"""Replies to one question at several efforts, and the comparison of their CoT."""

from collections.abc import Sequence
from functools import partial
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
            _puzzled(f"effort {effort}{TOOL}", tools=(_UNUSED,), effort=effort)
            for effort in ("low", "high")
        ),
        schema(f"effort low{SCHEMA}", effort="low"),
        schema(f"effort high{SCHEMA}", effort="high", modes=NON_STREAMING),
    )


def unordered(
    responses: ProbeResponses, less: str, more: str, suffix: str = "", mode: Mode | None = None
) -> Problem | None:
    """Return the problem if the CoT is not longer at one effort than at a lower one.

    Raises NotVerifiableError if too few replies have CoT, if their CoTs are too short to differ and
    not longer in the other mode, or if all are shorter at the higher effort: then it has an effect.
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
    if high < _SHORTEST and median(every) < _MUCH_LONGER * high:
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
