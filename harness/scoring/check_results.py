"""From what the checks said of single rollouts to one result for each check. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.checks import CATALOGUE
from harness.checks.base import Known
from harness.records.analysis import CheckResult, CheckStatus
from harness.records.conditions import Api, Mode
from harness.records.runs import Capability
from harness.records.scores import Description, Finding, Score, Severity
from harness.statistics.intervals import clustered_rate

EXAMPLES = 3

_WEIGHT: Mapping[Severity, int] = {"error": 0, "warning": 1, "info": 2}
_NOTHING_TO_JUDGE = "No reply of this run held anything that it could judge."


def check_results(
    examinations: Sequence[Score],
    planned: Collection[tuple[Api, Mode]],
    limitations: Collection[str] = (),
) -> tuple[CheckResult, ...]:
    """The result of every check, in the order of the catalogue.

    Args:
        examinations: Of every rollout, settled (see `harness.scoring.judge.settle`).
        planned: The groups of the run; a check that is about none of them was skipped.
        limitations: What the provider's entry declares missing.
    """
    applicable: dict[str, list[Score]] = defaultdict(list)
    for examination in examinations:
        for check_id in examination.applicable:
            applicable[check_id].append(examination)
    results = (_result(check, applicable[check.id], planned) for check in CATALOGUE.values())
    return tuple(
        declared(result, check.needs, limitations)
        for result, check in zip(results, CATALOGUE.values(), strict=True)
    )


def result(
    about: Description, findings: Sequence[tuple[str, Finding]], counts: Sequence[tuple[int, int]]
) -> CheckResult:
    """The result of a check or probe that had something to judge.

    Args:
        about: The check or probe.
        findings: Everything it said, each with the group it was said of.
        counts: For each sample (or variant) the failures among the applicable rollouts, and
            how many of these there were.

    Raises:
        ValueError: If nothing was applicable.
    """
    worst_first = sorted((finding for _, finding in findings), key=_weight)
    examples: dict[str, Finding] = {}
    for finding in worst_first:
        examples.setdefault(finding.evidence.record, finding)
    return CheckResult(
        check=about,
        status=_status(worst_first),
        applicable=sum(trials for _, trials in counts),
        failures=sum(failures for failures, _ in counts),
        rate=clustered_rate(counts),
        findings=len(findings),
        groups=tuple(sorted({group for group, _ in findings})),
        examples=tuple(examples.values())[:EXAMPLES],
    )


def not_judged(about: Description, status: CheckStatus, reason: str) -> CheckResult:
    """The result of a check or probe that judged nothing, with the reason."""
    return CheckResult(check=about, status=status, reason=reason)


def declared(
    result: CheckResult, needs: Capability | None, limitations: Collection[str]
) -> CheckResult:
    """The same result, or `declared` where it found what the provider's entry says is missing."""
    if result.status not in ("failed", "warned") or needs not in limitations:
        return result
    reason = f"The provider's entry declares that it has no {needs}."
    return result.model_copy(update={"status": "declared", "reason": reason})


def as_warning(finding: Finding) -> Finding:
    """The same finding, if it is an error a warning."""
    if finding.severity != "error":
        return finding
    return finding.model_copy(update={"severity": "warning"})


def _result(
    check: Known, examinations: Sequence[Score], planned: Collection[tuple[Api, Mode]]
) -> CheckResult:
    about = check.about
    if not any(api in about.apis and mode in about.modes for api, mode in planned):
        asked = ", ".join(f"{api} · {mode}" for api, mode in planned)
        return not_judged(about, "skipped", f"It is not about what was asked for: {asked}.")
    if not examinations:
        return not_judged(about, "not_verifiable", _NOTHING_TO_JUDGE)
    by_sample: dict[tuple[str, str], list[bool]] = defaultdict(list)
    found: list[tuple[str, Finding]] = []
    for examination in examinations:
        own = [finding for finding in examination.findings if finding.id == about.id]
        by_sample[examination.task, examination.sample].append(bool(own))
        found += ((examination.condition.name, finding) for finding in own)
    counted = result(about, found, [(sum(hits), len(hits)) for hits in by_sample.values()])
    lowered = any(finding.severity != about.severity for _, finding in found)
    return counted.model_copy(update={"reason": check.tolerance}) if lowered else counted


def _status(findings: Iterable[Finding]) -> CheckStatus:
    severities = {finding.severity for finding in findings}
    if "error" in severities:
        return "failed"
    return "warned" if "warning" in severities else "passed"


def _weight(finding: Finding) -> int:
    return _WEIGHT[finding.severity]
