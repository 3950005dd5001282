"""Comparisons: rules about several rollouts of a run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.findings import BOTH_APIS, BOTH_MODES, CHAT, Rule, description
from harness.records.conditions import Api
from harness.records.scores import Evidence, Finding, Score, Severity


@dataclass(frozen=True)
class Difference:
    """A problem in the first exchange of the rollout `record`."""

    record: str
    message: str
    expected: str
    got: str
    path: str


@dataclass(frozen=True)
class Comparison(Rule):
    """A check that compares rollouts; `applies` selects those that it can compare."""

    applies: Callable[[Score], bool]
    compare: Callable[[Sequence[Score]], Iterable[Difference]]

    def findings(self, examined: Iterable[Score]) -> dict[str, Finding]:
        """The finding for each affected rollout, by record."""
        found = self.compare([each for each in examined if self.applies(each)])
        return {each.record: self._finding(each) for each in found}

    def _finding(self, found: Difference) -> Finding:
        evidence = Evidence(
            record=found.record,
            exchange=0,
            path=found.path,
            expected=found.expected,
            got=found.got,
        )
        severity: Severity = self.about.severity
        return Finding(id=self.id, severity=severity, message=found.message, evidence=evidence)


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
                yield Difference(each.record, message, "a unique id", reply_id, "$.id")


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
                yield Difference(each.record, message, str(usual), str(each.first_input), "$.usage")


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


def compare_rollouts(
    examined: Sequence[Score],
) -> dict[str, tuple[frozenset[str], list[Finding]]]:
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
