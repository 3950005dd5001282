"""The reference engine asked as a process: requests in, tokens with log probabilities out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter

from harness.errors import ConfigurationError
from harness.golden.records import Token
from harness.records.conditions import Api


@dataclass(frozen=True)
class Question:
    """A request body, and the tokens to follow where the model is not to go on freely."""

    id: str
    api: Api
    body: Mapping[str, Any]
    completion: tuple[int, ...] | None = None


@dataclass(frozen=True)
class How:
    """How to run the engine; None leaves the choice to it."""

    checkpoint: Path | None = None
    dtype: str | None = None
    device: str | None = None
    batch: int | None = None
    threads: int | None = None
    current_date: str | None = None

    def options(self) -> list[str]:
        """The options of the engine's command line."""
        given = {
            "--checkpoint": self.checkpoint,
            "--dtype": self.dtype,
            "--device": self.device,
            "--max-batch": self.batch,
            "--threads": self.threads,
            "--current-date": self.current_date,
        }
        return [text for name, value in given.items() if value for text in (name, str(value))]


@dataclass(frozen=True)
class Head:
    """What answered."""

    weights_sha256: str
    dtype: str


@dataclass(frozen=True)
class Answer:
    """The tokens of one answer."""

    id: str
    prompt_tokens: int
    tokens: tuple[Token, ...]


_HEAD = TypeAdapter(Head)
_ANSWER = TypeAdapter(Answer)


def ask(questions: Iterable[Question], how: How) -> tuple[Head, Sequence[Answer]]:
    """Have the engine answer all questions.

    Raises:
        ConfigurationError: It cannot; says why.
    """
    command = [sys.executable, "-m", "reference_engine", "score", *how.options()]
    lines = b"\n".join(orjson.dumps(question) for question in questions)
    done = subprocess.run(command, input=lines, capture_output=True, check=False)  # noqa: S603
    if done.returncode:
        *_, reason = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason"]
        raise ConfigurationError(f"The engine cannot answer: {reason.removeprefix('error: ')}")
    head, *answers = done.stdout.splitlines()
    return _HEAD.validate_json(head), [_ANSWER.validate_json(line) for line in answers]
