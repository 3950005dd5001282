"""Figures and texts as reports write them; shared by all formats."""

from __future__ import annotations

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.records.analysis import Analysis, CheckResult, CheckStatus, Decision, GroupAnalysis
from harness.records.runs import Limits, ProviderInfo, Seal, Thresholds
from harness.records.scores import Estimate, OutcomeKind, Percentiles

VERDICTS: Mapping[Decision | None, str] = {
    "pass": "PASS",
    "fail": "FAIL",
    "inconclusive": "INCONCLUSIVE",
    None: "SCORED",
}
INVALID = "invalid"
STATUSES: Mapping[CheckStatus, str] = {
    "passed": "passed",
    "failed": "failed",
    "warned": "warned",
    "declared": "declared",
    "not_verifiable": "not verifiable",
    "skipped": "skipped",
}
_WEIGHT: Mapping[CheckStatus, int] = {"failed": 0, "warned": 1}


def estimate(value: Estimate) -> str:
    """A rate with its 95 % interval, in percent: `97.8 (94–100)`; bounds are rounded outwards."""
    low, high = math.floor(value.low * 100), math.ceil(value.high * 100)
    return f"{value.value * 100:.1f} ({low}–{high})"


def spread(value: Percentiles | None, digits: int = 2) -> str:
    """Median and 90th percentile: `0.21 / 0.40`."""
    if value is None:
        return "–"
    return f"{value.p50:,.{digits}f} / {value.p90:,.{digits}f}"


def visible(text: str) -> str:
    """The text on one line, with everything that does not print shown as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 case`, `2 cases`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def rows(groups: Sequence[GroupAnalysis]) -> Iterator[tuple[str, list[str]]]:
    """The table of a run: a label, then one cell for each group."""

    def row(label: str, cells: Iterable[str]) -> tuple[str, list[str]]:
        return label, list(cells)

    yield row("attempts", (f"{g.finished} of {g.planned}" for g in groups))
    yield row(INVALID, (str(g.invalid) for g in groups))
    yield from _pass_rates(groups)
    for kind in _outcomes(groups):
        yield row(kind, (str(g.outcomes.get(kind, 0)) for g in groups))
    yield row("exact arguments", (str(g.exact) for g in groups))
    yield row("requests", (f"{g.requests:,}" for g in groups))
    yield row("retries", (f"{g.retries:,}" for g in groups))
    yield row("tokens in", (f"{g.tokens.input:,}" for g in groups))
    yield row("tokens out", (f"{g.tokens.output:,}" for g in groups))
    yield row("of it reasoning", (f"{g.tokens.reasoning:,}" for g in groups))
    yield row("first token, s", (spread(g.latency.first_token) for g in groups))
    yield row("request, s", (spread(g.latency.total) for g in groups))
    yield row("tokens/s", (spread(g.latency.tokens_per_second, digits=0) for g in groups))


def _pass_rates(groups: Sequence[GroupAnalysis]) -> Iterator[tuple[str, list[str]]]:
    tries = max((g.tries for g in groups), default=0)
    for k in range(1, tries + 1):
        yield f"pass@{k} %", [estimate(g.pass_at[k - 1]) for g in groups]
    for k in range(1, tries + 1):
        yield f"pass^{k} %", [estimate(g.pass_hat[k - 1]) for g in groups]


def families(results: Sequence[CheckResult]) -> list[list[str]]:
    """The table of checks: a head, then for each family how many have each status that occurs."""
    counts: dict[str, Counter[CheckStatus]] = defaultdict(Counter)
    for result in results:
        counts[result.check.family][result.status] += 1
    seen = [status for status in STATUSES if any(count[status] for count in counts.values())]
    head = ["", *(STATUSES[status] for status in seen)]
    return [
        head,
        *([family, *(str(count[s] or "–") for s in seen)] for family, count in counts.items()),
    ]


def found(results: Iterable[CheckResult]) -> list[CheckResult]:
    """The checks that found something: failed, warned, then the rest; the most frequent first."""
    chosen = [result for result in results if result.findings]
    return sorted(chosen, key=lambda r: (_WEIGHT.get(r.status, 2), -r.failures, r.check.id))


def share(result: CheckResult) -> str:
    """How many of the rollouts that a check could judge had a finding: `3 of 40 attempts`."""
    unit = "repetition" if result.check.kind == "probe" else "attempt"
    text = f"{result.failures:,} of {counted(result.applicable, unit)}"
    return text if result.rate is None else f"{text}, {estimate(result.rate)} %"


def address(provider: ProviderInfo) -> str:
    """Where the provider was."""
    if provider.launch_command is not None:
        return f"started here: {visible(shlex.join(provider.launch_command))}"
    return visible(provider.base_url)


def seal(seals: Sequence[Seal]) -> str | None:
    """The seal of a run, short enough to note down; None if nothing of it was sealed."""
    return seals[-1].short if seals else None


def size(analysis: Analysis) -> str:
    """What was planned and how much of it was done."""
    parts = []
    if groups := analysis.groups:
        done, planned = sum(g.finished for g in groups), sum(g.planned for g in groups)
        first = groups[0]
        text = f"{counted(first.cases, 'case')} × {counted(first.tries, 'try', 'tries')}"
        text += f" × {counted(len(groups), 'group')}, {done} of {planned} attempts"
        if analysis.bad_lines:
            text += f" ({counted(analysis.bad_lines, 'bad line')} of the case file left out)"
        parts.append(text)
    if analysis.probe_requests:
        probes = sum(result.check.kind == "probe" for result in analysis.checks)
        answered = f"{analysis.probe_answers} of {analysis.probe_requests} requests"
        parts.append(f"{counted(probes, 'probe')}, {answered}")
    return "; ".join(parts)


def gate(settings: Thresholds | Limits | None) -> Iterator[tuple[str, str]]:
    """What was asked of a run or given to it, by name: the value, and where that was said."""
    for name, value in settings or ():
        if value not in (None, ()) and name != "origins":
            text = ", ".join(value) if isinstance(value, tuple) else f"{value}"
            origin = settings.origins.get(name) if settings else None
            yield name.replace("_", " "), text + (f" ({origin})" if origin else "")


def next_step(analysis: Analysis, folder: str) -> str:
    """What the user may want to do now."""
    if analysis.verdict.decision == "pass":
        return "Ask for more with --strict, or for narrower intervals with a higher --tries."
    if not analysis.complete:
        return f"Finish the run with: gpt-oss-verify --resume {shlex.quote(folder)}"
    if any(result.status == "failed" for result in analysis.checks):
        return (
            "Start with the errors above: each names its record in rollouts.jsonl, "
            "where every exchange stands as it was on the wire."
        )
    worst = analysis.worst_cases[0] if analysis.worst_cases else None
    if worst is None:
        return "Look at rollouts.jsonl, where every exchange stands as it was on the wire."
    return f"Start with the worst case, {worst.sample}: record {worst.record} in rollouts.jsonl."


def _outcomes(groups: Sequence[GroupAnalysis]) -> list[OutcomeKind]:
    """The kinds of outcome that occurred: success first, then by frequency."""
    totals: dict[OutcomeKind, int] = {"success": 0}
    for group in groups:
        for kind, count in group.outcomes.items():
            totals[kind] = totals.get(kind, 0) + count
    return sorted(totals, key=lambda kind: (kind != "success", -totals[kind]))
