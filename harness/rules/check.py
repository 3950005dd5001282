"""Checks, which are rules about single rollouts, and cross-checks, which compare rollouts of a run.

A check selects the parts of a rollout that it judges (see `harness.rules.evidence.subjects`) and
judges each part on its own. It does not apply to rollouts without such parts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.api.parsed_rollout import ParsedRollout
from harness.records.conditions import BOTH_APIS, MODES, Api, Mode
from harness.records.rollouts import Lost
from harness.records.runs import Capability
from harness.records.scores import Evidence, Finding, Score, Severity
from harness.rules.rule import Problem, Relation, Rule, description
from harness.rules.rule import example as known_defect

S = TypeVar("S")


@dataclass(frozen=True)
class Check(Rule):
    """A check: selects parts of a rollout with `over` and `where`, and judges each of them."""

    over: Callable[[ParsedRollout], Iterable[Any]]
    where: Callable[[Any], object] | None
    judge: Callable[[Any], Iterable[Problem]]
    reads: tuple[Lost, ...] = ()  # what a recording must preserve for it
    recordings: bool = True  # whether it can judge recorded traffic at all


Difference = tuple[str, Evidence] | tuple[str, Evidence, bool]
"""The message and the evidence of a problem in a rollout, and whether it is proven (see `Problem`).
"""
Compare = Callable[[Sequence[Score]], Iterable[Difference]]


@dataclass(frozen=True)
class CrossCheck(Rule):
    """A check that compares rollouts; `applies` selects those that it can compare."""

    applies: Callable[[Score], object]
    compare: Compare

    def findings(self, examined: Iterable[Score]) -> dict[str, Finding]:
        """Return the finding for each affected rollout, by record."""
        compared = [
            score
            for score in examined
            if score.condition.api in self.about.apis and self.applies(score)
        ]
        return {
            evidence.record: Finding(
                id=self.id,
                severity=self.about.severity,
                message=message,
                evidence=evidence,
                proven=any(proven),
            )
            for message, evidence, *proven in self.compare(compared)
        }


@dataclass
class Family:
    """The checks of one module, with the family and source that they share."""

    name: str
    source: str
    component: str  # of its checks, unless a check has its own
    checks: list[Check | CrossCheck] = field(default_factory=list)

    def check(
        self,
        rule_id: str,
        over: Callable[[ParsedRollout], Iterable[S]],
        where: Callable[[S], object] | None = None,
        *,
        severity: Severity = "error",
        source: str | None = None,
        apis: Iterable[Api] | None = None,
        modes: Iterable[Mode] | None = None,
        tolerated: float = 0.0,
        error_above: float | None = None,
        needs: Capability | None = None,
        relations: Iterable[Relation] = (),
        text: str | None = None,
        component: str | None = None,
        fix: str | None = None,
        witness: bool = False,
        example: Sequence[str] | None = None,
        reads: tuple[Lost, ...] = (),
        recordings: bool = True,
    ) -> Callable[[Callable[[S], Iterable[Problem]]], Callable[[S], Iterable[Problem]]]:
        """Register the decorated function, which judges one part, as a check.

        Args:
            rule_id: Stable dotted id. It implies the API (`chat.`, `responses.`) and, for rules
                about streams, the mode.
            over: Selects the parts of a rollout.
            where: Whether to judge a part; all by default.
            severity: Error if it violates the specification or harms the model's replies; warning
                if clients cope.
            source: Documents the requirement; the family's source by default.
            apis: The APIs it applies to; by default those that the id implies, otherwise both.
            modes: The modes it applies to, if the id does not imply them.
            tolerated: See `Rule`.
            error_above: See `Rule`.
            needs: See `Rule`.
            relations: See `Rule`.
            text: Summary and reason, if the function has no docstring.
            component: See `Rule`; that of the family by default.
            fix: See `Rule.own_fix`.
            witness: See `Rule`.
            example: A known defect: its description and the addresses of its reports.
            reads: See `Check`.
            recordings: See `Check`.
        """
        implied = [api for api in BOTH_APIS if rule_id.startswith(f"{api}.")]
        streams = rule_id.startswith("stream.") or ".stream." in rule_id

        def add(judge: Callable[[S], Iterable[Problem]]) -> Callable[[S], Iterable[Problem]]:
            about = description(
                text or judge.__doc__,
                id=rule_id,
                kind="check",
                family=self.name,
                severity=severity,
                source=source or self.source,
                apis=apis or implied or BOTH_APIS,
                modes=modes or (("streaming",) if streams else MODES),
            )
            self.checks.append(
                Check(
                    about=about,
                    tolerated=tolerated,
                    error_above=error_above,
                    needs=needs,
                    relations=tuple(relations),
                    component=component or self.component,
                    own_fix=fix,
                    witness=witness,
                    example=known_defect(example),
                    reads=reads,
                    recordings=recordings,
                    over=over,
                    where=where,
                    judge=judge,
                )
            )
            return judge

        return add

    def cross_check(
        self,
        rule_id: str,
        applies: Callable[[Score], object],
        *,
        severity: Severity = "error",
        tolerated: float = 0.0,
        relations: Iterable[Relation] = (),
        component: str | None = None,
        fix: str | None = None,
        witness: bool = False,
        example: Sequence[str] | None = None,
    ) -> Callable[[Compare], CrossCheck]:
        """Register the decorated function, which compares rollouts, as a check.

        The function gets the scores that `applies` selects, and yields at most one difference of
        each of them. Its docstring documents the check. The other arguments are as in `check`.
        """

        def add(compare: Compare) -> CrossCheck:
            about = description(
                compare.__doc__,
                id=rule_id,
                kind="check",
                family=self.name,
                severity=severity,
                source=self.source,
                apis=BOTH_APIS,
                modes=MODES,
            )
            check = CrossCheck(
                about=about,
                tolerated=tolerated,
                relations=tuple(relations),
                component=component or self.component,
                own_fix=fix,
                witness=witness,
                example=known_defect(example),
                applies=applies,
                compare=compare,
            )
            self.checks.append(check)
            return check

        return add


def evidence(record: str, path: str, expected: str, got: str, exchange: int = 0) -> Evidence:
    """Return the evidence of a problem: in exchange number `exchange` (from 0), at a JSON path."""
    return Evidence(record=record, exchange=exchange, path=path, expected=expected, got=got)
