"""The attempts of a run on its page: its scores, reduced, and a map of each task.

A map has a row for each sample and a cell for each attempt. Pages show tens of thousands of
attempts, so scores are kept without the parts that pages do not need.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.records.analysis import Analysis
from harness.records.conditions import Condition
from harness.records.scores import Outcome, Score, Usage
from reports.labels import Labels

_PASSED: frozenset[Outcome] = frozenset({"success", "correct", "graded", "answered"})
_NO_USAGE = Usage()

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


class Attempts:
    """The attempts of a run, gathered in one pass over its scores.

    `by_task` has the finished attempts of tool calling and evals, `probes` the responses to probe
    requests and imported conversations with a finding, `measures` all values of each measure.
    """

    def __init__(self, scores: Iterable[Score], analysis: Analysis, labels: Labels) -> None:
        self.by_task: dict[str, list[Score]] = defaultdict(list)
        self.probes: list[Score] = []
        self.measures: dict[str, dict[str, list[float]]] = {
            name: defaultdict(list) for name in MEASURES
        }
        self._conditions: dict[Condition, Condition] = {}
        self._evals = {task.name for task in analysis.run.of_kind("eval")}
        names = {
            (result.task, result.condition): labels.result(result) for result in analysis.results
        }
        probes = {task.name for task in analysis.run.of_kind("probes", "traffic")}
        for score in scores:
            slim = self._reduced(score)
            if score.task in probes:
                if slim.findings:
                    self.probes.append(slim)
            elif score.finished:
                self.by_task[score.task].append(slim)
                place = score.task, score.condition
                every_mode = score.task, score.condition.alternating
                self._measure(score, names.get(place) or names.get(every_mode, score.task))

    @property
    def every(self) -> list[Score]:
        """All attempts that can have a transcript."""
        return [*(score for scores in self.by_task.values() for score in scores), *self.probes]

    def _reduced(self, score: Score) -> Score:
        """Return the score without what pages do not show."""
        return replace(
            score,
            condition=self._conditions.setdefault(score.condition, score.condition),
            usage=_NO_USAGE,
            timing=(),
            applicable=frozenset(),
            findings=tuple(found for found in score.findings if found.severity != "info"),
        )

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


LOOKS: Mapping[Outcome, Look] = {
    "success": Look("", "success", "good"),
    "correct": Look("", "correct", "good"),
    "answered": Look("", "answered", "good"),
    "graded": Look("", "graded, in tenths of the full score", "scored"),
    "invalid_response": Look("I", "invalid response", "bad"),
    "no_tool_call": Look("N", "no tool call", "bad"),
    "wrong_tool": Look("W", "wrong tool", "bad"),
    "invalid_arguments": Look("A", "invalid arguments", "bad"),
    "wrong_arguments": Look("D", "different arguments", "bad"),
    "wrong": Look("X", "wrong", "bad"),
    "no_answer": Look("N", "no answer", "poor"),
    "refused": Look("R", "refused", "poor"),
    "truncated": Look("C", "truncated", "poor"),
    "max_turns": Look("M", "too many turns", "poor"),
    "provider_error": Look("E", "provider error", "broken"),
    "grader_error": Look("G", "no grade", "broken"),
    "timeout": Look("T", "timeout", "broken"),
    "not_run": Look("", "not run", "none"),
}


@dataclass(frozen=True)
class Row:
    """One sample; `blocks` has the attempts under each condition, None if one was not made."""

    name: str
    hint: str
    failed: int
    summary: str
    outcomes: str
    blocks: tuple[tuple[Score | None, ...], ...]


@dataclass(frozen=True)
class Heatmap:
    """The rows that fit on the page; `left_out` is the number of those that do not."""

    title: str
    conditions: tuple[str, ...]  # the heads of the columns
    width: int  # the number of tries at each sample
    rows: tuple[Row, ...]  # the rows, worst first
    left_out: int
    legend: tuple[tuple[Outcome, Look, int], ...]
    """Each outcome that occurs, with its look and its count."""

    @property
    def cells(self) -> int:
        """The number of cells of a row."""
        return self.width * len(self.conditions)


def heatmap(
    title: str,
    attempts: Mapping[str, Collection[Score]],
    width: int,
    hints: Mapping[str, str],
    most: int,
) -> Heatmap:
    """Draw the attempts by condition, the samples with the lowest values first, in `most` cells."""
    counts: dict[Outcome, int] = dict.fromkeys(LOOKS, 0)
    found: dict[str, dict[tuple[str, int], Score]] = defaultdict(dict)
    for condition, scores in attempts.items():
        for score in scores:
            found[score.sample][condition, score.attempt] = score
            counts[score.outcome] += 1
    kept = max(1, most // max(1, len(attempts) * width))
    order = sorted(found, key=lambda name: _mean(found[name].values()))
    made = sum(map(len, found.values()))
    counts["not_run"] = len(found) * len(attempts) * width - made
    return Heatmap(
        title,
        tuple(attempts),
        width,
        tuple(
            _row(name, found[name], list(attempts), width, hints.get(name, ""))
            for name in order[:kept]
        ),
        max(0, len(order) - kept),
        tuple(
            (outcome, look, counts[outcome]) for outcome, look in LOOKS.items() if counts[outcome]
        ),
    )


def _row(
    name: str,
    places: Mapping[tuple[str, int], Score],
    conditions: Sequence[str],
    width: int,
    hint: str,
) -> Row:
    good = sum(map(passed, places.values()))
    graded = any(score.outcome == "graded" for score in places.values())
    return Row(
        name=name,
        hint=hint,
        failed=len(places) - good,
        summary=f"{_mean(places.values()):.2f}" if graded else f"{good}/{len(places)}",
        outcomes=" ".join(sorted({score.outcome for score in places.values()})),
        blocks=tuple(
            tuple(places.get((condition, number)) for number in range(1, width + 1))
            for condition in conditions
        ),
    )


def _mean(scores: Collection[Score]) -> float:
    return sum(score.value or 0.0 for score in scores) / len(scores)


def letter(score: Score) -> str:
    """Return what the cell of an attempt shows: a letter, or tenths of the full score."""
    if score.outcome != "graded":
        return LOOKS[score.outcome].letter
    value = score.value or 0.0
    return "✓" if value >= 1 else str(max(0, int(value * 10)))
