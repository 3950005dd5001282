"""Comparisons: rules about several rollouts of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.findings import BOTH_APIS, BOTH_MODES, CHAT, Rule, description
from harness.records.conditions import Api
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
            for message, evidence in self.compare([each for each in examined if self.applies(each)])
        }


def _evidence(record: str, path: str, expected: str, got: str) -> Evidence:
    return Evidence(record=record, exchange=0, path=path, expected=expected, got=got)


def _shared_ids(examined: Sequence[Score]) -> Iterator[Difference]:
    """No two replies of a run share an id.

    Logs and support tickets cannot tell such replies apart. Servers that generate ids from a small
    range have these collisions.
    """
    first: dict[str, str] = {}
    for each in examined:
        for reply_id in each.reply_ids:
            other = first.setdefault(reply_id, each.record)
            if other != each.record:
                message = f"The reply has the same id as a reply in {other}."
                yield message, _evidence(each.record, "$.id", "a unique id", reply_id)


def _input_tokens(examined: Sequence[Score]) -> Iterator[Difference]:
    """Identical requests report the same number of prompt tokens, streaming or not.

    A difference means that the prompt is rendered in two ways, or by backends that disagree. Some
    gateways route requests to different backends deliberately.
    """
    groups: dict[tuple[str, str, Api], list[Score]] = defaultdict(list)
    for each in examined:
        groups[each.task, each.sample, each.condition.api].append(each)
    for group in groups.values():
        counts = [each.first_input for each in group]
        usual = max(counts, key=counts.count)
        for each in group:
            if each.first_input != usual:
                message = "The prompt token count differs from other attempts at the same request."
                got = str(each.first_input)
                yield message, _evidence(each.record, "$.usage", str(usual), got)


def _comparison(
    rule_id: str,
    family: str,
    applies: Callable[[Score], bool],
    compare: Callable[[Sequence[Score]], Iterable[Difference]],
) -> Comparison:
    about = description(
        compare.__doc__,
        rule_id,
        kind="check",
        family=family,
        severity="warning",
        source=CHAT,
        apis=BOTH_APIS,
        modes=BOTH_MODES,
    )
    return Comparison(about, 0.0, None, "smoke", applies, compare)


COMPARISONS = (
    _comparison("reply.id.shared", "schema", lambda each: bool(each.reply_ids), _shared_ids),
    _comparison(
        "usage.input.differs", "usage", lambda each: each.first_input is not None, _input_tokens
    ),
)


def compare_rollouts(examined: Sequence[Score]) -> dict[str, tuple[frozenset[str], list[Finding]]]:
    """Compare the rollouts of a run.

    Returns:
        For each record the ids of the applicable comparisons, and their findings.
    """
    found = [(each, each.findings(examined)) for each in COMPARISONS]
    return {
        one.record: (
            frozenset(comparison.id for comparison, _ in found if comparison.applies(one)),
            [findings[one.record] for _, findings in found if one.record in findings],
        )
        for one in examined
    }
