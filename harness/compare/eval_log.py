"""What a log of another harness says: the scores of every try of a task, by sample."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from harness.records.conditions import Api, known_model
from harness.records.settings import Sampling
from harness.statistics.copies import copied, said


@dataclass(frozen=True)
class LogTry:
    """One try (epoch, run) of one sample, whose right answer is `target`; `content` hashes both.

    `values` has the parts of its score: one without a name, or those of a score with several. A
    part that has no value is missing.
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


@dataclass(frozen=True)
class EvalLog:
    """One task of one model, from a log of another harness. Times are ISO 8601.

    `scorer` says in words which values the scores are. `copies` counts tries that were left out;
    `seeds` has the seeds of all requests, if they are known, and `until` the stop strings.
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

    def without_copies(self) -> EvalLog:
        """Return the log without tries that are copies of others, and with their number."""
        every = [(t.sample, t.epoch, said(t.answer, t.question)) for t in self.tries]
        copies = copied(every, one_seed=len(self.seeds) == 1)
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
        """Return what is wrong with the text of an answer; `answered` if nothing is."""
        if not tried.answer.strip():
            return "empty answer"
        if "<|" in tried.answer:
            return "raw harmony text"
        wanted = "boxed" in tried.question and not any(tried.values.values())
        *_, last = re.findall(r"\d+", tried.answer) or [None]
        unboxed = wanted and "boxed" not in tried.answer and last == tried.target
        return "right but unboxed" if unboxed else "answered"

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
