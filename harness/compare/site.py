"""The table of a site: the runs that it publishes."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from harness.compare.key_figures import ResultSummary, result_summary, worst_figures
from harness.providers.entries import Prices
from harness.records.analysis import Analysis, RuleStatus
from harness.records.figures import Decision
from harness.records.record import Record


class SiteRun(Record):
    """One published run, in the folder `run` of the site.

    `first_token` (seconds) and `tokens_per_second` are medians under the slowest condition.
    `families` counts the checks of each family by status. `partial` says what the run leaves out of
    the suite; None for a complete run.
    """

    run: str
    started_at: str
    summary: ResultSummary
    partial: str | None = None
    reasons: tuple[str, ...]
    causes: tuple[str, ...] = ()
    families: Mapping[str, Mapping[RuleStatus, int]] = {}
    first_token: float | None = None
    tokens_per_second: float | None = None
    price: Prices | None = None


class Site(Record):
    """The contents of `index.json` of a site: the run of each provider and model, then all."""

    version: int = 2
    tool_version: str
    latest: tuple[str, ...]
    runs: tuple[SiteRun, ...]


_ORDER: tuple[Decision | None, ...] = ("pass", "inconclusive", None, "fail")


def site_of(analyses: Sequence[Analysis], prices: Mapping[str, Prices], tool_version: str) -> Site:
    """Return the runs of a site, the newest first; `prices` are those of providers by name.

    The latest run of a provider and model is the latest complete run of the suite, if there is one.
    A run that is partial or inconclusive does not replace a failure of more attempts.
    """
    newest = sorted(
        analyses, key=lambda analysis: (analysis.run.started_at, analysis.run_id), reverse=True
    )
    runs = tuple(_run(analysis, prices.get(analysis.run.provider.name)) for analysis in newest)
    of_one: dict[tuple[str, str], list[Analysis]] = defaultdict(list)
    for analysis in newest:
        of_one[analysis.run.provider.name, analysis.run.model].append(analysis)
    shown = {name: _latest(of_one[name]) for name in sorted(of_one)}.values()
    ranked = sorted(shown, key=lambda analysis: _ORDER.index(analysis.verdict.decision))
    latest = tuple(analysis.run_id for analysis in ranked)
    return Site(tool_version=tool_version, latest=latest, runs=runs)


def _latest(newest: Sequence[Analysis]) -> Analysis:
    whole = [analysis for analysis in newest if _partial(analysis) is None]
    first, *earlier = whole or newest
    if first.verdict.decision == "fail" or (whole and first.verdict.decision == "pass"):
        return first
    failed = (each for each in earlier if each.verdict.decision == "fail")
    return next((each for each in failed if each.attempts > first.attempts), first)


def _run(analysis: Analysis, price: Prices | None) -> SiteRun:
    worst = worst_figures(analysis)
    families: dict[str, Counter[RuleStatus]] = defaultdict(Counter)
    for result in analysis.checks:
        families[result.check.family][result.status] += 1
    return SiteRun(
        run=analysis.run_id,
        started_at=analysis.run.started_at,
        partial=_partial(analysis),
        summary=result_summary(analysis),
        reasons=analysis.verdict.reasons,
        causes=tuple(cause.sentence for cause in analysis.causes),
        families=families,
        first_token=worst.first_token and worst.first_token.p50,
        tokens_per_second=worst.tokens_per_second and worst.tokens_per_second.p50,
        price=price,
    )


def _partial(analysis: Analysis) -> str | None:
    """Return what a run leaves out of the suite, in a few words; None for a complete run."""
    settings = analysis.run.settings
    chosen = [f"only {', '.join(settings.only)}"] if settings.only else []
    chosen += [f"without {', '.join(settings.skip)}"] if settings.skip else []
    few = settings.first_cases
    chosen += [f"{few} case{'s' * (few > 1)}"] if few else []
    if not analysis.complete:
        chosen.insert(0, "unfinished")
    kinds = {"tool_calling": "tool calls", "probes": "probes", "eval": "evals"}
    made = dict.fromkeys(kinds.get(task.kind, "traffic") for task in analysis.run.tasks)
    if not settings.only and not {"tool calls", "probes"} <= made.keys():
        chosen.append(f"only {', '.join(made)}")
    return "; ".join(chosen) or None
