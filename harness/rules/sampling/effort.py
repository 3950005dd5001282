"""Replies to one question at several efforts, and the comparison of their CoT."""

from collections.abc import Sequence
from functools import partial
from statistics import median

from harness.api.items import Message, Tool
from harness.records.conditions import EFFORTS, Api
from harness.rules.evidence.offers import answer_format, closed
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import PUZZLE_TOKENS, ProbeRequest, ProbeResponses
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
    """The question at every effort, and at two of them with a tool and with a JSON schema."""
    schema = partial(
        _puzzled,
        options=answer_format(api, _ANSWER),
        provokes=frozenset({"request.refused", "answer.json"}),
    )
    return (
        *(_puzzled(f"effort {effort}", effort=effort) for effort in EFFORTS),
        *(
            new(f"effort {effort}{suffix}", effort=effort)
            for suffix, new in ((TOOL, partial(_puzzled, tools=(_UNUSED,))), (SCHEMA, schema))
            for effort in ("low", "high")
        ),
    )


def unordered(responses: ProbeResponses, less: str, more: str, suffix: str = "") -> Problem | None:
    """Return the problem if the CoT is not longer at one effort than at a lower one.

    Raises NotVerifiableError if too few replies have CoT, or their CoTs are too short to differ, or
    so much shorter at the higher effort that the model does not read both as one.
    """
    # Lengths in characters, which every provider returns.
    shorter, longer = (
        [len(reply.reasoning) for _, reply in responses.replies(f"effort {effort}{suffix}")]
        for effort in (less, more)
    )
    longer = [length for length in longer if length]
    if len(longer) < _FEWEST_COTS:
        raise NotVerifiableError("few_cots")
    share = share_larger(shorter, longer)
    low, high = median(shorter), median(longer)
    if share >= _LEAST_ORDER or high >= _MUCH_LONGER * low > 0:
        return None
    if high < _SHORTEST:
        raise NotVerifiableError("too_short_to_compare")
    if share == 0 and low > high:
        raise NotVerifiableError("reasons_less", more=more, less=less)
    exchange, _ = responses.reply(f"effort {more}{suffix}")
    message = f"The model does not reason longer at {more} effort than at {less} effort{suffix}."
    pairs = (
        f"of the pairs of a reply at {more} and one at {less} effort, the first has the longer CoT"
    )
    got = f"in {percentage(share, 0)}; medians of {high:g} and {low:g} characters"
    return Problem(exchange, message, f"in at least {percentage(_LEAST_ORDER, 0)} {pairs}", got)
