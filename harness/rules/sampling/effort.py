"""Replies to one question at several efforts, and the comparison of their CoT."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median

from harness.api.items import Message, Tool
from harness.records.conditions import EFFORTS, Api, Mode
from harness.rules.evidence.offers import answer_format, closed
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import PUZZLE_TOKENS, ProbeRequest, ProbeResponses
from harness.rules.rule import Problem
from harness.statistics.differences import share_larger

TOOL, SCHEMA = " with a tool", " with a schema"
"""What a request has in addition to the question, as the end of its name."""
_GREEDY_TOKENS = 256  # of replies that gpt-oss does not begin alike if it sees different efforts
_FEWEST_COTS = 3
"""Replies with CoT at the higher effort; those without CoT are left out, as theirs was lost."""
_LEAST_ORDER = 0.75
"""If effort has no effect, five pairs of replies reach this value once in nine times."""
_SHORTEST = 32
"""Characters of a CoT; shorter ones may be equal at different efforts, and show none of them."""
_MUCH_LONGER = 2  # a ratio of medians that shows an effect where lengths vary more than usual

_PUZZLE = (
    Message("user", "How many positive whole numbers below 1000 are not divisible by 2, 3 or 5?"),
)
_UNUSED = Tool("get_tide", "Height of the tide.", {"type": "object"}, "{}")
"""A bare schema, as tools of MCP servers have it."""
_WITHOUT_PARAMETERS = {
    "type": "function",
    "function": {"name": _UNUSED.name, "description": _UNUSED.description},
}
_ANSWER = closed({"answer": {"type": "integer"}})
_puzzled = partial(ProbeRequest, turns=_PUZZLE, max_tokens=PUZZLE_TOKENS, tries=5, whole=False)


def requests_with(suffix: str = "", efforts: Sequence[str] = ("low", "high")) -> tuple[str, ...]:
    """Return the names of the requests at these efforts: sampled, then greedy."""
    return tuple(f"{kind} {effort}{suffix}" for kind in ("effort", "greedy") for effort in efforts)


def effort_requests(api: Api) -> tuple[ProbeRequest, ...]:
    """The question at every effort, and at two of them with a tool and with a JSON schema."""
    schema = partial(
        _puzzled,
        options=answer_format(api, _ANSWER),
        provokes=frozenset({"request.refused"}),
    )
    with_tool = partial(_puzzled, tools=(_UNUSED,))
    bare = partial(_puzzled, options={"tools": [_WITHOUT_PARAMETERS]})
    greedy = {"temperature": 0.0, "tries": 1, "max_tokens": _GREEDY_TOKENS}
    return tuple(
        made(f"{kind} {effort}{suffix}", effort=effort, **settings)
        for sampled, made_greedy, suffix, efforts in (
            (_puzzled, _puzzled, "", EFFORTS),
            (with_tool, bare if api == "chat" else with_tool, TOOL, ("low", "high")),
            (schema, schema, SCHEMA, ("low", "high")),
        )
        for kind, made, settings in (("effort", sampled, {}), ("greedy", made_greedy, greedy))
        for effort in efforts
    )


def other_prompts(responses: ProbeResponses) -> Iterator[Problem]:
    """Yield the problem of prompts whose lengths differ: the effort is one token of each."""
    made = {effort: list(responses.readable(f"effort {effort}")) for effort in EFFORTS}
    counts = {effort: {reply.input_tokens for *_, reply in each} for effort, each in made.items()}
    fixed = {effort: next(iter(each)) for effort, each in counts.items() if len(each) == 1}
    if len({*fixed.values()}) > 1 and None not in fixed.values():
        message = "The prompts of different efforts have different numbers of tokens."
        got = ", ".join(f"{count} at {effort} effort" for effort, count in fixed.items())
        _, exchange, _ = next(made[effort][0] for effort in fixed)
        yield Problem(exchange, message, "the same number", got, "$.usage")


def same_effort(
    responses: ProbeResponses, less: str, more: str, suffix: str = "", mode: Mode | None = None
) -> Problem | None:
    """Return the problem if the replies show that the model sees one effort instead of two.

    Its CoT is not longer at the higher effort, and the greedy replies are equal. The lengths alone
    show nothing, because a model may reason alike at both. Raises NotVerifiableError if too few
    replies have CoT, if their CoT is too short, or if greedy replies do not count anything or
    differ.
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
    names = [f"greedy {effort}{suffix}" for effort in (less, more)]
    greedy = [next(responses.replies(name, mode=mode)) for name in names]
    texts = {reply.reasoning + reply.text for _, reply in greedy}
    if len(texts) > 1:
        raise NotVerifiableError("reasons_alike", more=more, less=less)
    text = texts.pop()
    shortest = min(high, *(len(reply.reasoning) for _, reply in greedy))
    if shortest < _SHORTEST or not re.search(r"\d", text):  # a refusal has no number
        raise NotVerifiableError("too_short_to_compare")
    message = f"Greedy replies at {more} and {less} effort{suffix} are equal."
    got = f"{text}; medians of {high:g} and {low:g} characters"
    return Problem(greedy[1][0], message, "replies that differ, and a longer CoT", got)
