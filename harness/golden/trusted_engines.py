"""Trusted engines: requests in, tokens with logprobs out.

The reference engine is a subprocess; any other engine is a server with raw completions. Golden
files contain every token of an answer, CoT and special tokens included, and only an endpoint that
continues tokens returns all of them (`/v1/completions` of vLLM, SGLang and others).
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from harmony.parse import FIRST_SPECIAL, parts_of
from harmony.vocabulary import token_of
from harness.api import DIALECTS
from harness.api.fields import objects, objects_at
from harness.api.harmony import completion_of
from harness.api.items import UnreadableReplyError
from harness.checks.logprobs import entry_bytes
from harness.errors import ConfigurationError
from harness.golden.content import Token
from harness.providers.entries import Provider
from harness.records.conditions import Api
from harness.run.client import request

Bodies = Mapping[str, Mapping[str, Any]]  # bodies of requests by name


@dataclass(frozen=True)
class Requests:
    """The requests of a golden file: greedy ones with logprobs, and sampled ones."""

    greedy: Bodies
    drawn: Bodies
    api: Api = "chat"

    @property
    def sha256(self) -> str:
        """SHA-256 (hexadecimal) of all bodies, which identifies the requests of a golden file."""
        bodies = [*self.greedy.values(), *self.drawn.values()]
        return sha256(orjson.dumps(bodies, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True)
class Question:
    """A request body, and optionally the tokens to score, each with `top` alternatives."""

    id: str
    api: Api
    body: Mapping[str, Any]
    completion: tuple[int, ...] | None = None
    top: int = 20


@dataclass(frozen=True)
class EngineOptions:
    """Options of the engine; None means its default. `fault` is a defect to reproduce."""

    checkpoint: Path | None = None
    dtype: str | None = None
    residual: str | None = None  # number format of the residual stream
    fault: str | None = None
    device: str | None = None
    batch: int | None = None
    threads: int | None = None
    current_date: str | None = None
    max_context: int | None = None  # tokens

    def arguments(self) -> list[str]:
        """Return the command-line options."""
        flags = {"batch": "--max-batch"}
        given = {
            flags.get(name, f"--{name.replace('_', '-')}"): value
            for name, value in vars(self).items()
        }
        return [text for name, value in given.items() if value for text in (name, str(value))]


@dataclass(frozen=True)
class Head:
    """What answered: the engine's version, weights and number format, and what its faults do."""

    engine: str
    weights_sha256: str
    dtype: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The tokens of one answer."""

    id: str
    prompt_tokens: int
    tokens: tuple[Token, ...]


_HEAD = TypeAdapter(Head)
_ANSWER = TypeAdapter(Answer)


def score(questions: Iterable[Question], options: EngineOptions) -> tuple[Head, Sequence[Answer]]:
    """Answer all questions with the engine. Raises ConfigurationError with the engine's error."""
    command = [sys.executable, "-m", "reference_engine", "score", *options.arguments()]
    lines = b"\n".join(orjson.dumps(question) for question in questions)
    done = subprocess.run(command, input=lines, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        *_, reason = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason"]
        raise ConfigurationError(f"The reference engine failed: {reason.removeprefix('error: ')}")
    head, *answers = done.stdout.splitlines()
    return _HEAD.validate_json(head), [_ANSWER.validate_json(line) for line in answers]


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
        """Answer all questions, `at_once` at a time.

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
    """Return the tokens of a completion. Raises UnreadableReplyError."""
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
    """Return the alternatives of a token by their ids, the most probable first."""
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
