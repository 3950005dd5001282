"""The parts of a run's scores that a page needs, reduced for tens of thousands of attempts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

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
        names = {(each.task, each.condition): labels.result(each) for each in analysis.results}
        probes = {task.name for task in analysis.run.of_kind("probes", "traffic")}
        for score in scores:
            slim = self._reduced(score)
            if score.task in probes:
                if slim.findings:
                    self.probes.append(slim)
            elif score.finished:
                self.by_task[score.task].append(slim)
                self._measure(score, names.get((score.task, score.condition), score.task))

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
