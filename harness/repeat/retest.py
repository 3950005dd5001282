"""Plan a retest: send again what the findings of a run need, and a small part of what passed.

`not_passed` selects what a new run may try again, with settings of its own.

A finding is fixed if it is not found in as many tries as its rate in the run requires
(`harness.statistics.recurrence`). So that its tries differ from those of the run in nothing else, a
retest has the concurrency (unless another one is to show what needs load), the settings and the
gate of the run, and makes all requests of a probe again; over an API without the finding, once.
`harness.verdict.retested` decides, from what this module writes into `run.json`. Nothing that
passed is sent for a single finding, or with fewer requests in flight than in the run.
"""

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from harness.errors import ConfigurationError
from harness.providers.entries import Provider
from harness.records.analysis import Analysis, RuleResult, share_text
from harness.records.conditions import APIS, Api, parts_of
from harness.records.runs import RetestedRule, RetestInfo, RunInfo, TaskInfo
from harness.records.scores import Score
from harness.rules.catalogue import PROBES, RULES
from harness.rules.probe import Probe
from harness.rules.suites import CASES
from harness.run.budget import Budget
from harness.run.cases import Suite, planned_cases
from harness.run.run_folder import read_analysis, read_scores
from harness.run.run_log import read_run_info
from harness.statistics.recurrence import (
    MOST_TRIES,
    SPARE,
    enough_tries,
    half_rate,
    likely_rate,
    repeated_rate,
)
from harness.tasks.attempt_order import FEW_CASES
from harness.tasks.plan import Plan, new_info
from harness.tasks.suite import restored_suite, restored_tasks
from harness.tasks.tool_calling import NAME as TOOL_CALLING
from harness.verdict import success_rate
from harness.verdict.gate import decide_rates

_FEW_PROBES = 6  # probes whose requests are repeated because of a check
_FOUND = ("failed", "warned")
_Place = tuple[str, str, str]  # a task, a sample of it, and a condition


@dataclass
class _Selection:
    """What is sent: cases with their tries, and probes with the repetitions of their group."""

    alone: bool  # nothing that passed
    cases: dict[str, None] = field(default_factory=dict)
    tries: int = 1
    apis: Collection[Api] = ()  # those in which cases showed findings; all if none did
    probes: dict[str, None] = field(default_factory=dict)
    repetitions: dict[str, dict[Api, int]] = field(default_factory=lambda: defaultdict(dict))

    def repeat(self, probe: Probe, apis: Iterable[Api], times: int) -> None:
        """Include a probe, and repeat the requests of its group over some APIs; 0: one try."""
        self.probes[probe.id] = None
        made = self.repetitions[probe.group.name]
        made.update({api: max(times, made.get(api, 0)) for api in apis})


@dataclass(frozen=True)
class _Tested:
    """A finding of a check with the replies that showed it, in the task with most of them."""

    about: RetestedRule
    task: str
    samples: Mapping[str, float]
    """The samples to try again, those with most failures first: with the tries that the run planned
    under the conditions with failures, for one try of the task, as far as the rule judges them."""


def planned_retest(
    folder: Path,
    provider: Provider,
    budget: Budget,
    command: Sequence[str],
    tries: int | None = None,
    only: str | None = None,
) -> Plan:
    """Return the plan of a retest of the run in a folder, or of the finding of one rule, `only`.

    A finding gets so many `tries`; None for as many as are needed, but at most `MOST_TRIES`.

    Raises ConfigurationError if the run has nothing that can be retested, and RunLogError.
    """
    info, analysis = read_run_info(folder), read_analysis(folder)
    found = [r for r in analysis.checks if r.check.id in RULES and r.status in _FOUND]
    findings = [result for result in found if only in (None, result.check.id)]
    calls = _calls_failed(analysis) if only is None else None
    attempts = [a for task in restored_tasks(folder, info) for a in task.all_attempts()]
    made = Counter((a.task, a.sample.id, a.condition.name) for a in attempts)
    tested = dict(_tested(findings, read_scores(folder), info, made))
    findings.sort(key=lambda result: result.status)  # errors first
    rules = [
        tested[result.check.id].about
        if result.check.id in tested
        else _retested(result, *result.affected, likely_rate(*result.affected))
        for result in findings
        if result.check.id in tested or result.of_probe
    ]
    cases = {rule for rule, finding in tested.items() if finding.task == TOOL_CALLING}
    now = provider.concurrency
    standing = _with_stand_ins(rules, cases, analysis, tries or MOST_TRIES)
    retest = RetestInfo(
        run=str(folder),
        concurrency=now if now != info.settings.concurrency else None,
        rules=tuple(_with_tries(standing, tries)),
        calls=calls,
        others=tuple({result.check.id for result in found} - {rule.rule for rule in rules}),
        alone=only is not None,
    )
    require(folder, info, any_rules=bool(retest.rules or calls))
    chosen = _Selection(alone=only is not None or now < info.settings.concurrency)
    _select(chosen, retest, tested, analysis)
    changed = _with_selection(folder, info, chosen, retest)
    tasks = restored_tasks(folder, changed)
    settings = changed.settings.model_copy(
        update={"budget": budget.recorded_limits, "concurrency": now}
    )
    planned = new_info(info.provider, tasks, settings, command)
    return Plan(provider, tuple(tasks), planned.model_copy(update={"retest": retest}), budget)


def not_passed(folder: Path) -> tuple[Suite | None, tuple[str, ...]]:
    """Return the cases of a run that did not always pass, and the probes for `choose`.

    The cases are None if none failed. The probes are those that failed, warned or were not
    verifiable, and those whose requests show what a check found, after `cases` if there are cases.

    Raises ConfigurationError if there is neither, and RunLogError.
    """
    info, analysis = read_run_info(folder), read_analysis(folder)
    if not info.of_kind("tool_calling", "probes"):
        raise ConfigurationError(
            f"{folder} has neither tool-call cases nor probes, from which --only-failed selects."
        )
    unclear = [r.check.id for r in analysis.checks if r.status in (*_FOUND, "not_verifiable")]
    probes = dict.fromkeys(name for name in unclear if name in PROBES)
    own = [PROBES[r.check.id] for r in analysis.checks if r.check.id in PROBES and r.applicable]
    cases = {
        case
        for result in analysis.tool_calling
        for case, (passed, _) in result.cases.items()
        if passed < result.tries + result.further.get(case, 0)
    }
    for score in read_scores(folder):
        shown = {f.id for f in score.findings if f.severity != "info"} & set(unclear)
        if not shown:
            continue
        if score.task == TOOL_CALLING:
            cases.add(score.sample)
        elif users := _probes_of(own, score.task, score.sample):
            probes[users[0].id] = None
    if not cases and not probes:
        raise ConfigurationError(
            f"Everything passed in {folder}, so --only-failed selects nothing."
        )
    calling = info.task(TOOL_CALLING)
    suite = restored_suite(folder, calling.files).named(cases) if calling and cases else None
    return suite, (*((CASES,) if suite else ()), *probes)


def _probes_of(probes: Iterable[Probe], group: str, request: str) -> list[Probe]:
    """Return the probes that use a request, those with the fewest requests first.

    A request that no probe uses is sent with any of its group.
    """
    alike = [probe for probe in probes if probe.group.name == group]
    users = [probe for probe in alike if request in probe.uses] or alike
    return sorted(users, key=lambda probe: len(probe.uses))


def require(folder: Path, info: RunInfo, *, any_rules: bool = True) -> None:
    """Refuse a run that cannot be retested. Raises ConfigurationError."""
    if info.retest is not None:
        raise ConfigurationError(
            f"{folder} is itself a retest of {info.retest.name}; retest that run instead."
        )
    if info.of_kind("traffic"):
        raise ConfigurationError(
            f"{folder} is recorded traffic, whose requests cannot be sent again; "
            "record new traffic, and import it."
        )
    if not any_rules:
        raise ConfigurationError(
            f"{folder} has no errors or warnings of checks and probes, so there is nothing to "
            f"retest; repeat the run with: {shlex.join(info.repeats)}"
        )


def _with_stand_ins(
    rules: Sequence[RetestedRule], cases: Collection[str], analysis: Analysis, most: int
) -> Iterator[RetestedRule]:
    """Yield the findings, with the one that is tested for all of its component or likely cause.

    It is the most frequent one, which the fewest tries tell, but not more than `most`; of several,
    one that was found in `cases` of tool calling, where every request is a try.
    """
    tested = [
        rule
        for rule in sorted(rules, key=lambda rule: (rule.enough, rule.rule not in cases))
        if rule.severity == rules[0].severity and rule.enough <= most
        if not RULES[rule.rule].witness
    ]
    for rule in rules:
        causes = [cause.explains for cause in analysis.causes if rule.rule in cause.explains]
        alike = {rule.rule, *chain.from_iterable(causes)}
        component = RULES[rule.rule].component
        best = next(
            (e for e in tested if e.rule in alike or RULES[e.rule].component == component), rule
        )
        yield rule if best is rule else rule.model_copy(update={"stand_in": best.rule})


def _with_tries(rules: Iterable[RetestedRule], tries: int | None) -> Iterator[RetestedRule]:
    """Yield the findings with their tries: those that decide get as many as are needed.

    One with a stand-in is tried once, unless the user states `tries`: then it was tried before.
    """
    rules = list(rules)
    errors = any(rule.severity == "error" for rule in rules)
    for rule in rules:
        decides = (rule.severity == "error" or not errors) and not (rule.stand_in and not tries)
        needed = tries or min(math.ceil(SPARE * rule.enough), MOST_TRIES)
        yield rule.model_copy(update={"planned": needed if decides else 1})


def _calls_failed(analysis: Analysis) -> bool | None:
    """Whether tool calls failed by their success rate or single cases; None if by findings."""
    results, thresholds = analysis.tool_calling, analysis.verdict.thresholds
    if not results or (
        decide_rates(results, thresholds, complete=analysis.complete).decision != "fail"
    ):
        return False
    tries = [counts for result in results for counts in result.cases.values()]
    failed = sum(every - passed for passed, every in tries)
    left = failed - sum(result.invalid for result in results)
    return None if left <= (1 - thresholds.lower_rate) * sum(every for _, every in tries) else True


def _retested(result: RuleResult, failures: int, tries: int, rate: float) -> RetestedRule:
    shares = [share for share in result.shares.values() if share[0]]  # those of the report
    tolerated = RULES[result.check.id].tolerated
    half = half_rate(rate, tolerated)
    return RetestedRule(
        rule=result.check.id,
        severity="error" if result.status == "failed" else "warning",
        failures=failures,
        tries=tries,
        conditions=result.groups,
        half=half,
        enough=enough_tries(half, tolerated),
        share=share_text({"": (sum(f for f, _ in shares), sum(every for _, every in shares))}),
    )


def _tested(
    findings: Sequence[RuleResult],
    scores: Iterable[Score],
    info: RunInfo,
    planned: Mapping[_Place, int],
) -> Iterator[tuple[str, _Tested]]:
    """Yield the findings of checks by id, with the samples that showed them.

    `planned` are the attempts of the run by task, sample and condition, of which a stopped run made
    fewer. The rate of a finding is that in the task where it was found most often, or at the
    samples that were tried several times, whichever is higher: a defect may affect one case always.
    """
    checks = {result.check.id: result for result in findings if not result.of_probe}
    sampled = {task.name for task in info.of_kind("tool_calling", "probes")}
    tries: Counter[_Place] = Counter()
    failed_at: dict[str, Counter[_Place]] = defaultdict(Counter)
    for score in scores:
        if score.task not in sampled or not score.finished:
            continue
        place = score.task, score.sample, score.condition.name
        tries[place] += 1
        for rule in {f.id for f in score.findings if f.severity != "info" and f.id in checks}:
            failed_at[rule][place] += 1
    for rule, places in failed_at.items():
        result = checks[rule]
        home, seen, judged = _home(places, tries, result.groups)
        once: Counter[str] = Counter()
        for (task, sample, condition), made in planned.items():
            once[sample] += made if task == home and condition in result.groups else 0
        again = [(places[place], tries[place]) for place in places if place[0] == home]
        others = sum(failed - 1 for failed, _ in again), sum(every - 1 for _, every in again)
        failed_samples: Counter[str] = Counter()
        for (task, sample, _), failed in places.items():
            failed_samples[sample] += failed if task == home else 0
        rate, of_samples = likely_rate(seen, judged), repeated_rate(*others)
        about = _retested(result, seen, judged, max(rate, of_samples))
        ordered = [sample for sample, failed in failed_samples.most_common() if failed]
        if rate >= of_samples:
            ordered += [sample for sample in +once if sample not in ordered]
        every = sum(made for (_, _, name), made in tries.items() if name in result.groups)
        applies = sum(result.counts[name][1] for name in result.groups) / every
        judges = min(1.0, max(applies, seen / judged))  # the share of the attempts in this task
        calling = info.task(TOOL_CALLING) if home == TOOL_CALLING else None
        each = calling and once.total() / (calling.samples * calling.tries)
        samples = {sample: judges * (each or once[sample]) for sample in ordered}
        yield rule, _Tested(about, home, samples)


def _home(
    failed: Mapping[_Place, int], tries: Mapping[_Place, int], conditions: Collection[str]
) -> tuple[str, int, int]:
    """Return the task where a finding is tried again, with its failures and tries there.

    It is the one with most failures; tool calling, where every request is a try, if the finding is
    as frequent there.
    """
    failures: Counter[str] = Counter()
    for (task, _, _), times in failed.items():
        failures[task] += times
    made: Counter[str] = Counter()
    for (task, _, condition), times in tries.items():
        made[task] += times if condition in conditions else 0
    home = failures.most_common(1)[0][0]
    if failures[TOOL_CALLING] * made[home] >= failures[home] * made[TOOL_CALLING] > 0:
        home = TOOL_CALLING
    return home, failures[home], made[home]


def _select(
    chosen: _Selection,
    retest: RetestInfo,
    tested: Mapping[str, _Tested],
    analysis: Analysis,
) -> None:
    """Choose what to send: what the findings need and, unless `alone`, a part of what passed."""
    needed = {rule.rule: rule.planned for rule in retest.rules}
    included = [task.name for task in analysis.run.of_kind("probes")]
    every = [PROBES[r.check.id] for r in analysis.checks if r.check.id in PROBES]
    own = [PROBES[r.check.id] for r in analysis.checks if r.check.id in PROBES and r.applicable]
    for rule in retest.rules:
        if rule.rule in PROBES:
            times = math.ceil(needed[rule.rule] / rule.tries)
            chosen.repeat(PROBES[rule.rule], _apis(rule.conditions), times)
        elif tested[rule.rule].task in included:
            _select_requests(chosen, tested[rule.rule], every, needed[rule.rule])
    calling = {rule: found for rule, found in tested.items() if found.task == TOOL_CALLING}
    _select_cases(chosen, [(found, needed[rule]) for rule, found in calling.items()])
    chosen.apis = {api for found in calling.values() for api in _apis(found.about.conditions)}
    for name in list(chosen.probes):
        for relation in PROBES[name].relations:
            if (other := getattr(relation, "rule", None)) in {probe.id for probe in own}:
                chosen.probes[other] = None
    if not chosen.alone:
        _add_passed(chosen, analysis, own)


def _apis(conditions: Iterable[str]) -> list[Api]:
    named = {parts_of(name)[0] for name in conditions}
    return [api for api in APIS if api in named]


def _select_requests(
    chosen: _Selection, finding: _Tested, every: Sequence[Probe], tries: int
) -> None:
    """Include the probes that send the requests in which a check found something.

    A probe that could judge nothing in the run sends them, too.
    """
    covered: set[str] = set()
    selected: list[Probe] = []
    for sample in finding.samples:
        users = _probes_of(every, finding.task, sample)
        once = sum(made for name, made in finding.samples.items() if name in covered)
        if once >= tries or len(selected) == _FEW_PROBES:
            break
        if sample not in covered and users:
            selected.append(users[0])
            covered |= set(selected[-1].uses)
    once = sum(made for name, made in finding.samples.items() if name in covered)
    times = math.ceil(tries / max(1, once)) if tries > 1 else 0
    for probe in selected:
        chosen.repeat(probe, _apis(finding.about.conditions), times)


def _select_cases(chosen: _Selection, wanted: Sequence[tuple[_Tested, int]]) -> None:
    """Include cases in which checks found something, for so many tries, with an even number each.

    The tries of a case alternate between the modes, so two tries have one in each.
    """
    for finding, tries in wanted:
        needed = math.ceil(tries / sum(finding.samples.values()))
        chosen.tries = max(chosen.tries, needed + needed % 2)
    for finding, tries in sorted(wanted, key=lambda pair: len(pair[0].samples)):
        made = sum(finding.samples.get(case, 0) for case in chosen.cases) * chosen.tries
        for sample, once in finding.samples.items():
            if made >= tries:
                break
            if sample not in chosen.cases:
                chosen.cases[sample] = None
                made += once * chosen.tries


def _add_passed(chosen: _Selection, analysis: Analysis, own: Sequence[Probe]) -> None:
    """Add a small part of what passed: of each other group the probe with the fewest requests.

    Probes of a chosen group are added if they need no further request.
    """
    passed = {result.check.id for result in analysis.checks if result.status == "passed"}
    sent = {
        (probe.group.name, request, mode)
        for probe in map(PROBES.__getitem__, chosen.probes)
        for request in probe.uses
        for mode in probe.about.modes
    }
    groups = {name for name, _, _ in sent}
    smallest: dict[str, Probe] = {}
    for probe in own:
        name, group = probe.group.name, probe.group
        needed = {(name, request, mode) for request in probe.uses for mode in probe.about.modes}
        if probe.id not in passed:
            continue
        if needed <= sent:
            chosen.probes[probe.id] = None
        elif name not in groups and group.burst is None and not group.expensive:
            smallest[name] = min(smallest.get(name, probe), probe, key=lambda p: len(p.uses))
    chosen.probes.update(dict.fromkeys(probe.id for probe in smallest.values()))


def _with_selection(folder: Path, info: RunInfo, chosen: _Selection, retest: RetestInfo) -> RunInfo:
    """Return `run.json` of the run with the tasks and settings of its retest."""
    tasks: list[TaskInfo] = []
    cases: tuple[str, ...] = ()
    if (calling := info.task(TOOL_CALLING)) is not None:
        suite = planned_cases(restored_suite(folder, calling.files), info.settings)
        tries = chosen.tries
        ids = {case.id for case in suite.cases}
        if retest.calls:
            thresholds = info.settings.thresholds
            tries = max(tries, success_rate.fewest_tries(len(ids), thresholds, alternating=True))
        else:
            fill = max(FEW_CASES, info.settings.concurrency)  # so that the load is that of the run
            spread = suite.spread(math.ceil(fill / tries)).cases
            ids = set(chosen.cases) | {case.id for case in spread if not chosen.alone}
        cases = tuple(case.id for case in suite.cases if case.id in ids)
        used = [c for c in calling.conditions if retest.calls or c.api in (chosen.apis or APIS)]
        changed = {"tries": tries, "conditions": tuple(used or calling.conditions)}
        tasks += [calling.model_copy(update=changed)] if cases else []
    groups = {PROBES[name].group.name for name in chosen.probes}
    for task in info.of_kind("probes"):
        if task.name in groups:
            again = chosen.repetitions.get(task.name)
            own = {"repetitions": {api: again.get(api, 0) for api in APIS} if again else {}}
            tasks.append(task.model_copy(update=own))
    only = (*((CASES,) if cases else ()), *chosen.probes)
    settings = info.settings.selecting(only, cases)
    return info.model_copy(update={"tasks": tuple(tasks), "settings": settings})
