"""What only several rollouts together can show: comparisons of what was noted of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.checks.base import CHAT, Known
from harness.records.conditions import Api
from harness.records.scores import Description, Evidence, Finding, Score

_BOTH: tuple[Api, ...] = ("responses", "chat")


@dataclass(frozen=True)
class Difference:
    """What a comparison found wrong with one rollout, in its first exchange."""

    record: str
    message: str
    expected: str
    got: str
    path: str


Compare = Callable[[Sequence[Score]], Iterable[Difference]]


@dataclass(frozen=True)
class Comparison(Known):
    """A check of several rollouts; `applies` tells which of them it can compare."""

    applies: Callable[[Score], bool]
    compare: Compare

    def findings(self, examined: Sequence[Score]) -> dict[str, Finding]:
        """By record, what there is to say of the rollouts that the comparison applies to."""
        found: dict[str, Finding] = {}
        for difference in self.compare([each for each in examined if self.applies(each)]):
            evidence = Evidence(
                record=difference.record,
                exchange=0,
                path=difference.path,
                expected=difference.expected,
                got=difference.got,
            )
            found[difference.record] = Finding(
                id=self.id,
                severity=self.about.severity,
                message=difference.message,
                evidence=evidence,
            )
        return found


def _shared_ids(examined: Sequence[Score]) -> Iterator[Difference]:
    first: dict[str, str] = {}
    for each in examined:
        for reply_id in each.reply_ids:
            other = first.setdefault(reply_id, each.record)
            if other != each.record:
                message = f"A reply has the id of one of {other}."
                yield Difference(each.record, message, "a new id", reply_id, "$.id")


def _input_tokens(examined: Sequence[Score]) -> Iterator[Difference]:
    groups: dict[tuple[str, str, Api], list[Score]] = defaultdict(list)
    for each in examined:
        groups[each.task, each.sample, each.condition.api].append(each)
    for group in groups.values():
        counts = [each.first_input for each in group]
        usual = max(counts, key=counts.count)
        for each in group:
            if each.first_input != usual:
                message = "The same request has another number of input tokens than at other times."
                yield Difference(each.record, message, str(usual), str(each.first_input), "$.usage")


COMPARISONS = (
    Comparison(
        Description(
            id="reply.id.shared",
            family="schema",
            severity="warning",
            summary="No two replies of a run share an id.",
            why="Logs cannot tell them apart; servers that draw ids from few numbers do this.",
            source=CHAT,
            apis=_BOTH,
            modes=("streaming", "non-streaming"),
        ),
        tolerated=0.0,
        needs=None,
        applies=lambda examined: bool(examined.reply_ids),
        compare=_shared_ids,
    ),
    Comparison(
        Description(
            id="usage.input.differs",
            family="usage",
            severity="warning",
            summary="The same request has the same number of input tokens every time, streamed "
            "or whole.",
            why="The prompt is made in two ways, or by several servers that do not agree; gateways "
            "may do so by intent.",
            source=CHAT,
            apis=_BOTH,
            modes=("streaming", "non-streaming"),
        ),
        tolerated=0.0,
        needs=None,
        applies=lambda examined: examined.first_input is not None,
        compare=_input_tokens,
    ),
)


def compared(examined: Sequence[Score]) -> dict[str, tuple[frozenset[str], list[Finding]]]:
    """By record: the comparisons that apply to a rollout, and what they found."""
    found = [(each, each.findings(examined)) for each in COMPARISONS]
    return {
        one.record: (
            frozenset(comparison.id for comparison, _ in found if comparison.applies(one)),
            [findings[one.record] for _, findings in found if one.record in findings],
        )
        for one in examined
    }
