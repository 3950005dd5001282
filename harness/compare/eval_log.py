"""What a log of another harness says: the scores of every try of a task, by sample."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson

from harness.errors import ConfigurationError
from harness.records.conditions import Api, known_model
from harness.records.scores import Outcome
from harness.records.settings import Sampling
from harness.statistics.copies import copied, said
from harness.text import percentage, refusal_phrase

STOPS: Mapping[object, Outcome] = {
    **dict.fromkeys(("max_tokens", "model_length", "length"), "truncated"),
    "content_filter": "refused",
    "error": "provider_error",
}
"""What is wrong with a reply by the reason why it ended, as harnesses name it."""
_MARKERS = re.compile(r"<\||assistant(?:final|analysis|commentary)|\Aanalysis(?=[A-Z])")
"""Markers of harmony, and what remains of them without tags."""
_LINE = re.compile(r"^(?:\(?([A-J])[).:]\s+)?(.*?)\s*$", re.MULTILINE)
"""A line of a question, and its letter if a choice begins with it."""
_FEWEST_QUESTIONS = 12  # drawn orders give all one letter of four in one of four million logs
_TIME = re.compile(r"(\d{8})[_-]?(\d{6})")


@dataclass(frozen=True)
class LogTry:
    """One try (epoch, run) of one sample, whose right answer is `target`; `content` hashes both.

    `values` has the parts of its score: one without a name, or those of a score with several. A
    part that has no value is missing. `stop` is what is wrong with the end of the reply, if
    anything; with `provider_error` there is no reply, and `content` may be unknown ("").
    """

    sample: str
    epoch: int
    content: str
    values: Mapping[str, float]
    question: str
    answer: str
    seconds: float | None
    tokens: int
    target: str = ""
    stop: Outcome | None = None


@dataclass(frozen=True)
class EvalLog:
    """One task of one model, from a log of another harness. Times are ISO 8601.

    `scorer` says in words which values the scores are, and `notes` in sentences what else a reader
    of the scores must know. `copies` counts tries that were left out;
    `seeds` has the seeds of all requests, if they are known, `until` the stop strings, `cache`
    the name of the harness's own cache of replies, and `settings` what else can move the scores.
    """

    path: Path
    task: str
    provider: str
    model: str
    effort: str
    api: Api
    started_at: str
    complete: bool
    epochs: int
    sampling: Sampling
    dataset: str
    version: str
    scorer: str
    tries: tuple[LogTry, ...]
    copies: int = 0
    seeds: frozenset[int] = frozenset()
    until: tuple[str, ...] = ()
    cache: str | None = None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str | None] = field(default_factory=dict)

    def without_copies(self) -> EvalLog:
        """Return the log without tries that are copies of others, and with their number."""
        every = [(t.sample, t.epoch, said(t.answer, t.question)) for t in self.tries]
        alike = len(self.seeds) == 1 or self.sampling.temperature == 0
        copies = copied(every, one_seed=alike)
        kept = tuple(tried for tried in self.tries if (tried.sample, tried.epoch) not in copies)
        return replace(self, tries=kept, copies=len(copies))

    @cached_property
    def scores(self) -> Mapping[str, Mapping[str, tuple[float, ...]]]:
        """The scores by part and sample, in the order of epochs; parts are named `TASK PART`."""
        by_name: dict[str, dict[str, list[float]]] = {}
        for part in self.parts:
            of_part = by_name.setdefault(self.named(part), defaultdict(list))
            for tried in sorted(self.tries, key=lambda tried: tried.epoch):
                of_part[tried.sample] += [tried.values[part]] if part in tried.values else []
        return {
            name: {sample: tuple(values) for sample, values in of_part.items()}
            for name, of_part in by_name.items()
        }

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of the score."""
        return tuple(dict.fromkeys(part for tried in self.tries for part in tried.values)) or ("",)

    def record(self, tried: LogTry) -> str:
        """The name of a try in the log."""
        return f"{self.task}/{tried.sample}/{tried.epoch}"

    def outcome(self, tried: LogTry) -> str:
        """Return what is wrong with an answer; `answered` if nothing is."""
        if tried.stop is not None:
            return tried.stop
        if not tried.answer.strip():
            return "empty answer"
        if _MARKERS.search(tried.answer):
            return "raw harmony text"
        if refusal_phrase(tried.answer):
            return "refused"
        wanted = "boxed" in tried.question and not any(tried.values.values())
        *_, last = re.findall(r"\d+", tried.answer) or [None]
        unboxed = wanted and "boxed" not in tried.answer and last == tried.target
        return "right but unboxed" if unboxed else "answered"

    @property
    def failed(self) -> str | None:
        """Say how many requests got no reply, and the score with and without them."""
        lost = [tried for tried in self.tries if tried.stop == "provider_error"]
        if not lost:
            return None
        if len(lost) == len(self.tries):
            return f"{self.unanswered}: there is nothing to score."
        with_them, without = (
            percentage(fmean(value for tried in tries for value in tried.values.values() or [0.0]))
            for tries in (self.tries, [tried for tried in self.tries if tried not in lost])
        )
        return (
            f"{len(lost)} of {len(self.tries)} requests of {self.task} got no reply and count as "
            f"failed: {with_them} of the tries are right, {without} of those with a reply."
        )

    @property
    def unanswered(self) -> str | None:
        """Say that no request got a reply; None if one did."""
        lost = sum(tried.stop == "provider_error" for tried in self.tries)
        every = len(self.tries)
        return f"{lost} of {every} requests of {self.task} got no reply" if lost == every else None

    @property
    def one_letter(self) -> str | None:
        """Say that the right choice of every question has the same letter."""
        targets = {tried.sample: tried.target for tried in self.tries}
        letters = set(targets.values())
        if len(targets) < _FEWEST_QUESTIONS or len(letters) > 1 or not min(letters).isalpha():
            return None
        letter = min(letters)
        if len(letter) > 1:
            return None
        return (
            f"The right choice of all {len(targets)} questions of {self.task} is {letter}: their "
            f"order was not drawn, so replies that favour {letter} score too well."
        )

    @property
    def gated(self) -> bool:
        """Whether the questions must not be published: those of GPQA."""
        return "gpqa" in f"{self.task} {self.dataset}".lower()

    def named(self, part: str) -> str:
        """Return the name of a part of the score as an eval."""
        return f"{self.task} {part}".rstrip()

    def group(self, part: str) -> str:
        """Return a part of the score as rows of comparisons name it."""
        return f"{self.named(part)}, {known_model(self.model) or self.model}, {self.effort} effort"

    @cached_property
    def contents(self) -> Mapping[str, str]:
        """The hash of each sample."""
        return {tried.sample: tried.content for tried in self.tries}


@contextmanager
def readable(path: Path, harness: str) -> Iterator[None]:
    """Turn what a damaged log raises into a ConfigurationError."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a log of {harness} "
            f"({type(error).__name__}: {str(error)[:200]})."
        ) from None


def rows_of(path: Path) -> list[Any]:
    """Return the rows of a JSONL file."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]


def hashed(*texts: str) -> str:
    """Return a hash of the parts of a question."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def question_hash(question: str, target: str) -> str:
    """Return a hash of a question and its right answer, in any order of its choices."""
    return choices_hash(question, target) or hashed(question, target)


def choices_hash(question: str, target: str) -> str | None:
    """Return a hash of a question with choices in its text; None if it has none.

    It does not depend on the order of the choices: their lines are sorted without letters, and the
    first line of the right choice replaces its letter.
    """
    lines = [(match[1], match[2]) for match in _LINE.finditer(question)]
    right = [text for letter, text in lines if letter == target.strip(" ()")]
    if not right or not {"A", "B"} <= {letter for letter, _ in lines}:
        return None
    return hashed(*sorted(text for _, text in lines), right[-1])


def member(values: Mapping[str, Any], name: str) -> object:
    """Return a member of settings or of the objects in them, such as `extra_body`."""
    nested = (member(value, name) for value in values.values() if isinstance(value, Mapping))
    return values.get(name) or next(filter(None, nested), None)


def time_of(folder: Path, file: Path) -> str:
    """Return the time in the name of a folder, or that of a file in it, as ISO 8601."""
    if named := _TIME.search(folder.resolve().name):
        return datetime.strptime("".join(named.groups()), "%Y%m%d%H%M%S").astimezone().isoformat()
    written = (folder / file).stat().st_mtime
    return datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds")
