"""Decide a retest: which findings of a run are fixed, and what fails only now. No I/O.

A finding is fixed if its rule passes, and so few tries show it again, under the conditions that had
it, that its defect is not even half as frequent as before. The errors of the run decide; if it had
none, its warnings do. A rule that fails only now fails the retest too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from harness.records.analysis import (
    RetestedFinding,
    RetestStatus,
    RuleResult,
    TaskResult,
    Verdict,
)
from harness.records.figures import Decision
from harness.records.runs import RetestedRule, RetestInfo, RunInfo
from harness.rules.catalogue import RULES
from harness.statistics.recurrence import MOST_STATED, SPARE, excludes, remains
from harness.text import first_few
from harness.verdict.gate import SHOWN_RULES, UNFINISHED, decide_rates

CALLS = "tool calls"
_FOUND = ("failed", "warned")
ONLY_A_RETEST = "A retest does not replace a complete run."


def findings(
    retest: RetestInfo, rules: Sequence[RuleResult], calling: Sequence[TaskResult], verdict: Verdict
) -> Iterator[RetestedFinding]:
    """Yield what became of each finding, and the rules that fail only now.

    `verdict` is that of a complete run with these results. Raises ConfigurationError.
    """
    results = {result.check.id: result for result in rules}
    found = {result.check.id for result in rules if result.status in _FOUND}
    before = {*retest.others, *(rule.rule for rule in retest.rules)}
    new = [results[name] for name in results if name in found - before]
    gone = [rule for rule in retest.rules if rule.rule not in found]
    named = {rule.rule: other for rule in gone for other in new if _shows(rule, other)}
    by_rule = {
        rule.rule: _finding(rule, results, named.get(rule.rule), decisive=rule in retest.decisive)
        for rule in retest.rules
    }
    for rule in retest.rules:
        yield _with_stand_in(rule, by_rule)
    rates = decide_rates(calling, verdict.thresholds, complete=True) if calling else None
    if retest.calls:
        yield _calls(rates.decision if rates else None, calling)
    elif retest.calls is False and rates and rates.decision == "fail":
        yield RetestedFinding(rule=CALLS, status="new", now=_passed(calling))
    for result in new:
        if result.status == "failed" and result not in named.values():
            rule_id, now = result.check.id, _share(result)
            yield RetestedFinding(rule=rule_id, status="new", now=now, decisive=not retest.alone)


def _shows(rule: RetestedRule, other: RuleResult) -> bool:
    """Return whether another rule finds as much as a finding showed, under its conditions.

    Which other replies there are decides which rule of a component, or of the account, names it.
    """
    rules = [RULES[rule.rule], RULES[other.check.id]]
    alike = rules[0].component == rules[1].component
    failures, judged = _counts(other, rule.conditions)
    named = alike or all(each.of_account for each in rules)
    return named and failures > 0 and not excludes(rule.half, failures, judged)


def _finding(
    rule: RetestedRule,
    results: Mapping[str, RuleResult],
    named: RuleResult | None,
    *,
    decisive: bool,
) -> RetestedFinding:
    result = results.get(rule.rule)
    failures, judged = _counts(result, rule.conditions)
    made = RetestedFinding(
        rule=rule.rule,
        status="fixed",
        before=rule.share or f"{rule.failures} of {rule.tries}",
        now=f"{failures} of {judged}",
        decisive=decisive,
    )
    if (other := _found_instead(result, results)) is not None:
        return made.model_copy(update={"status": "still there", "now": f"see {other}"})
    if named is not None:
        now = "{} of {} as {}".format(*_counts(named, rule.conditions), named.check.id)
        return made.model_copy(update={"status": "still there", "now": now})
    if result is None or not result.applicable:
        return made.model_copy(
            update={"status": "not verifiable", "now": "", "reason": result and result.reason}
        )
    tolerated = RULES[rule.rule].tolerated
    if result.status in _FOUND or (tolerated and remains(failures, judged, tolerated)):
        now = made.now if failures else _share(result)  # perhaps under other conditions
        return made.model_copy(update={"status": "still there", "now": now})
    if not excludes(rule.half, failures, judged):
        more = rule.enough if judged < rule.enough else 2 * judged
        reason = f"{more:,} tries would tell whether it is fixed or only rarer than before."
        used = min(1.0, judged / rule.planned) if judged else 1.0  # of the tries that were planned
        planned = math.ceil(SPARE * more / used)
        enough = planned if judged and planned <= MOST_STATED else None
        return made.model_copy(
            update={"status": "not verifiable", "enough": enough, "reason": reason}
        )
    return made


def _with_stand_in(rule: RetestedRule, by_rule: Mapping[str, RetestedFinding]) -> RetestedFinding:
    """Return what became of a finding; if it was tried too seldom, its stand-in may tell."""
    own = by_rule[rule.rule]
    if own.status != "not verifiable" or rule.stand_in is None:
        return own
    shown_again = own.now and not own.now.startswith("0 of")
    if by_rule[rule.stand_in].status != "fixed" or shown_again:
        return own
    return own.model_copy(
        update={
            "status": "fixed",
            "reason": f"It is of the component or cause of {rule.stand_in}, which is fixed.",
        }
    )


def _found_instead(result: RuleResult | None, results: Mapping[str, RuleResult]) -> str | None:
    """Return the rule with a finding that voids the finding of a rule, or stands for it.

    In the run, nothing did: tries that disagree with each other void what all of them had shown.
    """
    if result is None or result.status != "not_verifiable":
        return None
    named = (str(reason.values.get("rule")) for reason in result.reasons)
    return next((r for r in named if r in results and results[r].status in _FOUND), None)


def _counts(result: RuleResult | None, conditions: Sequence[str]) -> tuple[int, int]:
    """Return failures and tries under some conditions."""
    counts: Mapping[str, tuple[int, int]] = {} if result is None else result.counts
    tried = [counts.get(name, (0, 0)) for name in conditions]
    return sum(failures for failures, _ in tried), sum(every for _, every in tried)


def _calls(decision: Decision | None, calling: Sequence[TaskResult]) -> RetestedFinding:
    statuses: Mapping[Decision | None, RetestStatus] = {"fail": "still there", "pass": "fixed"}
    return RetestedFinding(
        rule=CALLS,
        status=statuses.get(decision, "not verifiable"),
        before="too low",
        now=_passed(calling),
        reason=None if decision in statuses else "More tries are needed to tell the success rate.",
    )


def _share(result: RuleResult) -> str:
    return f"{result.failures} of {result.applicable}"


def _passed(calling: Sequence[TaskResult]) -> str:
    counts = [count for result in calling for count in result.cases.values()]
    return f"{sum(passes for passes, _ in counts)} of {sum(every for _, every in counts)} passed"


def decide(
    info: RunInfo,
    retest: RetestInfo,
    retested: Sequence[RetestedFinding],
    verdict: Verdict,
    *,
    complete: bool,
) -> Verdict:
    """Return the verdict on a retest; `verdict` is that of a complete run with these results.

    Requirements of the gate on what a run includes do not apply to a retest.
    """
    decisive = [finding for finding in retested if finding.decisive]
    failed = [*_named(decisive, "still there", retest), *_named(decisive, "new", retest)]
    if not failed and verdict.decision == "fail" and not retest.alone:
        failed = list(verdict.reasons)
    unclear = [] if complete else [info.stopped or UNFINISHED]
    unclear += _named(decisive, "not verifiable", retest)
    if verdict.internal_errors and not failed:
        unclear += verdict.reasons[:1]
    decision: Decision = "fail" if failed else "inconclusive" if unclear else "pass"
    reasons = [*failed, *unclear]
    if not reasons:
        fixed = f"All {len(decisive)} findings of {retest.name} are fixed."
        one = f"The finding of {retest.name} is fixed."
        reasons = [one if len(decisive) == 1 else fixed, ONLY_A_RETEST]
    return verdict.model_copy(
        update={"decision": decision, "reasons": tuple(reasons), "enough_tries": None}
    )


def _named(
    retested: Sequence[RetestedFinding], status: RetestStatus, retest: RetestInfo
) -> Iterator[str]:
    """Yield the findings with a status, in a sentence."""
    those = [f"{e.rule} ({e.now})" if e.now else e.rule for e in retested if e.status == status]
    before = sum(finding.status != "new" for finding in retested)
    if those:
        count = f"{len(those)} of {before} findings of" if status != "new" else "not found in"
        yield f"{status.capitalize()}, {count} {retest.name}: {first_few(those, SHOWN_RULES)}."
