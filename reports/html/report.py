"""The HTML page of a run."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from harness.records.analysis import Analysis, TaskResult
from harness.records.figures import ExchangeCounts
from harness.records.scores import Estimate, Score
from harness.text import percentage
from reports import diagnosis
from reports.html.attempts import LOOKS, MEASURES, MOST_CELLS, Attempts, Drawing, Heatmap, letter
from reports.html.charts.counts import distributions, timeline
from reports.html.charts.findings import findings
from reports.html.charts.rates import Curve, curves, score_chart
from reports.html.charts.svg import Figure
from reports.html.page import render_page
from reports.html.transcripts import (
    MOST_BYTES,
    Candidates,
    Read,
    read_transcripts,
    score_details,
    shown_findings,
)
from reports.labels import Labels
from reports.model import STATUSES, Report
from reports.text import counted, interval, trimmed

_LONGEST_HINT = 500


def render_html(
    report: Report, scores: Iterable[Score], read: Read, *, most_bytes: int = MOST_BYTES
) -> str:
    """Render the page, with transcripts of at most so many bytes. Reads the scores twice.

    It contains texts of evals only if the report has them.
    """
    analysis = report.analysis
    labels = Labels(analysis)
    attempts, candidates = Attempts(analysis, labels), Candidates()
    probes = {task.name for task in analysis.run.of_kind("probes", "traffic")}
    for score in scores:
        if score.task not in probes and score.finished:
            attempts.add(score)
        if score.finished if score.task not in probes else shown_findings(score):
            candidates.add(score)
    gated = {task.name for task in analysis.run.tasks if task.dataset and task.dataset.gated}
    hidden = sorted(gated - {task for task, _ in report.texts})
    order = candidates.choose(_named(analysis))
    chosen, shown = set(order), dict[str, Score]()
    drawings = _drawings(analysis, attempts, labels)
    for score in scores:
        if score.task not in probes and score.finished:
            drawings[score.task].add(score, labels.condition(score.task, score.condition))
        if score.record in chosen and score.finished:
            shown[score.record] = score
    transcripts = read_transcripts(read, order, shown, hidden, most_bytes)
    missing = (
        f"the page has {len(transcripts):,} of {analysis.exchanges.rollouts:,}: evidence, failures "
        "and a sample of the other attempts at cases and questions"
    )
    if hidden:
        missing += f"; those of {', '.join(hidden)} are left out unless --show-questions is given"
    return render_page(
        "report.html",
        {
            "scores": {
                score.record: score_details(score, labels.condition(score.task, score.condition))
                for score in map(shown.get, order)
                if score is not None
            },
            "transcripts": transcripts,
            "without": missing,
        },
        report=report,
        diagnosis=diagnosis,
        groups=diagnosis.groups(report),
        next_steps=list(diagnosis.next_steps(report, analysis.run_id)),
        analysis=analysis,
        statuses=STATUSES,
        looks=LOOKS,
        letter=letter,
        maps=list(_maps(analysis, drawings, report.texts)),
        failures=[failure for section in report.sections for failure in section.failures],
        failed=sum(section.failed for section in report.sections),
        hidden=hidden,
        conditions=findings(report.findings),
        efforts=list(_score_figures(analysis, labels)),
        rates=list(_rate_figures(analysis, labels)),
        plain_rates=list(_plain_rates(analysis, labels)),
        speeds=[
            Figure(measure, drawing, unit)
            for measure, unit in MEASURES.items()
            if (drawing := distributions(measure, unit, attempts.measures[measure]))
        ],
        timelines=list(_timelines(analysis.exchanges)),
        kept=len(transcripts),
    )


def _named(analysis: Analysis) -> Iterator[str]:
    """Yield the records that the page refers to."""
    for check in analysis.checks:
        for example in check.examples:
            yield example.evidence.record
            if example.evidence.compared is not None:
                yield example.evidence.compared
    for result in analysis.results:
        yield from (failed.record for failed in result.failures)


def _drawings(analysis: Analysis, attempts: Attempts, labels: Labels) -> dict[str, Drawing]:
    """Begin a map for each task; larger tasks get the cells that smaller ones do not need."""
    left = MOST_CELLS
    drawn: dict[str, Drawing] = {}
    tasks = sorted(attempts.samples.items(), key=lambda item: item[1].outcomes.total())
    for number, (task, samples) in enumerate(tasks):
        results = [result for result in analysis.results if result.task == task]
        conditions = [*(result.condition for result in results), *samples.conditions]
        names = dict.fromkeys(labels.condition(task, condition) for condition in conditions)
        width = max(samples.width, *(result.tries for result in results), 0)
        room = left // (len(tasks) - number)
        drawn[task] = Drawing(labels.task(task), samples, list(names), width, room)
        left -= drawn[task].cells
    return drawn


def _maps(
    analysis: Analysis, drawings: Mapping[str, Drawing], texts: Mapping[tuple[str, str], str]
) -> Iterator[Heatmap]:
    """Yield the maps of all tasks, in the order of the run."""
    for task in analysis.run.tasks:
        if task.name in drawings:
            hints = {
                sample: trimmed(text, _LONGEST_HINT)
                for (name, sample), text in texts.items()
                if name == task.name
            }
            yield drawings[task.name].heatmap(hints)


_FEWEST_SAMPLES = 3  # samples from which on a curve is drawn


def _is_curve(result: TaskResult) -> bool:
    """Return whether rates over k say more than a sentence."""
    rates = {rate.value for at in result.at_k for rate in (at.pass_at, at.pass_hat)}
    return len(result.at_k) > 1 and result.samples >= _FEWEST_SAMPLES and len(rates) > 1


def _plain_rates(analysis: Analysis, labels: Labels) -> Iterator[str]:
    """Yield the pass rate of each result without a curve: `chat: 4 of 4 attempts passed (…)`."""
    for result in analysis.results:
        if result.at_k and result.finished and not _is_curve(result):
            passed = sum(result.outcomes.get(kind, 0) for kind in ("success", "correct"))
            rate = result.at_k[0].pass_at
            of_planned = f", {result.planned:,} planned" * (result.finished < result.planned)
            yield (
                f"{labels.result(result)}: {passed:,} of {counted(result.finished, 'attempt')} "
                f"passed{of_planned} ({percentage(rate.value)}, 95% interval {interval(rate)})."
            )


def _rate_figures(analysis: Analysis, labels: Labels) -> Iterator[Figure]:
    """Yield charts of pass@k and pass^k over k, and of maj@k for evals."""
    thresholds = analysis.verdict.thresholds
    required = (thresholds.min_pass_at_k, thresholds.min_pass_hat_k) if thresholds.by_guide else ()
    for result in analysis.results:
        if not result.finished or not _is_curve(result):
            continue
        drawn = [
            Curve("pass@k", "first", [(at.k, at.pass_at) for at in result.at_k]),
            Curve("pass^k", "second", [(at.k, at.pass_hat) for at in result.at_k]),
        ]
        majority = [
            (at.k, Estimate(value=at.majority, low=at.majority, high=at.majority))
            for at in result.at_k
            if at.majority is not None
        ]
        if majority:
            drawn.insert(1, Curve("maj@k", "third", majority))
        name = labels.result(result)
        yield Figure(name, curves(name, drawn, () if result.is_eval else required))


def _score_figures(analysis: Analysis, labels: Labels) -> Iterator[Figure]:
    """Yield the scores by effort compared with their baselines, one chart for each eval."""
    grouped: dict[str, list[TaskResult]] = defaultdict(list)
    for result in analysis.evals:
        others = labels.parts(result.task, result.condition, but="effort")
        grouped[", ".join([labels.task(result.task), *others])].append(result)
    for title, results in grouped.items():
        yield Figure(title, score_chart(title, results))


def _timelines(exchanges: ExchangeCounts) -> Iterator[Figure]:
    """Return charts of requests, errors and retries over time."""
    for title, counts, kind in (
        ("Requests finished", exchanges.ended, "count"),
        ("Errors", exchanges.failed, "count bad"),
        ("Retries", exchanges.retried, "count poor"),
    ):
        if counts:
            yield Figure(title, timeline(title, counts, exchanges.seconds, kind))
