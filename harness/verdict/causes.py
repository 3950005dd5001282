"""The likely causes of a run's findings: which part of the server is at fault, and when. Pure.

What: every rule declares a component. A finding has a weight: errors before warnings, and the share
of the affected replies. A finding that another one explains counts for the component of that one,
and weighs little: defects of that component make its rule fail too (`Component.follows`), and it
is mostly in the same replies. The weights of a component are summed, and the heaviest component is
the first cause. Witnesses show that something is wrong but not what, so they decide only if no
other rule failed. What the model does is of the model if its logprobs differ and nothing shows that
its prompts do. A request that got no reply shows only that. An engine serves both APIs, so a
probe that fails over only one of them shows a defect of the conversion.

When: exact tests on the replies with and without the finding (`harness.verdict.occasions`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Self

from harness.records.analysis import RuleResult
from harness.records.diagnosis import Cause, ComponentFault, Diagnosis, Occasion
from harness.records.register import known_defect
from harness.records.scores import Evidence, Score
from harness.rules.catalogue import PROBES, RULES
from harness.rules.components import COMPONENTS, INSTEAD, MARKED, Component, fields_of, follow
from harness.rules.rule import Rule
from harness.statistics.intervals import exact_bounds
from harness.verdict.occasions import (
    UNDER_LOAD,
    Reply,
    occasions,
    replies_of,
    tolerated_replies,
)

MOST_CAUSES = 3  # causes that are named
_WARNING = 0.1  # weight of a warning; an error has 1
_PROBE, _INHERITED = 0.5, 0.1
"""Weights of a probe, which has a few replies, and of a finding that another defect explains; a
check has 1."""
_BY_COUNTS = 0.5  # weight of what only token counts show
_UNSURE = 0.1  # probability of a smaller share than the one that weighs: 1 of 1 shows less than 20
_FEWEST_FAILURES, _RARE = 3, 0.02
"""Replies, and their share, below which a finding names no cause: one reply of a thousand has many
properties, and shows not which of them matters."""
_HARDLY = 0.1  # of the largest share of an API and mode: findings elsewhere are background
_MOSTLY = 0.5  # of the replies with a finding
_ALWAYS = 0.9  # of the replies of an API
_FEW_FIXES = 3  # fixes of one cause; of more, none corrects most of its findings


@dataclass(frozen=True, eq=False)
class _Finding:
    """A failed or warned rule, its component, its weight, and the replies with the finding."""

    rule: Rule
    result: RuleResult
    component: str
    weight: float
    replies: frozenset[Reply]
    moved: bool = False  # whether its component is that of a finding that explains it

    def of(self, component: str) -> Self:
        """Return the finding as a consequence of one of another component."""
        return replace(self, component=component, weight=self.weight * _INHERITED, moved=True)

    @property
    def records(self) -> frozenset[str]:
        """The rollouts with the finding: their ids."""
        return frozenset(record for record, _ in self.replies)

    @property
    def by_counts(self) -> bool:
        """Whether only token counts show it, and it is not about these."""
        return not self.rule.part.about_counts and _by_counts(self.result)

    @property
    def about(self) -> Component:
        """Its component."""
        return COMPONENTS[self.component]

    @property
    def id(self) -> str:
        """The id of its rule."""
        return self.rule.id

    @property
    def own_fix(self) -> str | None:
        """How the defect is corrected, if not as others of its component."""
        return self.rule.own_fix if self.rule.component == self.component else None

    @property
    def proven(self) -> bool:
        """Whether a reply alone excludes the model."""
        return any(example.proven for example in self.result.examples)

    @property
    def isolated(self) -> bool:
        """Whether so few replies have it that they may share anything by chance; none proves it.

        A rule that only warns below a high share may show a model that obeys less.
        """
        few = not self.result.of_probe and self.result.failures < _FEWEST_FAILURES
        few &= _share(self.result) < _RARE
        tolerant = bool(self.rule.tolerated) and self.rule.error_above is not None
        return not self.proven and (few or (tolerant and self.result.status == "warned"))

    @property
    def is_shown(self) -> bool:
        """Whether it names its component: a witness does only if it proves what it says."""
        return not self.rule.witness or (self.proven and not self.result.of_probe)

    @property
    def is_solid(self) -> bool:
        """Whether no model causes it, so that it explains statistics of texts."""
        checked = self.result.of_probe or self.result.status == "failed"
        return checked and not self.rule.behaviour and (self.proven or not self.rule.tolerated)


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
    findings = sorted(_of_model(list(_findings(failing, scores))), key=lambda e: (-e.weight, e.id))
    errors = any(finding.result.status == "failed" for finding in findings)
    shown = [finding for finding in findings if finding.is_shown]
    parts = {finding.component for finding in shown if finding.is_solid}
    after = {e.id: {*e.rule.part.after} - {e.component} for e in shown}
    shown = [finding for finding in shown if not parts & after[finding.id]]
    if not any(finding.result.status == "failed" for finding in shown) and (errors or not shown):
        shown = findings
    deciding = [finding for finding in shown if not finding.isolated]
    if not (deciding or errors or components):
        return None
    errors = any(finding.result.status == "failed" for finding in deciding)
    causes: list[Cause] = []
    left = deciding
    while left and len(causes) < MOST_CAUSES:
        failed = [finding for finding in left if finding.result.status == "failed"]
        if errors and not failed:
            break  # Beside errors, warnings that no error explains need no cause.
        support = [finding for finding in findings if finding.rule.witness and finding not in left]
        sums = {
            part: sum(finding.weight for finding in (*left, *support) if finding.component == part)
            for part in dict.fromkeys(finding.component for finding in failed or left)
        }
        component = max(sums, key=sums.__getitem__)  # the heaviest finding breaks ties
        own = [finding for finding in left if finding.component == component]
        others = [e for e in findings if e.component == component and e not in deciding]
        causes.append(_cause(own, others, scores, results))
        left = [finding for finding in left if finding not in own]
    named = {rule for cause in causes for rule in cause.explains}
    explained = [finding for finding in findings if finding.id in named]
    unexplained = [finding for finding in findings if finding.id not in named]
    return Diagnosis(
        causes=tuple(causes),
        unexplained=tuple(finding.id for finding in unexplained),
        worst_unexplained=_worst(unexplained, explained),
        components=components,
    )


def _worst(unexplained: Iterable[_Finding], explained: Sequence[_Finding]) -> str | None:
    """Return the first unexplained finding with a larger share than all that causes explain.

    Beside an error that no model causes, a witness without a proof is none.
    """
    known = max((_share(finding.result) for finding in explained), default=0.0)
    proven = any(e.is_solid and e.result.status == "failed" for e in explained)
    left = (finding for finding in unexplained if finding.is_shown or not proven)
    return next((finding.id for finding in left if _share(finding.result) > known), None)


def _cause(
    own: Sequence[_Finding],
    others: Sequence[_Finding],
    scores: Sequence[Score],
    run: Sequence[RuleResult],
) -> Cause:
    """Return the cause of the findings of a component, the heaviest first, which says when.

    The `others` of the component do not decide: witnesses, and findings in single replies, which
    need the same replies.
    """
    first = own[0]
    records = frozenset[str]().union(*(finding.records for finding in own))
    same = [e for e in others if e.rule.witness or _shared(e.records, records, len(e.records))]
    about = first.about
    probes = [e for e in (*own, *same) if e.result.of_probe and not e.moved]
    told = probes if first.result.of_probe else [first]
    replies = frozenset[Reply]().union(*(finding.replies for finding in told))
    replies |= tolerated_replies([finding.id for finding in told], scores)
    when = list(occasions([finding.result for finding in told], replies, scores, run))
    if UNDER_LOAD not in when and all(map(_needs_load, told)):
        when.append(UNDER_LOAD)
    if about.of_builds and _equal_requests_differ(first.result):
        when.append(Occasion(kind="some requests"))
    if first.rule.witness and not first.proven:
        when.append(Occasion(kind="witness", rule=first.id))
    example = first.rule.example or known_defect(first.id)
    paths = (e.evidence.path or "" for each in own for e in each.result.found)
    general = about.fix_of(fields_of(paths) or about.fields)
    solid = [e for e in own if e.is_solid and not e.moved]
    many = len({e.own_fix for e in solid}) > _FEW_FIXES
    fixes = [general if many or first.own_fix is None else first.own_fix]
    fixes += (e.own_fix for e in own if e.own_fix and e.is_solid and e.own_fix not in fixes)
    return Cause(
        component=first.component,
        description=about.title,
        when=tuple(when),
        effect=about.effect,
        remedy=" ".join(fixes[:2]),
        examples=() if example is None else (example,),
        explains=tuple(dict.fromkeys(finding.id for finding in (*own, *same))),
    )


def _equal_requests_differ(result: RuleResult) -> bool:
    """Whether a probe fails in some requests over each of two APIs that it passes over the other.

    If the same requests fail over both, they are the ones that show the defect. If more fail over
    one API, that API has it.
    """
    failing: dict[str, set[str]] = defaultdict(set)
    for request in result.failing:
        failing[request.api].add(request.request)
    return any(a - b and b - a for a, b in combinations(failing.values(), 2))


def _needs_load(finding: _Finding) -> bool:
    """Whether a finding comes from requests in a burst, and shows that these are mixed up."""
    probe = PROBES.get(finding.id)
    return probe is not None and probe.group.burst is not None and finding.about.mixes_requests


def _shared(some: Set[str], others: Set[str], every: int) -> bool:
    """Return whether most of so many rollouts are among both."""
    return len(some & others) > _MOSTLY * every


def _findings(failing: Sequence[RuleResult], scores: Sequence[Score]) -> Iterable[_Finding]:
    """Yield the findings, each for the component of the one that explains it."""
    replies = replies_of(failing, scores)
    every = [
        _Finding(RULES[e.check.id], e, _component(e), _weight(e), replies[e.check.id])
        for e in failing
    ]
    every.sort(key=lambda e: (not e.result.of_probe, len(e.records), e.weight))
    tasks = {score.record: score.task for score in scores}
    sources: dict[_Finding, _Finding] = {}
    for finding in every:
        for other in every:
            if other not in sources and _explains(other, finding, tasks):
                sources[finding] = max(other, sources.get(finding, other), key=lambda e: e.weight)
    for finding in every:
        first = finding
        while first in sources:
            first = sources[first]
        yield finding if first is finding else finding.of(first.component)


def _weight(result: RuleResult) -> float:
    """Return how much a finding says about its component, at most 1."""
    rule = RULES[result.check.id]
    weight = _WARNING if result.status == "warned" else 1.0
    if result.of_probe:
        return (
            weight
            * _share(result, sure=True)
            * (_PROBE if _component(result) == rule.component else _INHERITED)
        )
    if _by_counts(result) and not rule.part.about_counts:
        weight *= _BY_COUNTS
    return weight * _share(result, sure=True)


def _of_model(findings: Sequence[_Finding]) -> Iterable[_Finding]:
    """Yield the findings, those of behaviour for the model if it differs and the prompts do not.

    Logprobs show that it differs, and no rule fails that judges prompts or sampling otherwise.
    """
    failed = [finding for finding in findings if finding.result.status == "failed"]
    others = {e.component for e in failed if not (e.rule.witness or e.rule.behaviour)}
    differs = [e.about for e in failed if e.about.of_behaviour and e.id in PROBES]
    model = differs[0] if differs and others.isdisjoint(differs[0].after) else None
    return (e.of(model.id) if model and e.rule.behaviour else e for e in findings)


def _component(result: RuleResult) -> str:
    """Return the component of a rule, or of what its requests got instead of a reply."""
    rule = RULES[result.check.id]
    received = {finding.evidence.received for finding in result.found}
    got = received.pop() if len(received) == 1 else "differs"
    probe = result.of_probe
    part = INSTEAD.get(got)
    if part is not None and got not in rule.part.expects and (probe or got != "unreadable"):
        return part.id
    if rule.part.only_counts and _by_counts(result):
        return rule.part.only_counts
    for part in MARKED if result.found else ():
        if all(_is_marked(finding.evidence, part.shown_by) for finding in result.found):
            return part.id
    rates = [failures / every for failures, every in result.counts.values() if every]
    of_one_api = max(rates, default=0) >= _ALWAYS and min(rates, default=0) == 0
    if rule.part.one_api and probe and of_one_api:
        return rule.part.one_api
    return rule.component


def _explains(other: _Finding, finding: _Finding, tasks: Mapping[str, str]) -> bool:
    """Whether the defect that another rule found makes a rule fail, in mostly the same replies.

    A probe fails because of what it does not test only if other groups of requests show that, too.
    Counts alone show no defect of texts, and only wrong counts, where as many are wrong, change the
    counts of prompts. Replies of other requests show as these in some replies, and as changed,
    lost or unreadable ones in others: if one of them is proven, it explains what is not in every
    reply, and all that fails if it is stored. Warnings explain nothing.
    """
    says = other.result.status == "failed" and other.is_shown
    if not says or other.component == finding.component:
        return False
    same = _shared(finding.records, other.records, len(finding.records))
    wider = (len(other.records), other.weight) >= (len(finding.records), finding.weight)
    if finding.rule.of_account and other.rule.of_account:
        return _explains_in_account(other, finding, wider=wider)
    probe = finding.result.of_probe
    follows = follow(finding.component, other.component)
    if other.about.mixes_requests and not other.by_counts and follows:
        sometimes = other.about.repeats_requests or _share(finding.result) < _ALWAYS
        partly = other.proven and sometimes
        return same or partly or _share(other.result) >= _MOSTLY * _share(finding.result, sure=True)
    if finding.by_counts and other.about.changes_counts:
        return same or _share(other.result) >= _MOSTLY * _share(finding.result)
    if other.by_counts or (finding.by_counts and probe) or not (wider or probe):
        return False
    if probe:
        same |= {example.evidence.record for example in finding.result.found} <= other.records
        same &= len({tasks[record] for record in other.records}) > 1
    same |= finding.about.of_some_requests and _is_elsewhere(other, finding)
    return same and follows


def _explains_in_account(other: _Finding, finding: _Finding, *, wider: bool) -> bool:
    """Whether one finding of the account explains another.

    The account reports a reply once: what most replies have (`wider`) explains the rest. A witness
    does not know what happened, and explains nothing that happened about as often.
    """
    if finding.rule.witness and not other.rule.witness:
        return wider or _share(other.result) >= _MOSTLY * _share(finding.result)
    if other.rule.witness and not finding.rule.witness:
        return wider and _share(finding.result) < _MOSTLY * _share(other.result)
    return wider


def _is_elsewhere(other: _Finding, finding: _Finding) -> bool:
    """Return whether another defect of replies is mostly in those without a finding.

    What damages all replies damages those that a rule alone judges, in the same APIs and modes.
    """
    places, others = (
        {place for place, (failures, _) in each.result.counts.items() if failures}
        for each in (finding, other)
    )
    outside = len(other.records - finding.records) > _MOSTLY * len(other.records)
    often = _share(other.result) >= _HARDLY * _share(finding.result)
    return outside and often and places <= others and other.is_solid


def _share(result: RuleResult, *, sure: bool = False) -> float:
    """Return the share of replies with a finding, in the APIs and modes that have it.

    If it must be `sure`, this is its lower confidence bound.
    """
    rates = {name: failures / every for name, (failures, every) in result.counts.items() if every}
    least = _HARDLY * max(rates.values(), default=0)
    counted = [result.counts[name] for name, rate in rates.items() if rate and rate >= least]
    failures, every = (sum(counts[part] for counts in counted) for part in (0, 1))
    return exact_bounds(failures, every, _UNSURE)[0] if sure else failures / every


def _is_marked(evidence: Evidence, mark: str) -> bool:
    """Whether a mark stands in one of the two texts of the evidence alone."""
    return (mark in evidence.expected) != (mark in evidence.got)


def _by_counts(result: RuleResult) -> bool:
    """Return whether the evidence is only in token counts."""
    paths = [finding.evidence.path or "" for finding in result.found]
    return all(path.startswith("$.usage") for path in paths)
