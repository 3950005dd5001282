"""Replies to one question at several efforts, and the comparison of their CoT."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import NamedTuple

from harness.api.items import Message, Tool
from harness.records.conditions import APIS, EFFORTS
from harness.rules.evidence.offers import answer_format, closed
from harness.rules.missing import NotVerifiableError
from harness.rules.probe import PUZZLE_TOKENS, ProbeRequest, Sent
from harness.rules.rule import Problem
from harness.statistics.differences import share_larger

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
_with_tool = partial(_puzzled, tools=(_UNUSED,))
_bare = partial(_puzzled, options={"tools": [_WITHOUT_PARAMETERS]}, apis=("chat",))
_with_schema = partial(
    _puzzled,
    options_of=partial(answer_format, schema=_ANSWER),
    provokes=frozenset({"request.refused"}),
)
_of_other_apis = tuple(api for api in APIS if api != "chat")


@dataclass(frozen=True)
class Questions:
    """The question at several efforts: sampled, and greedy. `what` ends the names of requests."""

    sampled: tuple[ProbeRequest, ...]
    greedy: tuple[ProbeRequest, ...]
    what: str = ""

    @property
    def requests(self) -> tuple[ProbeRequest, ...]:
        """All of them."""
        return (*self.sampled, *self.greedy)


def _questions(
    what: str,
    asked: Callable[..., ProbeRequest],
    greedy: Iterable[Callable[..., ProbeRequest]],
    efforts: Sequence[str] = ("low", "high"),
) -> Questions:
    shorter = {"temperature": 0.0, "tries": 1, "max_tokens": _GREEDY_TOKENS}
    return Questions(
        tuple(asked(f"effort {effort}{what}", effort=effort) for effort in efforts),
        tuple(
            made(f"greedy {effort}{what}", effort=effort, **shorter)
            for made in greedy
            for effort in efforts
        ),
        what,
    )


PLAIN = _questions("", _puzzled, [_puzzled], EFFORTS)
WITH_A_TOOL = _questions(
    " with a tool", _with_tool, [partial(_with_tool, apis=_of_other_apis), _bare]
)
WITH_A_SCHEMA = _questions(" with a schema", _with_schema, [_with_schema])


def other_prompts(sampled: Mapping[str, Sent]) -> Iterator[Problem]:
    """Yield the problem of prompts whose lengths differ: the effort is one token of each."""
    made = {effort: sent.readable for effort, sent in sampled.items()}
    counts = {effort: {reply.input_tokens for _, reply in each} for effort, each in made.items()}
    fixed = {effort: next(iter(each)) for effort, each in counts.items() if len(each) == 1}
    if len({*fixed.values()}) > 1 and None not in fixed.values():
        message = "The prompts of different efforts have different numbers of tokens."
        got = ", ".join(f"{count} at {effort} effort" for effort, count in fixed.items())
        exchange, _ = next(made[effort][0] for effort in fixed)
        yield Problem(exchange, message, "the same number", got, "$.usage")


class AtEffort(NamedTuple):
    """What came back for the question at one effort."""

    effort: str
    sampled: Sent
    greedy: Sent


def same_effort(less: AtEffort, more: AtEffort, what: str = "") -> Problem | None:
    """Return the problem if the replies show that the model sees one effort instead of two.

    Its CoT is not longer at the higher effort, and the greedy replies are equal. The lengths alone
    show nothing, because a model may reason alike at both. Raises NotVerifiableError if too few
    replies have CoT, if their CoT is too short, or if greedy replies do not count anything or
    differ.
    """
    # Lengths in characters, which every provider returns.
    shorter, longer = (
        [len(reply.reasoning) for _, reply in each.sampled.replies] for each in (less, more)
    )
    longer = [length for length in longer if length]
    if len(longer) < _FEWEST_COTS:
        raise NotVerifiableError("few_cots")
    share = share_larger(shorter, longer)
    low, high = median(shorter), median(longer)
    if share >= _LEAST_ORDER or high >= _MUCH_LONGER * low > 0:
        return None
    greedy = [each.greedy.first for each in (less, more)]
    texts = {reply.reasoning + reply.text for _, reply in greedy}
    if len(texts) > 1:
        raise NotVerifiableError("reasons_alike", more=more.effort, less=less.effort)
    text = texts.pop()
    shortest = min(high, *(len(reply.reasoning) for _, reply in greedy))
    if shortest < _SHORTEST or not re.search(r"\d", text):  # a refusal has no number
        raise NotVerifiableError("too_short_to_compare")
    message = f"Greedy replies at {more.effort} and {less.effort} effort{what} are equal."
    got = f"{text}; medians of {high:g} and {low:g} characters"
    return Problem(greedy[1][0], message, "replies that differ, and a longer CoT", got)
