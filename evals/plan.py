"""Which tries an eval run makes, and in which order: the first of every question comes first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.base import Question
from evals.datasets.selection import select
from evals.records import Cell, EvalSettings
from evals.registry import AnyEval
from harness.api.base import Settings
from harness.records.rollouts import Rollout
from harness.tasks.attempts import Attempt, Sample


@dataclass(frozen=True)
class Try:
    """One planned try: the `number`-th (from 1) at a question of a cell."""

    cell: Cell
    question: str
    number: int

    @property
    def id(self) -> str:
        """`<eval>/<model>/<effort>/<question>/<number>`."""
        return f"{self.cell.name}/{self.question}/{self.number}"


class Plan:
    """The tries of a run, made one at a time.

    Attributes:
        cells: Every eval with every model at every effort.
        evals: The evals by name.
        questions: The questions that are asked, by eval.
    """

    def __init__(
        self,
        settings: EvalSettings,
        evals: Mapping[str, AnyEval],
        *,
        shard: tuple[int, int] | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        """Plan a run.

        Args:
            settings: What was asked for.
            evals: The evals of the settings, by name.
            shard: Make only part i of n parts: every n-th try, beginning with the i-th.
            extra_body: What the provider's entry adds to every request.

        Raises:
            ConfigurationError: If an eval has fewer questions than are wanted.
        """
        self._settings = settings
        self._shard = shard
        self._extra_body = extra_body
        self.evals = evals
        self.questions: Mapping[str, Sequence[Question]] = {
            name: select(test.questions, settings.examples, settings.seed)
            for name, test in evals.items()
        }
        self.cells = tuple(
            Cell(eval=name, model=model, effort=effort)
            for name in settings.evals
            for model in settings.models
            for effort in settings.efforts
        )
        self._by_name = {cell.name: cell for cell in self.cells}
        self._asked = {
            name: frozenset(question.id for question in questions)
            for name, questions in self.questions.items()
        }

    def tries(self, cell: Cell) -> int:
        """How often each question of the cell is asked, at most."""
        return self._settings.tries[cell.eval]

    @property
    def rounds(self) -> int:
        """Number of the last try of any cell."""
        return max(map(self.tries, self.cells), default=0)

    @property
    def planned(self) -> int:
        """How many tries there are, of this shard where there are shards."""
        whole = sum(self.tries(cell) * len(self.questions[cell.eval]) for cell in self.cells)
        if self._shard is None:
            return whole
        part, parts = self._shard
        return len(range(part - 1, whole, parts))

    def round(self, number: int, cells: Sequence[Cell] | None = None) -> Iterator[Try]:
        """The `number`-th try of every question, of some cells or all; shards left aside."""
        for cell in self.cells if cells is None else cells:
            if number <= self.tries(cell):
                for question in self.questions[cell.eval]:
                    yield Try(cell, question.id, number)

    def every_try(self) -> Iterator[Try]:
        """All tries, of this shard where there are shards."""
        whole = (one for number in range(1, self.rounds + 1) for one in self.round(number))
        part, parts = self._shard or (1, 1)
        for place, one in enumerate(whole):
            if place % parts == part - 1:
                yield one

    def attempt(self, one: Try) -> Attempt:
        """How a try is put to the provider."""
        settings = self._settings
        put = self.evals[one.cell.eval].put(one.question, one.number)
        how = Settings(
            model=one.cell.model,
            reasoning_effort=one.cell.effort,
            temperature=settings.temperature,
            top_p=settings.top_p,
            max_tokens=settings.max_tokens,
            seed=settings.seed if settings.send_seed else None,
            extra_body=self._extra_body,
        )
        sample = Sample(f"{one.cell.name}/{one.question}", put.messages)
        return Attempt(one.id, sample, settings.api, settings.streaming, one.number, how)

    def find(self, rollout: Rollout) -> Try | None:
        """The planned try that a rollout is; None if it is none of this plan."""
        sample, _, number = rollout.id.rpartition("/")
        parts = sample.split("/", 3)
        cell = self._by_name.get("/".join(parts[:3]))
        if cell is None or len(parts) < 4 or not number.isdecimal():
            return None
        known = parts[3] in self._asked[cell.eval] and 1 <= int(number) <= self.tries(cell)
        return Try(cell, parts[3], int(number)) if known else None
