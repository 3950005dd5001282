"""Checks, which are rules about single rollouts, and cross-checks, which compare rollouts of a run.

A check selects the parts of a rollout that it judges (see `harness.rules.evidence.subjects`) and
judges each part on its own. It does not apply to rollouts without such parts.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar, Unpack

from harness.api.parsed_rollout import ParsedRollout
from harness.records.conditions import BOTH_APIS, MODES, Mode
from harness.records.replies import Row
from harness.records.scores import Evidence, Finding, Score
from harness.rules.account import Account
from harness.rules.account.entry import UNKNOWN, Entry
from harness.rules.rule import Declared, Problem, Rule, Shared, excerpt, members

S = TypeVar("S")


@dataclass(frozen=True)
class Check(Rule):
    """A check: selects parts of a rollout with `over` and `where`, and judges each of them."""

    over: Callable[[ParsedRollout], Iterable[Any]]
    where: Callable[[Any], object] | None
    judge: Callable[[Any], Iterable[Problem]]


Difference = tuple[str, Evidence] | tuple[str, Evidence, bool]
"""The message and the evidence of a problem in a rollout, and whether it is proven (see `Problem`).
"""
Compare = Callable[[Sequence[Any]], Iterable[Difference]]


@dataclass(frozen=True)
class CrossCheck(Rule):
    """A check that compares rollouts; `applies` selects those that it can compare."""

    applies: Callable[[Score], object]
    compare: Callable[[Sequence[Score]], Iterable[Difference]]
    of_run = True

    def results(self, examined: Iterable[Score], _: Account) -> list[tuple[object, Finding | None]]:
        """Return whether the rule applies to each rollout, and its finding, if any."""
        applies = [(score, self.applies(score)) for score in examined]
        compared = [
            score
            for score, applicable in applies
            if score.condition.api in self.about.apis and applicable
        ]
        findings = {
            evidence.record: Finding(
                id=self.id,
                severity=self.about.severity,
                message=message,
                evidence=evidence,
                proven=any(proven),
            )
            for message, evidence, *proven in self.compare(compared)
        }
        return [(applicable, findings.get(score.record)) for score, applicable in applies]


_PATHS = (
    {
        "CoT": "$.output[?@.type=='reasoning']",
        "answer": "$.output[?@.type=='message']",
        "arguments": "$.output[?@.type=='function_call']",
        "name": "$.output[?@.type=='function_call']",
        **dict.fromkeys(("count", "reply"), "$.usage"),
    },
    {
        "CoT": "$.choices[0].message.reasoning",
        "answer": "$.choices[0].message.content",
        "arguments": "$.choices[0].message.tool_calls",
        "name": "$.choices[0].message.tool_calls",
        **dict.fromkeys(("count", "reply"), "$.usage"),
    },
)
"""The JSON paths of the places in an account, in replies of Responses and of Chat."""


@dataclass(frozen=True)
class AccountRule(Rule):
    """A rule that reports what the account says of the replies that it `judges`.

    An entry names its rule (`Entry.rule`), which computes nothing itself.
    """

    judges: Callable[[Row, Entry], object]
    of_run = of_account = True

    def results(
        self, examined: Iterable[Score], account: Account
    ) -> list[tuple[object, Finding | None]]:
        """See `CrossCheck.results`."""
        return [self.result(score, account) for score in examined]

    def result(self, score: Score, account: Account) -> tuple[bool, Finding | None]:
        """Return whether the rule applies to a rollout, and its finding, if any."""
        judged = [
            (row, entry)
            for row, entry in account.of_replies(score)
            if row.api in self.about.apis and self.judges(row, entry)
        ]
        for row, entry in judged:
            if entry.rule == self.id:
                path = _PATHS[row.api == "chat"].get(entry.place, "$")
                shown = evidence(
                    score.record, path, excerpt(entry.wanted), excerpt(entry.got), row.exchange
                )
                return True, Finding(
                    id=self.id,
                    severity=self.about.severity,
                    message=excerpt(entry.message),
                    evidence=shown,
                    proven=entry.proven,
                )
        return bool(judged), None


@dataclass
class Family:
    """The checks of one module, with the family and source that they share."""

    name: str
    source: str
    component: str  # of its checks, unless a check has its own
    modes: tuple[Mode, ...] = MODES  # those that its checks judge, unless a check has its own
    checks: list[Check | CrossCheck | AccountRule] = field(default_factory=list)

    def check(
        self,
        rule_id: str,
        over: Callable[[ParsedRollout], Iterable[S]],
        where: Callable[[S], object] | None = None,
        *,
        text: str | None = None,
        **given: Unpack[Declared],
    ) -> Callable[[Callable[[S], Iterable[Problem]]], Callable[[S], Iterable[Problem]]]:
        """Register the decorated function, which judges one part, as a check.

        Args:
            rule_id: Stable dotted id.
            over: Selects the parts of a rollout.
            where: Whether to judge a part; all by default.
            text: Summary and reason, if the function has no docstring.
            given: What else the rule declares.
        """

        def add(judge: Callable[[S], Iterable[Problem]]) -> Callable[[S], Iterable[Problem]]:
            declared = members("check", rule_id, text or judge.__doc__, given, self.shared)
            self.checks.append(Check(**declared, over=over, where=where, judge=judge))
            return judge

        return add

    def cross_check(
        self,
        rule_id: str,
        applies: Callable[[Score], object] | None = None,
        *,
        by: Callable[[Score], Hashable] | None = None,
        by_row: Callable[[Row], Hashable] | None = None,
        **given: Unpack[Declared],
    ) -> Callable[[Compare], Compare]:
        """Register the decorated function, which compares rollouts, as a check.

        The function gets the scores that `applies` selects; with `by`, those that have this in
        common; with `by_row`, the rows that have it, each after its score, without those for which
        it is None. It yields at most one difference of each rollout. Its docstring documents the
        check.
        """

        def add(compare: Compare) -> Compare:
            declared = members("check", rule_id, compare.__doc__, given, self.shared)

            def of_scores(examined: Sequence[Score]) -> Iterable[Difference]:
                groups = _grouped((score, by(score)) for score in examined) if by else [examined]
                return chain.from_iterable(map(compare, groups))

            def of_rows(examined: Sequence[Score]) -> Iterable[Difference]:
                rows = ((score, row) for score in examined for row in score.rows)
                keys = (((score, row), by_row and by_row(row)) for score, row in rows)
                return chain.from_iterable(map(compare, _grouped(keys)))

            def has_row(score: Score) -> bool:
                return by_row is not None and any(by_row(row) is not None for row in score.rows)

            judges = of_rows if by_row else of_scores
            self.checks.append(CrossCheck(**declared, applies=applies or has_row, compare=judges))
            return compare

        return add

    def account_rule(
        self,
        rule_id: str,
        text: str,
        judges: Callable[[Row, Entry], object] = lambda _, entry: entry != UNKNOWN,
        **given: Unpack[Declared],
    ) -> None:
        """Register a rule that reports entries of the account, with its summary and reason.

        It applies to the replies that it `judges`: by default all of which the account knows
        something.
        """
        declared = members("check", rule_id, text, given, self.shared)
        self.checks.append(AccountRule(**declared, judges=judges))

    @property
    def shared(self) -> Shared:
        """What its checks have in common."""
        return Shared(
            family=self.name,
            source=self.source,
            component=self.component,
            apis=BOTH_APIS,
            modes=self.modes,
        )


def _grouped(keyed: Iterable[tuple[S, Hashable]]) -> Iterable[list[S]]:
    """Return what has the same key, without what has none."""
    groups: dict[Hashable, list[S]] = defaultdict(list)
    for part, key in keyed:
        if key is not None:
            groups[key].append(part)
    return groups.values()


def evidence(record: str, path: str, expected: str, got: str, exchange: int = 0) -> Evidence:
    """Return the evidence of a problem: in exchange number `exchange` (from 0), at a JSON path."""
    return Evidence(record=record, exchange=exchange, path=path, expected=expected, got=got)
