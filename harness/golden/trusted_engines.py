"""Trusted engines: requests in, tokens with logprobs out.

The reference engine is a subprocess; any other engine is a server with raw completions. Golden
files contain every token of an answer, CoT and special tokens included, and only an endpoint that
continues tokens returns all of them (`/v1/completions` of vLLM, SGLang and others).
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from harmony.parse import FIRST_SPECIAL, parts_of
from harmony.render import tokens_sha256
from harmony.vocabulary import token_of
from harness.api import DIALECTS
from harness.api.fields import objects_at
from harness.api.harmony import completion_of
from harness.api.items import UnreadableReplyError
from harness.errors import ConfigurationError, os_errors
from harness.golden.content import Answers, Continuation, Token
from harness.golden.distance import ReportedToken, reported
from harness.providers.entries import Provider
from harness.records.conditions import Api
from harness.run.client import request


@dataclass(frozen=True)
class Question:
    """A request body, and optionally the tokens to score, each with `top` alternatives."""

    id: str
    api: Api
    body: Mapping[str, Any]
    completion: tuple[int, ...] | None = None
    top: int = 20


@dataclass(frozen=True)
class Head:
    """What answered: the engine's version, weights and number format, and what its faults do.

    `exact` is whether it computes and stores all numbers in 16 bits or more. `weights_sha256` is
    empty if a server answered.
    """

    engine: str
    dtype: str
    weights_sha256: str = ""
    faults: Sequence[str] = ()
    exact: bool = True
    current_date: str | None = None


@dataclass(frozen=True)
class ReferenceEngine:
    """The reference engine, with its options; None means its default.

    `fault` is a defect to reproduce, `residual` the number format of the residual stream,
    `max_context` a number of tokens.
    """

    checkpoint: Path | None = None
    dtype: str | None = None
    residual: str | None = None
    fault: str | None = None
    device: str | None = None
    max_batch: int | None = None
    threads: int | None = None
    current_date: str | None = None
    max_context: int | None = None

    def answers(
        self, questions: Sequence[Question], changes: Mapping[str, Any] = {}
    ) -> tuple[Head, Answers]:
        """Answer all questions in a subprocess, with changed options.

        Raises ConfigurationError with the reason if that is impossible.
        """
        used = replace(self, **changes)
        options = {f"--{name.replace('_', '-')}": value for name, value in vars(used).items()}
        given = [text for name, value in options.items() if value for text in (name, str(value))]
        lines = b"\n".join(map(orjson.dumps, questions))
        command = [sys.executable, "-m", "reference_engine", "score", *given]
        done = subprocess.run(command, input=lines, capture_output=True, check=False)  # noqa: S603
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = said[-1].removeprefix("error: ") if said else "no reason"
            raise ConfigurationError(f"The reference engine failed: {reason}")
        head, *answers = map(orjson.loads, done.stdout.splitlines())
        described = Head(**head, exact=used.fault is None, current_date=used.current_date)
        return described, {answer["id"]: _scored(answer) for answer in answers}


def _scored(answer: Mapping[str, Any]) -> Continuation:
    tokens = [Token(token["id"], token["part"], token["top"]) for token in answer["tokens"]]
    return Continuation.of(answer["prompt_tokens"], tokens, answer["prompt_sha256"])


_DIALECT = DIALECTS["harmony"]
_MOST_SHOWN = 200  # characters of an error
_AT_ONCE = 16


@dataclass(frozen=True)
class Server:
    """A server that is known to be healthy.

    `engine` and `numbers` describe it in golden files, `exact` is as in `Head`. It answers
    `at_once` questions at a time, because its numbers depend on the batch, but more whose numbers
    are not compared. The file `kept` has the answers so far, so that the next call asks for the
    rest; `progress` gets their number.
    """

    provider: Provider
    engine: str
    numbers: str
    exact: bool
    at_once: int = 1
    kept: Path | None = None
    progress: Callable[[str], None] = lambda _: None

    def answers(
        self, questions: Sequence[Question], changes: Mapping[str, Any] = {}
    ) -> tuple[Head, Answers]:
        """Answer all questions.

        Raises ConfigurationError if a reply is not usable or cannot be kept, and
        ProviderUnreachableError if none came.
        """
        answers = asyncio.run(replace(self, **changes)._answers(questions))
        return Head(self.engine, self.numbers, exact=self.exact), answers

    async def _answers(self, questions: Sequence[Question]) -> Answers:
        known = dict(self._kept_answers(questions))
        due = [question for question in questions if question.id not in known]
        compared = [question for question in due if "logprobs" in question.body]
        others = [question for question in due if "logprobs" not in question.body]
        for portion in (*_portions(compared, self.at_once), *_portions(others, _AT_ONCE)):
            answers = await asyncio.gather(*map(self._answer, portion))
            for question, answer in zip(portion, answers, strict=True):
                known[question.id] = answer
                self._keep(question, answer)
            self.progress(f"{len(known)} of {len(questions)} answers")
        return {question.id: known[question.id] for question in questions}

    def _key(self, question: Question) -> str:
        asked = self.provider.base_url, self.engine, self.numbers, self.at_once, question.body
        return f"{question.id} {sha256(orjson.dumps(asked)).hexdigest()[:16]}"

    def _kept_answers(self, questions: Sequence[Question]) -> Iterator[tuple[str, Continuation]]:
        if self.kept is None or not self.kept.exists():
            return
        names = {self._key(question): question.id for question in questions}
        for line in self.kept.read_text(encoding="utf-8").splitlines():
            key, _, answer = line.partition("\t")
            with suppress(ValidationError):  # a line that was cut
                if key in names:
                    yield names[key], Continuation.model_validate_json(answer)

    def _keep(self, question: Question, answer: Continuation) -> None:
        if self.kept is not None:
            line = f"{self._key(question)}\t{answer.model_dump_json()}\n"
            with (
                os_errors(ConfigurationError, f"{self.kept} cannot be written"),
                self.kept.open("a", encoding="utf-8") as file,
            ):
                file.write(line)

    async def _answer(self, question: Question) -> Continuation:
        received = await request(self.provider, _DIALECT.path, question.body)
        place = f"{self.provider.base_url}{_DIALECT.path} ({question.id})"
        if received.status != 200:
            reason = " ".join(received.text.split())[:_MOST_SHOWN]
            raise ConfigurationError(f"{place} answered with {received.status}: {reason}")
        try:
            tokens = _tokens(question, orjson.loads(received.text))
        except (ValueError, UnreadableReplyError) as error:
            raise ConfigurationError(f"The reply of {place} is not usable: {error}.") from None
        prompt = question.body["prompt"]
        return Continuation.of(len(prompt), tokens, tokens_sha256(prompt))


Engine = ReferenceEngine | Server


def _portions(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    return (questions[at : at + size] for at in range(0, len(questions), size))


def _tokens(question: Question, raw: object) -> Sequence[Token]:
    """Return the tokens of a completion. Raises UnreadableReplyError."""
    if not isinstance(raw, dict) or not (choices := objects_at(raw, "choices", "")):
        raise UnreadableReplyError("it has no choices")
    if "logprobs" not in question.body:
        place, choice = choices[0]
        ids = completion_of(choice, place).tokens
        return [Token(id_, part, ()) for id_, part in zip(ids, parts_of(ids), strict=True)]
    entries = list(map(reported, _DIALECT.logprobs(raw)))
    known = [token for entry in entries if (token := token_of(entry.name)) is not None]
    if not known:
        raise UnreadableReplyError("it has no logprobs")
    if len(known) < len(entries) or max(known) < FIRST_SPECIAL:
        raise UnreadableReplyError("its logprobs do not name all tokens, special ones included")
    return [
        Token(id_, part, _top(entry))
        for id_, part, entry in zip(known, parts_of(known), entries, strict=True)
    ]


def _top(entry: ReportedToken) -> Sequence[tuple[int, float]]:
    """Return the alternatives of a token by their ids, the most probable first."""
    named = ((token_of(name), value) for name, value in entry.top.items())
    known = [(token, value) for token, value in named if token is not None]
    if not known:
        raise UnreadableReplyError("a token has no logprob")
    return sorted(known, key=lambda item: -item[1])
