"""What a gate requires of single checks and probes: which may warn, which must pass. No I/O."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.errors import ConfigurationError
from harness.providers.yaml_files import numbered
from harness.records.analysis import RuleResult, RuleStatus
from harness.records.reasons import Reason
from harness.records.runs import RunInfo
from harness.records.settings import Thresholds
from harness.rules.catalogue import RULES
from harness.rules.rule import as_warning
from harness.rules.suites import choose
from harness.text import suggestion

_EVERY = tuple(rule.about for rule in RULES.values())
_NOT_PASSED: Mapping[RuleStatus, str] = {
    "failed": "failed",
    "warned": "has warnings",
    "declared": "is unsupported, as the provider's entry says",
}


def check_names(thresholds: Thresholds) -> None:
    """Refuse names that match no check, probe, prefix or family. Raises ConfigurationError."""
    families = list(dict.fromkeys(about.family for about in _EVERY))
    known = [*families, *(about.id for about in _EVERY)]
    unknown = [
        f"{setting}{thresholds.where(setting)}: there is no check, probe or family {name!r}; "
        + suggestion(name, known, f"families are {', '.join(families)}")
        for setting in ("may_warn", "must_pass")
        for name in getattr(thresholds, setting)
        if not any(about.is_named(name) for about in _EVERY)
    ]
    if unknown:
        raise ConfigurationError(numbered(unknown))


def may_warn(thresholds: Thresholds) -> frozenset[str]:
    """Return the ids of the rules whose errors this gate treats as warnings."""
    return frozenset(
        about.id for about in _EVERY if any(about.is_named(name) for name in thresholds.may_warn)
    )


def lowered(results: Iterable[RuleResult], thresholds: Thresholds) -> Iterator[RuleResult]:
    """Yield the results, with failures of rules in `may_warn` as warnings."""
    soft = may_warn(thresholds)
    reason = Reason(code="lowered_by_gate", values={"where": thresholds.where("may_warn")})
    for result in results:
        is_error = result.status in ("failed", "warned") and result.check.severity == "error"
        if is_error and result.check.id in soft:
            examples = tuple(map(as_warning, result.examples))
            changes = {"status": "warned", "reasons": (reason,), "examples": examples}
            yield result.model_copy(update=changes)
        else:
            yield result


def broken(results: Sequence[RuleResult], thresholds: Thresholds) -> Iterator[str]:
    """Yield the `must_pass` requirements that results violate, in one sentence."""
    violated = {
        result.check.id: _NOT_PASSED[result.status]
        for name in thresholds.must_pass
        for result in results
        if result.check.is_named(name) and result.status in _NOT_PASSED
    }
    where = thresholds.where("must_pass")
    if len(violated) == 1:
        ((rule, why),) = violated.items()
        yield f"{rule} must pass{where}, but {why}."
    elif violated:
        listed = "; ".join(f"{rule} {why}" for rule, why in violated.items())
        yield f"{len(violated)} rules that must pass{where} do not: {listed}."


def met(thresholds: Thresholds) -> Iterator[str]:
    """Yield what a run that passes met, in one sentence."""
    if names := thresholds.must_pass:
        yield f"What must pass{thresholds.where('must_pass')} passed: {', '.join(names)}."


def unverified(
    results: Sequence[RuleResult], info: RunInfo, thresholds: Thresholds
) -> Iterator[str]:
    """Yield one sentence for each requirement that the run cannot judge.

    A rule that is named by its id must have judged something; of a family or prefix, one rule must.
    """
    for name in thresholds.must_pass:
        named = [result for result in results if result.check.is_named(name)]
        if not any(result.applicable for result in named):
            reasons = (result.reason for result in named if result.reason)
            reason = next(reasons, "The run left it out; choose it with --suite or --only.")
            where = thresholds.where("must_pass")
            yield f"{name} must pass{where}, but was not judged: {reason}"
    if thresholds.suite is not None and not _covers(info, thresholds):
        yield (
            f"The gate requires the suite {thresholds.suite}{thresholds.where('suite')}, "
            "but the run did not include all of it."
        )


def _covers(info: RunInfo, thresholds: Thresholds) -> bool:
    settings = info.settings
    if not any(task.kind != "eval" for task in info.tasks):
        return False
    chosen = choose(settings.suite, settings.only, settings.skip)
    wanted = choose(thresholds.suite or settings.suite)
    probes = {probe.id for probe in wanted.probes} <= {probe.id for probe in chosen.probes}
    return probes and (chosen.cases or not wanted.cases)
