"""The attempts of a run on its page: charts, and a map of each task. No score is kept.

A map has a row for each sample and a cell for each attempt. Pages show tens of thousands of
attempts, so scores are read twice: to find the worst samples, and to draw their rows.
"""

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.records.analysis import Analysis
from harness.records.conditions import Condition
from harness.records.scores import Outcome, Score
from reports.labels import Labels
from reports.text import sample_label

_PASSED: frozenset[Outcome] = frozenset({"success", "correct", "graded", "answered"})

MEASURES: Mapping[str, str] = {
    "Time to first token": "s",
    "Tokens per second": "tokens/s",
    "Request, end to end": "s",
    "Completion tokens of an attempt": "tokens",
    "Reasoning tokens of an attempt": "tokens",
}
"""The measures with a chart and their units."""


def passed(score: Score) -> bool:
    """Return whether the attempt succeeded."""
    return score.outcome in _PASSED


class Samples:
    """The samples of one task: how good their attempts are."""

    def __init__(self) -> None:
        self.width = 0  # the number of tries
        self.conditions: dict[Condition, None] = {}
        self.outcomes = Counter[Outcome]()
        self._values: dict[str, tuple[float, int]] = {}

    def add(self, score: Score) -> None:
        """Add a finished attempt."""
        self.width = max(self.width, score.attempt)
        self.conditions[score.condition] = None
        self.outcomes[score.outcome] += 1
        total, tries = self._values.get(score.sample, (0.0, 0))
        self._values[score.sample] = total + (score.value or 0.0), tries + 1

    def worst_first(self) -> list[str]:
        """Return all samples, those with the lowest mean values first."""
        means = {sample: total / tries for sample, (total, tries) in self._values.items()}
        return sorted(means, key=lambda sample: means[sample])


class Attempts:
    """The finished attempts of tool calling and evals, gathered in one pass over their scores.

    `samples` has those of each task, `measures` all values of each measure.
    """

    def __init__(self, analysis: Analysis, labels: Labels) -> None:
        """Begin without attempts."""
        self.samples: dict[str, Samples] = defaultdict(Samples)
        self.measures: dict[str, dict[str, array[float]]] = {
            name: defaultdict(lambda: array("d")) for name in MEASURES
        }
        self._evals = {task.name for task in analysis.run.of_kind("eval")}
        self._names = {
            (result.task, result.condition): labels.result(result) for result in analysis.results
        }

    def add(self, score: Score) -> None:
        """Add a finished attempt."""
        self.samples[score.task].add(score)
        every_mode = score.task, score.condition.alternating
        name = self._names.get((score.task, score.condition)) or self._names.get(every_mode)
        self._measure(score, name or score.task)

    def _measure(self, score: Score, name: str) -> None:
        usage = score.usage
        if not usage.unreported:
            self._add("Completion tokens of an attempt", name, usage.output or None)
            self._add("Reasoning tokens of an attempt", name, usage.reasoning)
        for timing in score.timing:
            self._add("Time to first token", name, timing.first_token)
            self._add("Tokens per second", name, timing.tokens_per_second)
            if score.task not in self._evals:
                self._add("Request, end to end", name, timing.total)
        if score.task in self._evals:
            self._add("Request, end to end", name, score.seconds)

    def _add(self, measure: str, name: str, value: float | None) -> None:
        if value is not None:
            self.measures[measure][name].append(value)


MOST_CELLS = 12_000  # more cells would make the page too large; rows with failures come first


@dataclass(frozen=True)
class Look:
    """The letter, the label and the color of an outcome; the letter also tells outcomes apart."""

    letter: str
    label: str
    tone: str
    cell: str = ""
    """What its cells show, if it is not the letter."""


LOOKS: Mapping[Outcome, Look] = {
    "success": Look("", "success", "good"),
    "correct": Look("", "correct", "good"),
    "answered": Look("", "answered", "good"),
    "graded": Look("", "graded", "scored", "in tenths of the full score"),
    "invalid_response": Look("I", "invalid response", "bad"),
    "no_tool_call": Look("N", "no tool call", "bad"),
    "wrong_tool": Look("W", "wrong tool", "bad"),
    "invalid_arguments": Look("A", "invalid arguments", "bad"),
    "wrong_arguments": Look("D", "different arguments", "bad"),
    "wrong": Look("X", "wrong", "bad"),
    "no_answer": Look("N", "no answer", "poor"),
    "unread": Look("U", "unread", "poor"),
    "refused": Look("R", "refused", "poor"),
    "truncated": Look("C", "truncated", "poor"),
    "max_turns": Look("M", "too many turns", "poor"),
    "provider_error": Look("E", "provider error", "broken"),
    "grader_error": Look("G", "no grade", "broken"),
    "timeout": Look("T", "timeout", "broken"),
    "not_run": Look("", "not run", "none"),
}


class AttemptCell(NamedTuple):
    """One attempt in a map."""

    record: str
    outcome: Outcome
    value: float
    streaming: bool


@dataclass(frozen=True)
class AttemptsRow:
    """One sample; `blocks` has the attempts under each condition, None if one was not made."""

    name: str
    hint: str
    failed: int
    summary: str
    outcomes: str
    blocks: tuple[tuple[AttemptCell | None, ...], ...]

    @property
    def label(self) -> str:
        """The name, or the beginning of a question whose name is only its hash."""
        return sample_label(self.name, self.hint)


@dataclass(frozen=True)
class Heatmap:
    """The rows that fit on the page; `left_out` is the number of those that do not."""

    title: str
    conditions: tuple[str, ...]  # the heads of the columns
    width: int  # the number of tries at each sample
    rows: tuple[AttemptsRow, ...]  # the rows, worst first
    left_out: int
    legend: tuple[tuple[Outcome, Look, int], ...]
    """Each outcome that occurs, with its look and its count."""
    mixed: bool  # whether the tries of a column alternate between the modes

    @property
    def cells(self) -> int:
        """The number of cells of a row."""
        return self.width * len(self.conditions)


class Drawing:
    """A map in the making: which rows it will have, and their cells."""

    def __init__(
        self, title: str, samples: Samples, conditions: Sequence[str], width: int, most: int
    ) -> None:
        """Begin a map with `width` tries under each condition, of at most `most` cells."""
        self._title, self._samples = title, samples
        self._conditions, self._width = tuple(conditions), width
        order = samples.worst_first()
        self._left_out = max(0, len(order) - max(1, most // self.row_cells))
        self._rows: dict[str, dict[tuple[str, int], AttemptCell]] = {
            sample: {} for sample in order[: len(order) - self._left_out]
        }

    @property
    def row_cells(self) -> int:
        """The number of cells of a row."""
        return max(1, len(self._conditions) * self._width)

    @property
    def cells(self) -> int:
        """The number of cells of the map."""
        return len(self._rows) * self.row_cells

    def add(self, score: Score, condition: str) -> None:
        """Draw a finished attempt if its sample is shown."""
        if (row := self._rows.get(score.sample)) is not None:
            row[condition, score.attempt] = AttemptCell(
                score.record, score.outcome, score.value or 0.0, score.condition.streaming
            )

    def heatmap(self, hints: Mapping[str, str]) -> Heatmap:
        """Return the map; `hints` has the texts of samples."""
        outcomes = self._samples.outcomes
        planned = (len(self._rows) + self._left_out) * self.row_cells
        counts = {**outcomes, "not_run": planned - outcomes.total()}
        cells = [pair for row in self._rows.values() for pair in row.items()]
        modes = {(condition, cell.streaming) for (condition, _), cell in cells}
        return Heatmap(
            self._title,
            self._conditions,
            self._width,
            tuple(
                self._row(name, cells, hints.get(name, "")) for name, cells in self._rows.items()
            ),
            self._left_out,
            tuple(
                (outcome, look, counts[outcome])
                for outcome, look in LOOKS.items()
                if counts.get(outcome)
            ),
            mixed=len(modes) > len({condition for condition, _ in modes}),
        )

    def _row(
        self, name: str, cells: Mapping[tuple[str, int], AttemptCell], hint: str
    ) -> AttemptsRow:
        attempts = cells.values()
        good = sum(cell.outcome in _PASSED for cell in attempts)
        graded = any(cell.outcome == "graded" for cell in attempts)
        mean = sum(cell.value for cell in attempts) / len(attempts)
        return AttemptsRow(
            name=name,
            hint=hint,
            failed=len(attempts) - good,
            summary=f"{mean:.2f}" if graded else f"{good}/{len(attempts)}",
            outcomes=" ".join(sorted({cell.outcome for cell in attempts})),
            blocks=tuple(
                tuple(cells.get((condition, number)) for number in range(1, self._width + 1))
                for condition in self._conditions
            ),
        )


def letter(cell: AttemptCell) -> str:
    """Return what the cell of an attempt shows: a letter, or tenths of the full score."""
    if cell.outcome != "graded":
        return LOOKS[cell.outcome].letter
    return "✓" if cell.value >= 1 else str(max(0, int(cell.value * 10)))
