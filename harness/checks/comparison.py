"""Comparisons: rules about several rollouts of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from harness.findings import BOTH_MODES, CHAT, Rule, description
from harness.records.conditions import BOTH_APIS
from harness.records.scores import Evidence, Finding, Score, Severity

Difference = tuple[str, Evidence]
"""What is wrong in the first exchange of a rollout."""


@dataclass(frozen=True)
class Comparison(Rule):
    """A check that compares rollouts; `applies` selects those that it can compare."""

    applies: Callable[[Score], bool]
    compare: Callable[[Sequence[Score]], Iterable[Difference]]

    def findings(self, examined: Iterable[Score]) -> dict[str, Finding]:
        """The finding for each affected rollout, by record."""
        severity: Severity = self.about.severity
        return {
            evidence.record: Finding(
                id=self.id, severity=severity, message=message, evidence=evidence
            )
            for message, evidence in self.compare(list(filter(self._includes, examined)))
        }

    def _includes(self, score: Score) -> bool:
        return score.condition.api in self.about.apis and self.applies(score)


def evidence(record: str, path: str, expected: str, got: str, exchange: int = 0) -> Evidence:
    """Evidence in one exchange of a rollout."""
    return Evidence(record=record, exchange=exchange, path=path, expected=expected, got=got)


def comparison(
    rule_id: str,
    family: str,
    applies: Callable[[Score], bool],
    compare: Callable[[Sequence[Score]], Iterable[Difference]],
    severity: Severity = "warning",
) -> Comparison:
    """A comparison that tolerates nothing; the docstring of `compare` documents it."""
    about = description(
        compare.__doc__,
        id=rule_id,
        kind="check",
        family=family,
        severity=severity,
        source=CHAT,
        apis=BOTH_APIS,
        modes=BOTH_MODES,
    )
    return Comparison(about, 0.0, None, "smoke", applies, compare)
