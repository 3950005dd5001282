"""The likely causes of a run's findings: which part of the server is at fault, and when. Pure.

What: every rule declares a component. A finding has a weight: errors before warnings, and the share
of the affected replies. The weights of a component are summed, and the heaviest component is the
first cause. Witnesses show that something is wrong but not what, so they decide only if no other
rule failed. A request that got no reply shows only that. An engine serves both APIs, so a probe
that fails over only one of them shows a defect of the conversion.

When: exact tests on the replies with and without the finding (`harness.verdict.occasions`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.records.analysis import RuleResult
from harness.records.diagnosis import Cause, ComponentFault, Diagnosis
from harness.records.scores import Score
from harness.rules.catalogue import PROBES, RULES
from harness.rules.components import COMPONENTS
from harness.rules.rule import Rule
from harness.verdict.occasions import NOT_ALWAYS, UNDER_LOAD, Reply, occasions, replies_of

MOST_CAUSES = 3  # causes that are named
_WARNING = 0.1  # weight of a warning; an error has 1
_PROBE, _INHERITED = 0.5, 0.1
"""Weights of a probe, which has a few replies, and of a finding that another defect explains; a
check has 1."""
_BY_COUNTS = 0.5  # weight of what only token counts show; `_INHERITED` if these are wrong
_FEW = 3  # replies that are added to those without a finding: 1 of 1 shows less than 20 of 20
_FEWEST, _RARE = 3, 0.02
"""Replies, and their share, below which a finding names no cause: one reply of a thousand has many
properties, and shows not which of them matters."""
_HARDLY = 0.1  # of the largest share of an API and mode: findings elsewhere are background
_MOSTLY = 0.5  # of the replies with a finding
_ALWAYS = 0.9  # of the replies of an API
_OF_REQUESTS = {"refused": "refusals", "failed": "failures"}
_AGAIN = "The same part of the server has another defect, with a fix of its own."
_EXPECT_ERRORS = frozenset({"errors", "storage", "shared", "replicas"})
"""Components whose rules expect a refusal, or have errors as their evidence."""


@dataclass(frozen=True, eq=False)
class _Found:
    """A failed or warned rule, its component, its weight, and the replies with the finding."""

    rule: Rule
    result: RuleResult
    component: str
    weight: float
    replies: frozenset[Reply]

    @property
    def id(self) -> str:
        return self.rule.id

    @property
    def fix(self) -> str:
        about = self.rule if self.rule.component == self.component else COMPONENTS[self.component]
        return about.fix

    @property
    def isolated(self) -> bool:
        """Whether so few replies have it that they may share anything by chance."""
        few = self.result.check.kind == "check" and self.result.failures < _FEWEST
        return few and _share(self.result) < _RARE


def diagnose(
    results: Sequence[RuleResult],
    scores: Sequence[Score] = (),
    components: tuple[ComponentFault, ...] = (),
) -> Diagnosis | None:
    """Return the likely causes of the errors and warnings of a run.

    None if there are none of these, or too few replies have them. Only rules that judged something
    are evidence. `components` are those known to be at fault.
    """
    failing = [
        result for result in results if result.applicable and result.status in ("failed", "warned")
    ]
    found = sorted(_found(failing, scores), key=lambda one: (-one.weight, one.id))
    errors = any(one.result.status == "failed" for one in found)
    shown = [one for one in found if not one.rule.witness]
    parts = {one.component for one in shown}
    after = {one.id: {*COMPONENTS[one.rule.component].after} - {one.component} for one in shown}
    shown = [one for one in shown if not parts & after[one.id]]
    if not any(one.result.status == "failed" for one in shown) and (errors or not shown):
        shown = found
    deciding = [one for one in shown if not one.isolated]
    if not (deciding or errors or components):
        return None
    causes: list[Cause] = []
    left = deciding
    while left and len(causes) < MOST_CAUSES:
        failed = [one for one in left if one.result.status == "failed"]
        if errors and not failed:
            break  # Beside errors, warnings that no error explains need no cause.
        sums = {
            part: sum(one.weight for one in left if one.component == part)
            for part in dict.fromkeys(one.component for one in failed or left)
        }
        component = max(sums, key=sums.__getitem__)  # the heaviest finding breaks ties
        own = [one for one in left if one.component == component]
        first = own[0]
        witnesses = [one for one in found if one.rule.witness and one.component == component]
        again = any(cause.component == component for cause in causes)
        cause = _cause(first, [*own, *witnesses], found, scores, results, again=again)
        causes.append(cause)
        left = [one for one in left if one.id not in cause.explains]
    named = {rule for cause in causes for rule in cause.explains}
    unexplained = tuple(one.id for one in found if one.id not in named)
    known = max((_share(one.result) for one in found if one.id in named), default=0.0)
    worse = [one for one in found if one.id in unexplained and _share(one.result) > known]
    return Diagnosis(
        causes=tuple(causes),
        unexplained=unexplained,
        worst_unexplained=worse[0].id if worse else None,
        components=components,
    )


def _cause(
    first: _Found,
    own: Sequence[_Found],
    found: Sequence[_Found],
    scores: Sequence[Score],
    run: Sequence[RuleResult],
    *,
    again: bool,
) -> Cause:
    """Return the cause of the heaviest finding of a component, or of the next one if `again`.

    Findings of the same component with the same fix, or mostly in the same replies, have one cause,
    and so have findings of other components that are mostly in its replies.
    """
    same = [
        one
        for one in dict.fromkeys(own)
        if one.rule.witness
        or one.component != one.rule.component
        or one.fix == first.fix
        or _shared(one.replies, first.replies, max(len(one.replies), len(first.replies)))
    ]
    replies = frozenset[Reply]().union(*(one.replies for one in same))
    others = [
        one
        for one in found
        if one not in own
        and one.weight <= first.weight
        and _shared(one.replies, replies, len(one.replies))
    ]
    about = COMPONENTS[first.component]
    when = list(occasions([one.result for one in same], replies, scores, run))
    # Findings of one component may hide that the heaviest of them depends on the load.
    of_first = list(occasions([first.result], first.replies, scores, run))
    if UNDER_LOAD in of_first:
        when += [one for one in (NOT_ALWAYS, UNDER_LOAD) if one in of_first and one not in when]
    if first.rule.witness:
        when.append(f"shown only by {first.id}")
    example = first.rule.example
    title = _AGAIN if again else about.title
    return Cause(
        component=first.component,
        description=f"{title[:-1]} ({', '.join(when)})." if when else title,
        effect="" if again else about.effect,
        under_load=UNDER_LOAD in when,
        remedy=first.fix,
        examples=() if example is None else (example,),
        explains=tuple(one.id for one in (*same, *others)),
    )


def _shared(some: frozenset[Reply], others: frozenset[Reply], every: int) -> bool:
    """Return whether most of so many replies are among both."""
    return len(some & others) > _MOSTLY * every


def _found(failing: Sequence[RuleResult], scores: Sequence[Score]) -> Iterable[_Found]:
    replies = replies_of(failing, scores)
    inherited = _inherited(failing, scores)
    miscounted = [
        result
        for result in failing
        if (rule := RULES[result.check.id]).component == "usage"
        and not rule.witness
        and result.status == "failed"
    ]
    for result in failing:
        rule = RULES[result.check.id]
        component = _component(rule, result)
        weight = _WARNING if result.status == "warned" else 1.0
        if result.check.kind == "probe":
            moved = component != rule.component
            weight *= _INHERITED if rule.id in inherited or moved else _PROBE
        if _by_counts(result) and component != "usage":
            wrong = any(_explains(one, result, replies) for one in miscounted)
            weight *= _INHERITED if wrong else _BY_COUNTS
        yield _Found(rule, result, component, weight * _share(result, _FEW), replies[rule.id])


def _component(rule: Rule, result: RuleResult) -> str:
    received = {example.evidence.received for example in result.examples}
    got = received.pop() if len(received) == 1 else "differs"
    probe = result.check.kind == "probe"
    if got == "unreadable" and probe:
        return "unreadable"
    if got in _OF_REQUESTS and rule.component not in _EXPECT_ERRORS:
        return _OF_REQUESTS[got]
    rates = [failures / every for failures, every in result.counts.values() if every]
    of_one_api = max(rates, default=0) >= _ALWAYS and min(rates, default=0) == 0
    if rule.component == "engine" and probe and of_one_api:
        return "logprobs"
    return rule.component


def _explains(
    miscount: RuleResult, result: RuleResult, replies: Mapping[str, frozenset[Reply]]
) -> bool:
    """Whether wrong counts may be all that a finding shows: as frequent, or in its replies."""
    own = replies[result.check.id]
    alike = _shared(own, replies[miscount.check.id], len(own))
    return alike or _share(miscount) >= _MOSTLY * _share(result)


def _share(result: RuleResult, added: int = 0) -> float:
    """Return the share of replies with a finding, in the APIs and modes that have it."""
    rates = {name: failures / every for name, (failures, every) in result.counts.items() if every}
    least = _HARDLY * max(rates.values(), default=0)
    found = [result.counts[name] for name, rate in rates.items() if rate and rate >= least]
    return sum(failures for failures, _ in found) / (sum(every for _, every in found) + added)


def _inherited(results: Iterable[RuleResult], scores: Iterable[Score]) -> frozenset[str]:
    """Return the failed probes that fail because of what they do not test.

    In most of the replies that they accuse, a check has an error that it also has in the replies to
    other groups of requests: a defect of what a probe tests would show only there. What a probe
    judges by token counts, only an error of token counts can cause.
    """
    checked: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for score in scores:
        for finding in score.findings:
            if finding.severity == "error":
                place = score.task, f"{score.condition.api} {score.sample}"
                checked[finding.id].add(place)
    found: set[str] = set()
    for result in results:
        if result.check.id in PROBES and result.failing:
            group = PROBES[result.check.id].group.name
            accused = {(group, name) for name in result.failing}
            for rule, places in checked.items():
                if _by_counts(result) and RULES[rule].component != "usage":
                    continue
                elsewhere = any(task != group for task, _ in places)
                if elsewhere and 2 * len(places & accused) >= len(accused):
                    found.add(result.check.id)
    return frozenset(found)


def _by_counts(result: RuleResult) -> bool:
    """Return whether the evidence is only in token counts."""
    paths = [example.evidence.path or "" for example in result.examples]
    return all(path.startswith("$.usage") for path in paths)
