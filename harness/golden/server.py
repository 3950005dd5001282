"""A trusted server over its raw completions: harmony prompts in, tokens with logprobs out.

Golden files hold every token of an answer, CoT and special tokens included. Only an endpoint that
continues tokens returns all of them (`/v1/completions` of vLLM, SGLang and others).
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import orjson

from harmony.parse import FIRST_SPECIAL, parts_of
from harmony.vocabulary import token_of
from harness.api import DIALECTS
from harness.api.base import UnreadableReplyError
from harness.api.fields import objects, objects_at
from harness.api.harmony import completion_of
from harness.endpoints.client import request
from harness.errors import ConfigurationError
from harness.golden.distance import entry_bytes
from harness.golden.engine import Answer, Question
from harness.golden.records import Token
from harness.providers.entries import Provider

_DIALECT = DIALECTS["harmony"]
_MOST_SHOWN = 200  # characters of an error


@dataclass(frozen=True)
class Server:
    """A server that is known to be healthy.

    `engine` and `numbers` describe it in golden files. `exact` is whether it computes and stores
    all numbers in 16 bits or more.
    """

    provider: Provider
    engine: str
    numbers: str
    exact: bool

    def answers(self, questions: Sequence[Question], at_once: int) -> Sequence[Answer]:
        """Answer all questions, so many at once.

        Raises ConfigurationError if a reply is not usable, ProviderUnreachableError if none came.
        """
        return asyncio.run(self._answers(questions, at_once))

    async def _answers(self, questions: Sequence[Question], at_once: int) -> Sequence[Answer]:
        remaining = iter(questions)
        found: dict[str, Answer] = {}

        async def work() -> None:
            for question in remaining:
                found[question.id] = await self._one(question)

        await asyncio.gather(*(work() for _ in range(at_once)))
        return [found[question.id] for question in questions]

    async def _one(self, question: Question) -> Answer:
        received = await request(self.provider, _DIALECT.path, question.body)
        place = f"{self.provider.base_url}{_DIALECT.path} ({question.id})"
        if received.status != 200:
            reason = " ".join(received.text.split())[:_MOST_SHOWN]
            raise ConfigurationError(f"{place} answered with {received.status}: {reason}")
        try:
            return _answer(question, orjson.loads(received.text))
        except (ValueError, UnreadableReplyError) as error:
            raise ConfigurationError(f"The reply of {place} is not usable: {error}.") from None


def _answer(question: Question, raw: object) -> Answer:
    """The tokens of a completion. Raises UnreadableReplyError."""
    if not isinstance(raw, dict) or not (choices := objects_at(raw, "choices", "")):
        raise UnreadableReplyError("it has no choices")
    entries = _DIALECT.logprobs(raw)
    if "logprobs" not in question.body:
        return _with_tops(question, completion_of(choices[0][1], choices[0][0]).tokens, repeat(()))
    ids = [token_of(entry_bytes(entry)) for entry in entries]
    known = [token for token in ids if token is not None]
    if not known:
        raise UnreadableReplyError("it has no logprobs")
    if len(known) < len(ids) or max(known) < FIRST_SPECIAL:
        raise UnreadableReplyError("its logprobs do not name all tokens, special ones included")
    return _with_tops(question, known, map(_top, entries))


def _with_tops(
    question: Question, ids: Sequence[int], tops: Iterable[tuple[tuple[int, float], ...]]
) -> Answer:
    tokens = (Token(*each) for each in zip(ids, parts_of(ids), tops, strict=False))
    return Answer(question.id, len(question.body["prompt"]), tuple(tokens))


def _top(entry: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    """The alternatives of a token by their ids, the most probable first."""
    listed = [entry, *objects(entry.get("top_logprobs"))]
    values = {
        token: float(value)
        for each in listed
        if isinstance(value := each.get("logprob"), int | float)
        and (token := token_of(entry_bytes(each))) is not None
    }
    if not values:
        raise UnreadableReplyError("a token has no logprob")
    return tuple(sorted(values.items(), key=lambda item: -item[1]))
