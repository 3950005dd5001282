"""Log probabilities: that they are logarithms, and belong to the tokens of the answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.api.base import Reply
from harness.api.conversation import Message
from harness.checks.base import CHAT, Problem
from harness.checks.texts import GARBLED
from harness.golden.entries import entry_bytes, raw_entries
from harness.parsing.events import objects
from harness.parsing.rollout import ParsedExchange
from harness.probes.base import Answers, Ask, Bench, NotVerifiableError, Trial
from harness.probes.fates import fate, served
from harness.records.conditions import Api

_ALTERNATIVES = 3
_TOLERANCE = 1e-3
# Questions whose answers nobody is sure of: where all values are 0, none can be another's.
_QUESTIONS = {
    "a name": "Think of a name and a number. What are the name and the number?",
    "three things": "Name three things, then name them in another order.",
}


def _asks(api: Api) -> tuple[Ask, ...]:
    included = {"include": ["message.output_text.logprobs"]}
    options = {"logprobs": True} if api == "chat" else included
    return tuple(
        Ask(
            name,
            (Message("user", question),),
            temperature=0.0,
            options=options | {"top_logprobs": _ALTERNATIVES},
            provokes=GARBLED | {"request.refused", "chat.logprobs.missing"},
        )
        for name, question in _QUESTIONS.items()
    )


BENCH = Bench("logprobs", _asks)


@BENCH.probe(
    "logprobs.given",
    uses=_QUESTIONS,
    needs="logprobs",
    severity="error",
    summary="Log probabilities that are asked for are in the reply.",
    why="Left out in silence they cost whoever needs them; a refusal would be plain.",
    source=CHAT,
)
def _given(answers: Answers) -> Iterator[Trial]:
    for turn, reply in _replies(answers):
        message = "The request asked for log probabilities, and the reply has none."
        none = Problem(turn, message, "one entry for each token", "none", _place(turn))
        yield None if raw_entries(turn, reply) else none


@BENCH.probe(
    "logprobs.values",
    uses=_QUESTIONS,
    needs="logprobs",
    severity="error",
    summary="Log probabilities are at most 0, and a token's own is that among its alternatives.",
    why="Scores and comparisons of models are computed from them.",
    source=CHAT,
)
def _values(answers: Answers) -> Iterator[Trial]:
    for turn, reply in _with_entries(answers):
        found = (_wrong_entry(entry) for entry in raw_entries(turn, reply))
        wrong = next(((at, *each) for at, each in enumerate(found) if each), None)
        if wrong is None:
            yield None
        else:
            at, message, expected, got = wrong
            yield Problem(turn, message, expected, got, f"{_place(turn)}[{at}]")


@BENCH.probe(
    "logprobs.tokens",
    uses=_QUESTIONS,
    needs="logprobs",
    severity="error",
    summary="The tokens with log probabilities are those of the answer.",
    why="A value that belongs to another token is worse than none.",
    source=CHAT,
)
def _tokens(answers: Answers) -> Iterator[Trial]:
    for turn, reply in _with_entries(answers):
        text = _text(raw_entries(turn, reply))
        message = "The tokens with log probabilities do not make up the answer."
        other = Problem(turn, message, repr(reply.text), repr(text), _place(turn))
        yield None if _decodable(reply.text) in _decodable(text) else other


def _replies(answers: Answers) -> Iterator[tuple[ParsedExchange, Reply]]:
    """Replies with an answer. Raises NotVerifiableError."""
    views = [view for name in _QUESTIONS for view in served(answers, name, "log probabilities")]
    for view in views:
        turn = view.turns[-1]
        if turn.reply is None:
            raise NotVerifiableError(f"The provider fails at log probabilities: {fate(turn)}.")
        if turn.reply.text:
            yield turn, turn.reply


def _with_entries(answers: Answers) -> Sequence[tuple[ParsedExchange, Reply]]:
    found = [(turn, reply) for turn, reply in _replies(answers) if raw_entries(turn, reply)]
    if not found:
        raise NotVerifiableError("The replies have no log probabilities.")
    return found


def _place(turn: ParsedExchange) -> str:
    return "$.choices[0].logprobs.content" if turn.api == "chat" else "$.output[*].content[*]"


def _wrong_entry(entry: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """What is wrong with one token's entry: message, expected and got."""
    top = objects(entry.get("top_logprobs"))
    values = [_logprob(each) for each in (entry, *top)]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return "A log probability is no number, or above 0.", "numbers up to 0", f"{entry}"
    own, *ranked = numbers
    if any(less > more for more, less in pairwise(ranked)):
        return "The alternatives are not in order.", "the most probable first", f"{ranked}"
    if len(top) > _ALTERNATIVES + 1:
        return "There are more alternatives than asked for.", f"{_ALTERNATIVES}", f"{len(top)}"
    if math.fsum(map(math.exp, ranked)) > 1 + _TOLERANCE:
        return "The probabilities of the alternatives exceed 1.", "at most 1", f"{ranked}"
    same = [value for other, value in zip(top, ranked, strict=True) if _name(other) == _name(entry)]
    if len(same) == 1 and abs(same[0] - own) > _TOLERANCE * max(1, abs(own)):
        message = "A token has another log probability than it has among its alternatives."
        return message, f"{same[0]}", f"{own}"
    return None


def _logprob(entry: Mapping[str, Any]) -> float | None:
    """The value of an entry; None if it cannot be a log probability."""
    value = entry.get("logprob")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if value <= _TOLERANCE else None


def _name(entry: Mapping[str, Any]) -> tuple[Any, Any]:
    return entry.get("token"), entry.get("bytes")


def _decodable(text: str) -> str:
    """The text without the signs for undecodable bytes, whose number differs by decoder."""
    return text.replace("\N{REPLACEMENT CHARACTER}", "")


def _text(found: Sequence[Mapping[str, Any]]) -> str:
    """The text of the tokens: of their bytes where given, for one may be part of a character."""
    return b"".join(map(entry_bytes, found)).decode("utf-8", "replace")
