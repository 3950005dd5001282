"""Results of several calls of one reply: harmony tells them apart by their order alone."""

from __future__ import annotations

import json
from collections.abc import Iterator

from harness.api.base import Reply, Tool
from harness.api.conversation import Message, ToolCall, ToolResult
from harness.checks.base import HARMONY, Problem
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.tools.offers import REPLY_TOKENS
from harness.records.conditions import Api

_LOOK_UP = Tool(
    "get_code_word",
    "Look up the code word of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    '{"code_word": "none"}',
)
_ASKED = Message(
    "user", "What is the code word of Lisbon? Look up that of Oslo, too, but do not tell me."
)
_WORDS = (
    ("zulu4182", "orchid596"),
    ("orchid596", "kestrel73"),
    ("kestrel73", "falcon2290"),
    ("falcon2290", "zulu4182"),
)
"""Of the first city, which is asked for, and of the second."""
_REQUIRED = 0.65
"""Short of all four results mixed up, it may be the model."""


def _asks(_api: Api) -> tuple[Ask, ...]:
    return tuple(
        Ask(
            first,
            (
                _ASKED,
                *(ToolCall(f"call_{city}", _LOOK_UP.name, f'{{"city": "{city}"}}')
                  for city in ("Lisbon", "Oslo")),
                *(ToolResult(f"call_{city}", json.dumps({"code_word": word}))
                  for city, word in (("Lisbon", first), ("Oslo", second))),
            ),
            (_LOOK_UP,),
            temperature=0.0,
            max_tokens=REPLY_TOKENS,
        )
        for first, second in _WORDS
    )  # fmt: skip


BENCH = Bench("tools.results", _asks)


@BENCH.probe(
    "tools.results.order",
    uses=[first for first, _ in _WORDS],
    severity="error",
    summary="The results of two calls of one function reach the model in the order of the calls.",
    why="Nothing else in the prompt says which result belongs to which call.",
    source=HARMONY,
    required=_REQUIRED,
)
def _order(answers: Answers) -> Iterator[Trial]:
    told = [
        (turn, first, second, said)
        for first, second in _WORDS
        for turn, reply in answers.replies(first)
        if (said := _told(reply, (first, second))) is not None
    ]
    if not told:
        raise NotVerifiableError("The model told none of the results, or both of them.")
    for turn, first, second, said in told:
        yield None if said == first else _mixed_up(turn, first, second)


def _told(reply: Reply, words: tuple[str, str]) -> str | None:
    """The one word that a reply tells; where it has no text, the one that its CoT speaks of."""
    text = (reply.text or reply.reasoning).lower()
    found = [word for word in words if word in text]
    return found[0] if len(found) == 1 else None


def _mixed_up(turn: ParsedExchange, first: str, second: str) -> Problem:
    message = "The model takes the result of the second call for that of the first."
    return Problem(turn, message, first, second)
