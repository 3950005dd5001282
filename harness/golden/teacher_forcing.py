"""Teacher forcing: the reference engine scores the provider's own tokens.

A golden file compares tokens only up to the first difference. The engine instead reads the prompt
and the provider's CoT and answer, and computes the logprob of each token, at any temperature.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from harmony.vocabulary import encode, token_of
from harness.api.items import Reply
from harness.api.parsed_rollout import parse_rollout
from harness.golden import engine
from harness.golden.distance import Compared, ReportedToken, compare, entries_of
from harness.golden.engine import EngineOptions, Question
from harness.records.rollouts import Rollout

_PROMPT_FIELDS = frozenset(
    {
        *("messages", "input", "instructions", "tools", "tool_choice"),
        *("reasoning", "reasoning_effort", "response_format", "text"),
    }
)
_REASONING = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant"
_ANSWER = "<|channel|>final<|message|>"


class Scored(NamedTuple):
    """The number of compared replies, of replies with other prompts, and the differences."""

    replies: int
    other_prompts: int
    compared: Compared


def score_replies(rollouts: Iterable[Rollout], options: EngineOptions) -> Scored:
    """Score answers with logprobs, and count those to other prompts. Raises ConfigurationError."""
    recorded = [each for rollout in rollouts for each in _recorded(rollout)]
    if not recorded:
        return Scored(0, 0, Compared())
    _, answers = engine.score([question for question, _, _ in recorded], options)
    compared = Compared()
    replies = 0
    for (_, entries, prompt_tokens), answer in zip(recorded, answers, strict=True):
        if prompt_tokens in (None, answer.prompt_tokens):
            replies += 1
            compared += compare(answer.tokens[-len(entries) :], entries)
    return Scored(replies, len(recorded) - replies, compared)


def _recorded(rollout: Rollout) -> Iterator[tuple[Question, Sequence[ReportedToken], int | None]]:
    """The tokens of a rollout's first reply with their entries, and its number of prompt tokens."""
    for exchange, reply in list(parse_rollout(rollout).replies)[:1]:
        body = exchange.request.body
        if reply.calls or rollout.api == "harmony" or "previous_response_id" in body:
            continue
        listed = entries_of(exchange, reply)
        # The tokens before the first that is not in the vocabulary.
        ids = [
            *takewhile(lambda token: token is not None, (token_of(each.name) for each in listed))
        ]
        if ids:
            tokens = (*_opening(reply, listed), *(token for token in ids if token is not None))
            fields = {key: value for key, value in body.items() if key in _PROMPT_FIELDS}
            question = Question(rollout.id, exchange.api, {"model": "", **fields}, tokens)
            yield question, listed[: len(ids)], reply.input_tokens


def _opening(reply: Reply, found: Sequence[ReportedToken]) -> tuple[int, ...]:
    """The tokens that the model generated before the listed ones."""
    if found[0].name.startswith(b"<|"):
        return ()
    thought = encode(_REASONING.format(reply.reasoning)) if reply.reasoning else []
    return (*thought, *encode(_ANSWER))
