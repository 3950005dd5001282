"""The success rate that tool calling must reach: stated, from a run, or the default."""

from collections import defaultdict
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import orjson

from harness.errors import ConfigurationError, os_errors
from harness.records.analysis import Analysis
from harness.records.settings import Thresholds
from harness.rules.catalogue import RULES
from harness.run.run_folder import read_analysis
from harness.statistics.two_rates import shown_rate
from harness.text import percentage

DEFAULT_REFERENCE = 0.98
"""The success rate at which a run may be expected to reach the bar of OpenAI's guide: pass^5 is
above 90% if every try succeeds with 0.9 ** (1 / 5), or 97.9%."""
SHIPPED = "reference_cases.json"
_WANTED = "the reference is a rate between 0 and 1, or the folder of a run"


@dataclass(frozen=True)
class Target:
    """The rates that a provider is tested for, and where the reference comes from, in words."""

    reference: float
    lower: float
    source: str

    def __str__(self) -> str:
        return f"the reference, {self.reference * 100:.3g}% ({self.source})"


def target_of(thresholds: Thresholds) -> Target:
    """Return the target of a gate. Raises ConfigurationError if the lower rate is not below it."""
    origin = thresholds.origins.get("reference")
    stated, source = thresholds.reference, origin or "the default"
    reference = None if stated is None else float(stated)
    if reference is None and thresholds.reference_cases:
        counts = thresholds.reference_cases.values()
        passed, tries = sum(case[0] for case in counts), sum(case[1] for case in counts)
        reference = shown_rate(passed, tries)
        source = f"lower bound: {origin or 'the bundled reference'} passed {passed} of {tries}"
    reference = DEFAULT_REFERENCE if reference is None else reference
    if not thresholds.lower_rate < reference:
        raise ConfigurationError(
            f"The reference rate, {percentage(reference)} ({source}), must be above the lower "
            f"rate, {percentage(thresholds.lower_rate)}{thresholds.where('lower_rate')}; "
            "set --lower-rate."
        )
    return Target(reference, thresholds.lower_rate, source)


def default_thresholds(model: str, *, strict: bool) -> Thresholds:
    """Return the gate of a run without settings: as good as the bundled reference."""
    shipped = orjson.loads((resources.files("harness") / "data" / SHIPPED).read_bytes())
    if model.rpartition("/")[2] not in shipped["models"]:
        return Thresholds()
    return Thresholds(reference_cases=shipped["strict" if strict else "cases"])


def with_reference(thresholds: Thresholds, stated: float | str, origin: str) -> Thresholds:
    """Return the gate with a rate or a run as reference.

    Raises ConfigurationError or RunLogError.
    """
    try:
        rate = float(stated)
    except ValueError:
        analysis = _analysis_of(run := Path(str(stated)))
        changes: dict[str, object] = {
            "reference": None,
            "reference_cases": _cases_of(run, analysis),
            "reference_rules": {
                result.check.id: result.counts
                for result in analysis.checks
                if result.applicable and result.check.id in RULES and RULES[result.check.id].habit
            },
        }
        origin = f"{origin} {stated}"
    else:
        if not 0 < rate < 1:
            raise ConfigurationError(f"{origin}: {_WANTED}, not {stated}.")
        changes = {"reference": rate}
    changes["origins"] = thresholds.origins | {"reference": origin}
    return thresholds.model_copy(update=changes)


def _analysis_of(run: Path) -> Analysis:
    with os_errors(ConfigurationError, f"--reference {run} cannot be read"):
        exists = run.is_dir()
    if not exists:
        raise ConfigurationError(f"--reference: {_WANTED}, not {run}.")
    return read_analysis(run)


def _cases_of(run: Path, analysis: Analysis) -> dict[str, tuple[int, int]]:
    """Return passes and tries of each case in a run; raises the errors of `with_reference`."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    if (retest := analysis.run.retest) is not None:
        raise ConfigurationError(
            f"The reference {run} is a retest of {retest.name} and has few of its cases; "
            "state a complete run."
        )
    for result in analysis.tool_calling:
        for case, (passed, tries) in result.cases.items():
            counts[case][0] += passed
            counts[case][1] += tries
    made = {case: (passed, tries) for case, (passed, tries) in counts.items() if tries}
    if not made:
        raise ConfigurationError(
            f"The reference {run} has no tool calls that were judged by this version; judge it "
            f"again with: gpt-oss-verify recheck {run}"
        )
    return made
