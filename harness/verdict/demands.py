"""What a gate says of single checks and probes: which may only warn, and which must pass. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.errors import ConfigurationError
from harness.findings import as_warning
from harness.probes.suites import choose
from harness.records.analysis import CheckResult, CheckStatus
from harness.records.judgements import Description
from harness.records.runs import RunSettings, Thresholds
from harness.rules import RULES
from harness.text.suggestion import suggestion

_EVERY = tuple(rule.about for rule in RULES.values())
_SAID: Mapping[CheckStatus, str] = {
    "failed": "failed",
    "warned": "has warnings",
    "declared": "is declared missing by the provider's entry",
}


def check_names(thresholds: Thresholds) -> None:
    """Refuse names that are no check, probe, beginning or family. Raises ConfigurationError."""
    for setting in ("may_warn", "must_pass"):
        for name in getattr(thresholds, setting):
            if not any(names(name, about) for about in _EVERY):
                families = list(dict.fromkeys(about.family for about in _EVERY))
                near = suggestion(name, [*families, *(about.id for about in _EVERY)])
                hint = near if near.startswith("did") else f"families are {', '.join(families)}"
                where = thresholds.where(setting)
                raise ConfigurationError(
                    f"{setting}{where}: there is no check, probe or family {name!r}; {hint}"
                )


def names(name: str, about: Description) -> bool:
    """Whether `name` means this check: its id, the beginning of its id up to a dot, its family."""
    return name in (about.id, about.family) or about.id.startswith(f"{name}.")


def may_warn(thresholds: Thresholds) -> frozenset[str]:
    """The ids of the checks and probes whose errors are warnings to this gate."""
    return frozenset(
        about.id for about in _EVERY if any(names(name, about) for name in thresholds.may_warn)
    )


def lowered(results: Iterable[CheckResult], thresholds: Thresholds) -> Iterator[CheckResult]:
    """The same results, with failures of what may only warn as warnings."""
    soft = may_warn(thresholds)
    reason = f"It may only warn, says the gate{thresholds.where('may_warn')}."
    for result in results:
        found = result.status in ("failed", "warned") and result.check.severity == "error"
        if found and result.check.id in soft:
            examples = tuple(map(as_warning, result.examples))
            changes = {"status": "warned", "reason": reason, "examples": examples}
            yield result.model_copy(update=changes)
        else:
            yield result


def broken(results: Sequence[CheckResult], thresholds: Thresholds) -> Iterator[str]:
    """Each demand that a result breaks, in a sentence."""
    for name in thresholds.must_pass:
        for result in results:
            if names(name, result.check) and result.status in _SAID:
                asked = thresholds.where("must_pass")
                yield f"{result.check.id} must pass{asked}, but {_SAID[result.status]}."


def unsettled(
    results: Sequence[CheckResult], settings: RunSettings, thresholds: Thresholds
) -> Iterator[str]:
    """Each demand on which the run has nothing to say, in a sentence.

    A check that is named by its id must have judged something; of a family or beginning, one must.
    """
    for name in thresholds.must_pass:
        named = [result for result in results if names(name, result.check)]
        if not any(result.applicable for result in named):
            known = next((each.reason for each in named if each.reason), "It was not asked for.")
            yield f"{name} must pass{thresholds.where('must_pass')}, but was not judged: {known}"
    if thresholds.suite is not None and not _covers(settings, thresholds):
        yield (
            f"The gate asks for the suite {thresholds.suite}{thresholds.where('suite')}, "
            "and the run did not ask all of it."
        )


def _covers(settings: RunSettings, thresholds: Thresholds) -> bool:
    asked = choose(settings.suite, settings.only, settings.skip)
    wanted = choose(thresholds.suite or settings.suite)
    return asked.cases and {probe.id for probe in wanted.probes} <= {p.id for p in asked.probes}
