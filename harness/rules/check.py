"""Checks, which are rules about single rollouts, and cross-checks, which compare rollouts of a run.

A check selects the parts of a rollout that it judges (see `harness.rules.evidence.subjects`) and
judges each part on its own. It does not apply to rollouts without such parts.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, Unpack

from harness.api.parsed_rollout import ParsedRollout
from harness.records.conditions import BOTH_APIS, MODES
from harness.records.replies import Row
from harness.records.scores import Evidence, Finding, Score
from harness.rules.account import Account
from harness.rules.account.entry import UNKNOWN, Entry
from harness.rules.rule import Declared, Problem, Rule, excerpt, members

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
            rule_id: Stable dotted id. It implies the API (`chat.`, `responses.`) and, for rules
                about streams, the mode.
            over: Selects the parts of a rollout.
            where: Whether to judge a part; all by default.
            text: Summary and reason, if the function has no docstring.
            given: What else the rule declares.
        """
        implied = [api for api in BOTH_APIS if rule_id.startswith(f"{api}.")]
        streams = rule_id.startswith("stream.") or ".stream." in rule_id
        default = self._default()
        default["apis"] = implied or BOTH_APIS
        default["modes"] = ("streaming",) if streams else MODES

        def add(judge: Callable[[S], Iterable[Problem]]) -> Callable[[S], Iterable[Problem]]:
            declared = members("check", rule_id, text or judge.__doc__, given, default)
            self.checks.append(Check(**declared, over=over, where=where, judge=judge))
            return judge

        return add

    def cross_check(
        self, rule_id: str, applies: Callable[[Score], object], **given: Unpack[Declared]
    ) -> Callable[[Compare], CrossCheck]:
        """Register the decorated function, which compares rollouts, as a check.

        The function gets the scores that `applies` selects, and yields at most one difference of
        each of them. Its docstring documents the check.
        """

        def add(compare: Compare) -> CrossCheck:
            declared = members("check", rule_id, compare.__doc__, given, self._default())
            check = CrossCheck(**declared, applies=applies, compare=compare)
            self.checks.append(check)
            return check

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
        declared = members("check", rule_id, text, given, self._default())
        self.checks.append(AccountRule(**declared, judges=judges))

    def _default(self) -> Declared:
        return {
            "family": self.name,
            "source": self.source,
            "component": self.component,
            "apis": BOTH_APIS,
            "modes": MODES,
        }


def evidence(record: str, path: str, expected: str, got: str, exchange: int = 0) -> Evidence:
    """Return the evidence of a problem: in exchange number `exchange` (from 0), at a JSON path."""
    return Evidence(record=record, exchange=exchange, path=path, expected=expected, got=got)
