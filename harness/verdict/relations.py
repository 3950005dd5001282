"""How the results of rules depend on each other, as the rules declare it. No I/O."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from harness.records.analysis import RuleResult
from harness.records.reasons import Reason
from harness.records.scores import Score
from harness.records.settings import Thresholds
from harness.rules.catalogue import RULES
from harness.rules.rule import (
    ExcusedIf,
    OnceWith,
    Rule,
    ShowsLack,
    VoidIf,
    WarnsInRecordings,
    tolerated,
)
from harness.statistics.rates import exceeds
from harness.text import first_few
from harness.verdict import requirements

_FOUND = ("failed", "warned")


def related(
    results: Iterable[RuleResult],
    scores: Sequence[Score],
    thresholds: Thresholds,
    limitations: Collection[str] = (),
    rules: Mapping[str, Rule] = RULES,
) -> tuple[RuleResult, ...]:
    """Return the results with all declarations of their rules applied, in this order.

    1. A finding is `declared` if the rule needs a capability in `limitations`, those that the
       provider's entry declares missing.
    2. A failure is a warning if the gate says so (`may_warn`).
    3. `VoidIf`: a finding with unreliable evidence is not verifiable.
    4. `ExcusedIf`: a finding that the model causes itself is information.
    5. Findings of a probe that are as frequent in the run of the reference are information.
    6. `OnceWith`: refusals with one text are one finding.

    `WarnsInRecordings` is applied to each finding (see `warning_in_recordings`), and `ShowsLack` to
    the verdict (see `lacking`).
    """
    judged = [_declared(result, rules[result.check.id], limitations) for result in results]
    judged = list(requirements.lowered(judged, thresholds))
    others = {result.check.id: result for result in judged}
    judged = [_voided(result, rules[result.check.id], others, scores) for result in judged]
    others = {result.check.id: result for result in judged}
    judged = [_excused(result, rules[result.check.id], others) for result in judged]
    judged = [_compared(result, rules[result.check.id], thresholds) for result in judged]
    return _once(judged, rules)


def warning_in_recordings() -> frozenset[str]:
    """Return the ids of the rules whose errors are only warnings in recorded traffic."""
    return frozenset(rule.id for rule in RULES.values() if any(rule.related(WarnsInRecordings)))


def lacking(results: Sequence[RuleResult]) -> Iterator[str]:
    """Yield a sentence for each rule that fails in every reply, and leaves others unverifiable."""
    for result in results:
        for relation in RULES[result.check.id].related(ShowsLack):
            silent = [other.check.id for other in results if relation.lacks in other.lacks]
            if silent and result.failures == result.applicable > 0:
                listed = first_few(silent, 6)
                values = {"rule": result.check.id, "count": len(silent), "listed": listed}
                yield Reason(code=relation.code, values=values).text


def _declared(result: RuleResult, rule: Rule, limitations: Collection[str]) -> RuleResult:
    if result.status not in _FOUND or rule.needs is None or rule.needs not in limitations:
        return result
    reason = Reason(code="declared_missing", values={"capability": rule.needs})
    return result.model_copy(update={"status": "declared", "reasons": (reason,)})


def _voided(
    result: RuleResult, rule: Rule, others: Mapping[str, RuleResult], scores: Sequence[Score]
) -> RuleResult:
    paths = {finding.evidence.path for finding in result.found}
    for relation in rule.related(VoidIf):
        if result.status in _FOUND and paths == {relation.path} and relation.rule != rule.id:
            other = others.get(relation.rule)
            shown = other is not None and other.status in _FOUND
            if shown if relation.when is None else relation.when(scores):
                reason = Reason(code=relation.code, values={"rule": relation.rule})
                return RuleResult(check=result.check, status="not_verifiable", reasons=(reason,))
    return result


def _excused(result: RuleResult, rule: Rule, others: Mapping[str, RuleResult]) -> RuleResult:
    for relation in rule.related(ExcusedIf):
        other = others.get(relation.rule)
        if result.status in _FOUND and other is not None and other.status == "passed":
            reason = Reason(code=relation.code, values={"rule": relation.rule})
            examples = tuple(map(tolerated, result.examples))
            changes = {"status": "passed", "examples": examples, "reasons": (reason,)}
            return result.model_copy(update=changes)
    return result


def _compared(result: RuleResult, rule: Rule, thresholds: Thresholds) -> RuleResult:
    """Return the result compared with the same rule of the reference; `apply_tolerances` compares
    the findings of checks.
    """
    known = thresholds.reference_rules.get(rule.id)
    of_probe = result.of_probe and not any(e.proven for e in result.examples)
    found = of_probe and result.status in _FOUND
    if not known or not (found or [e.code for e in result.reasons] == ["tolerated"]):
        return result
    if any(exceeds([count], known.get(name, (0, 0))) for name, count in result.counts.items()):
        return result
    failed, tries = (sum(column) for column in zip(*known.values(), strict=True))
    reason = Reason(code="as_at_reference", values={"failed": failed, "tries": tries})
    changes = {"examples": tuple(map(tolerated, result.examples)), "reasons": (reason,)}
    return result.model_copy(update={"status": "passed", **changes} if found else changes)


def _once(results: Sequence[RuleResult], rules: Mapping[str, Rule]) -> tuple[RuleResult, ...]:
    """Return the results with one finding for refusals with one text.

    A provider that refuses what several requests have in common, such as a kind of function, lacks
    that. The finding states how many rules were refused, and their families.
    """
    refused: dict[tuple[OnceWith, str], list[RuleResult]] = defaultdict(list)
    for result in results:
        got = {(example.evidence.received, example.evidence.got) for example in result.examples}
        received, text = got.pop() if len(got) == 1 else ("differs", "")
        if result.status in _FOUND and received in ("refused", "unrendered"):
            for relation in rules[result.check.id].related(OnceWith):
                refused[relation, text].append(result)
    replaced: dict[str, RuleResult] = {}
    for (relation, text), alike in refused.items():
        if len(alike) < relation.fewest:
            continue
        families = ", ".join(sorted({result.check.family for result in alike}))
        common = (
            f"Valid requests of {len(alike)} probes ({families}) got the same refusal: they are "
            "rejected for something they share."
        )
        reporting = [result for result in results if result.check.id == relation.rule]
        said = [rule for rule in reporting if any(e.evidence.got == text for e in rule.examples)]
        first = next(iter(said), alike[0])
        examples = tuple(e.model_copy(update={"message": common}) for e in first.examples)
        reason = Reason(code="counted_elsewhere", values={"rule": first.check.id, "refusal": text})
        for result in alike:
            replaced[result.check.id] = RuleResult(
                check=result.check,
                status="not_verifiable",
                reasons=(reason,),
                failing=result.failing,
            )
        replaced[first.check.id] = first.model_copy(update={"examples": examples})
    return tuple(replaced.get(result.check.id, result) for result in results)
