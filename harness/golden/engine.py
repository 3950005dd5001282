"""The reference engine as a subprocess: requests in, tokens with logprobs out."""

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from harness.errors import ConfigurationError
from harness.golden.records import Token
from harness.records.conditions import Api

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
        """The command-line options."""
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
