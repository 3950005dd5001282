"""Whether the engine or its API conversion is at fault: the same tool calls with and without it.

Over harmony, the tool renders prompts and parses answers itself, which leaves only the provider's
engine. The engine is at fault for cases that fail there and over Chat or Responses, the API
conversion for cases that fail only over Chat or Responses. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.records.analysis import RuleResult, TaskResult
from harness.records.conditions import Api
from harness.records.diagnosis import ComponentFault
from harness.statistics.question import Association
from harness.statistics.two_rates import evidence, fail_level, spread_failures
from harness.verdict.reference_rate import Target

_LEVEL = 0.05  # two-sided p-value up to which an API passes fewer tries than harmony
_RAW: Api = "harmony"


@dataclass(frozen=True)
class _Tried:
    """Passes and tries of each case over one API, in all modes."""

    api: Api
    passed: Mapping[str, int]
    tries: Mapping[str, int]

    def __str__(self) -> str:
        return f"{self.passes} of {self.total} tool calls succeed over {self.api}"

    @property
    def passes(self) -> int:
        return sum(self.passed.values())

    @property
    def total(self) -> int:
        return sum(self.tries.values())

    def below(self, other: _Tried) -> bool:
        """Return whether fewer tries of the same cases pass than over another API."""
        tables = {
            case: ((self.passed[case], self.tries[case]), (other.passed[case], other.tries[case]))
            for case in self.tries.keys() & other.tries.keys()
        }
        fewer = self.passes * other.total < other.passes * self.total
        return fewer and Association(tables).p <= _LEVEL


def faulty_components(
    results: Sequence[TaskResult],
    rules: Sequence[RuleResult],
    apis: Collection[Api],
    target: Target,
) -> tuple[ComponentFault, ...]:
    """Return the components that the run shows to be at fault; none if it did not use harmony."""
    by_api = {tried.api: tried for tried in _tried(results)}
    raw = by_api.pop(_RAW, None)
    others = [other for other in by_api.values() if other.total]
    faults: list[ComponentFault] = []
    if raw is not None and raw.total:
        level = fail_level(len(others) + 1)
        low = [
            tried
            for tried in (raw, *others)
            if evidence(tried.passes, tried.total, target.reference, target.lower) <= level
        ]
        if worse := [tried for tried in low if tried.below(raw)]:
            names = " and ".join(tried.api for tried in worse)
            compared = ", and ".join(f"{e.passes} of {e.total} over {e.api}" for e in worse)
            text = (
                f"The API conversion of {names} is at fault: for the same cases, {raw}, where the "
                f"tool renders prompts and parses answers itself, but {compared}."
            )
            faults.append(ComponentFault(component="API conversion", text=text))
        means = [raw.passed[case] / tries for case, tries in raw.tries.items() if tries]
        spread = spread_failures(means, target.reference, len(others) + 1)
        if raw in low and len(low) > 1 and spread and not any(raw.below(other) for other in others):
            return (*faults, _engine("; ".join(map(str, low))))
    numbers = [
        rule.check.id
        for rule in rules
        if rule.status == "failed"
        and rule.check.family in ("numerics", "long")
        and _RAW in rule.groups
        and (len(rule.groups) > 1 or set(apis) == {_RAW})
    ]
    if numbers:
        faults.append(_engine(f"{', '.join(numbers)} failed over harmony"))
    return tuple(faults)


def _tried(results: Sequence[TaskResult]) -> Iterator[_Tried]:
    calling = [result for result in results if not result.is_eval]
    for api in dict.fromkeys(result.condition.api for result in calling):
        passed, tries = Counter[str](), Counter[str]()
        for result in calling:
            if result.condition.api == api:
                for case, (passes, finished) in result.cases.items():
                    passed[case] += passes
                    tries[case] += finished
        yield _Tried(api, passed, tries)


def _engine(why: str) -> ComponentFault:
    text = f"The engine is at fault: {why}. Requests over harmony bypass the API conversion."
    return ComponentFault(component="engine", text=text)
