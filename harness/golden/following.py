"""The reference engine led along a provider's own tokens: every recorded answer is comparable then.

A golden file compares as long as the tokens agree. With the engine at hand, nothing has to agree:
it reads the prompt and the provider's CoT and answer, and says how probable it finds each token
(teacher forcing), whatever the temperature was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.api.base import Reply
from harness.golden import engine
from harness.golden.distance import Compared, Entry, compare
from harness.golden.engine import How, Question
from harness.golden.entries import entries_of
from harness.golden.tokens import encoded, id_of
from harness.parsing.rollout import parse_rollout
from harness.records.rollouts import Rollout

_KEPT = frozenset(
    {
        *("messages", "input", "instructions", "tools", "tool_choice"),
        *("reasoning", "reasoning_effort", "response_format", "text"),
    }
)
_THOUGHT = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant"
_ANSWER = "<|channel|>final<|message|>"


@dataclass(frozen=True)
class Followed:
    """What came of following: replies that were compared, others, and the differences."""

    replies: int
    other_prompts: int
    compared: Compared


@dataclass(frozen=True)
class _Recorded:
    question: Question
    entries: Sequence[Entry]
    prompt_tokens: int | None


def follow(rollouts: Iterable[Rollout], how: How) -> Followed:
    """Lead the engine along every recorded answer that has log probabilities.

    Replies to prompts of another length than the engine's are left out and counted.

    Raises:
        ConfigurationError: The engine cannot answer.
    """
    recorded = [each for rollout in rollouts for each in _recorded(rollout)]
    if not recorded:
        return Followed(0, 0, Compared())
    _, answers = engine.ask([each.question for each in recorded], how)
    compared = Compared()
    replies = 0
    for each, answer in zip(recorded, answers, strict=True):
        if each.prompt_tokens in (None, answer.prompt_tokens):
            replies += 1
            compared += compare(answer.tokens[-len(each.entries) :], each.entries)
    return Followed(replies, len(recorded) - replies, compared)


def _recorded(rollout: Rollout) -> Iterator[_Recorded]:
    """The first reply of a rollout, if its tokens are known."""
    for turn, reply in list(parse_rollout(rollout).replies)[:1]:
        body = turn.exchange.request.body or {}
        if reply.calls or "previous_response_id" in body:
            continue
        found = _known(entries_of(turn, reply))
        if found:
            tokens = (*_opening(reply, found), *(id_of(each.name) for each in found))
            asked = {key: value for key, value in body.items() if key in _KEPT}
            question = Question(rollout.id, turn.api, {"model": "", **asked}, _ids(tokens))
            yield _Recorded(question, found, reply.input_tokens)


def _known(found: Iterable[Entry]) -> Sequence[Entry]:
    """The tokens up to the first that the vocabulary does not have."""
    known: list[Entry] = []
    for each in found:
        if id_of(each.name) is None:
            break
        known.append(each)
    return known


def _ids(tokens: Iterable[int | None]) -> tuple[int, ...]:
    return tuple(token for token in tokens if token is not None)


def _opening(reply: Reply, found: Sequence[Entry]) -> tuple[int, ...]:
    """What the model wrote before the tokens that are listed, which may be all of them."""
    if found[0].name.startswith(b"<|"):
        return ()
    thought = encoded(_THOUGHT.format(reply.reasoning)) if reply.reasoning else ()
    return (*thought, *encoded(_ANSWER))
