"""The few figures on the first screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from harness.records.analysis import Analysis, CheckResult
from harness.records.scores import Estimate
from reports import words


@dataclass(frozen=True)
class Tile:
    """One figure: what it is, its value, and what it is measured against."""

    label: str
    value: str
    note: str


def tiles(analysis: Analysis) -> Iterator[Tile]:
    """Validity, pass rates of the weakest group, checks and probes, speed of the slowest group."""
    groups = analysis.groups
    if groups:
        asked = analysis.verdict.thresholds
        planned = sum(group.planned for group in groups)
        yield Tile(
            "Invalid responses",
            f"{sum(group.invalid for group in groups):,}",
            f"of {planned:,} planned attempts; {asked.max_invalid or 'none'} allowed in a group",
        )
        k = groups[0].tries
        weakest_at = min((group.pass_at[-1] for group in groups), key=_value)
        weakest_hat = min((group.pass_hat[-1] for group in groups), key=_value)
        yield _rate(f"pass@{k}", weakest_at, asked.min_pass_at_k)
        yield _rate(f"pass^{k}", weakest_hat, asked.min_pass_hat_k)
    for kind, label in (("check", "Checks"), ("probe", "Probes")):
        chosen = [result for result in analysis.checks if result.check.kind == kind]
        if chosen:
            yield _checks(label, chosen)
    first = [group.latency.first_token for group in groups if group.latency.first_token]
    if first:
        slowest = max(first, key=lambda found: found.p50)
        note = f"median of the slowest group; 90th percentile {slowest.p90:.2f} s"
        yield Tile("First token", f"{slowest.p50:.2f} s", note)


def _value(rate: Estimate) -> float:
    return rate.value


def _rate(label: str, rate: Estimate, asked: float) -> Tile:
    interval = f"{rate.low * 100:.0f}–{rate.high * 100:.0f} %"
    note = f"weakest group, interval {interval}; above {asked * 100:g} % is asked"
    return Tile(label, f"{rate.value * 100:.1f} %", note)


def _checks(label: str, chosen: list[CheckResult]) -> Tile:
    counts = Counter(result.status for result in chosen)
    failed = f"{counts['failed']:,} failed" if counts["failed"] else "none failed"
    others = [
        f"{counts[status]:,} {words.STATUSES[status]}"
        for status in ("passed", "warned", "declared", "not_verifiable", "skipped")
        if counts[status]
    ]
    return Tile(label, failed, ", ".join(others))
