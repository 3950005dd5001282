"""Results of grader trials, as Markdown that is also readable on a terminal."""

from collections.abc import Iterator, Sequence
from itertools import starmap

from evals.healthbench.grading_tasks import GROUPS
from evals.healthbench.trials import (
    Agreement,
    CompletionScores,
    GraderComparison,
    MetaFigure,
    PhysicianTrial,
)
from reports.markup import aligned
from reports.text import NOTHING, counted, estimate, visible

_TRIAL_HEADS = (
    "category", "macro F1", "physicians", "reached", "says met", "physicians say", "pairs",
)  # fmt: skip
_SCORE_HEADS = ("group", "score %", "if ungraded", "bootstrap std", "answers", "grader errors")
_AGREEMENT_HEADS = ("axis", "agree %", "kappa", "first only met", "second only met", "items")


def render_trial(trial: PhysicianTrial) -> str:
    """A grader compared with physicians."""
    report = trial.report
    rows = [_trial_row("all", report.overall), *starmap(_trial_row, report.categories.items())]
    note = (
        f"{counted(report.rows, 'row')} of {visible(trial.dataset.source)}, "
        f"{report.ungraded:,} without a grade. Macro F1 is the mean of F1 for met and for not met. "
        "Each grade is compared with the label of each physician, and each physician's label "
        "with those of the other physicians."
    )
    return _document(
        f"{visible(trial.grader.model)} as a grader, compared with physicians",
        aligned(_TRIAL_HEADS, rows),
        [note, *_sample_warning(sample=trial.dataset.sample)],
    )


def render_completions(scores: CompletionScores) -> str:
    """HealthBench scores of physicians' completions, or of the completions shown to them."""
    what = "answers shown to physicians" if scores.references else "answers of physicians"
    rows = []
    for name, summary in scores.groups.items():
        figure = summary.overall
        rows.append(
            [
                name,
                estimate(figure.interval.model_copy(update={"value": figure.mean})),
                f"{figure.low * 100:.1f} to {figure.high * 100:.1f}",
                f"{figure.bootstrap_std * 100:.1f}",
                f"{summary.tries:,}",
                f"{summary.grader_errors:,}",
            ]
        )
    meanings = [f"- {name}: {text}." for name, text in GROUPS.items() if name in scores.groups]
    return _document(
        f"HealthBench scores of {what}, graded by {visible(scores.grader.model)}",
        aligned(_SCORE_HEADS, rows),
        ["\n".join(meanings), *_sample_warning(sample=scores.dataset.sample)],
    )


def render_comparison(found: GraderComparison) -> str:
    """Two graders compared on the same answers."""
    report = found.report
    rows = [_agreement_row("all", report.overall), *starmap(_agreement_row, report.axes.items())]
    note = (
        f"Rubric items of the answers in {visible(found.run_id)} that both graders graded. "
        f"{report.first_ungraded:,} more were graded by the second grader only, "
        f"{report.second_ungraded:,} by the first only. Kappa is agreement beyond chance: 1 is "
        "perfect agreement, 0 is agreement by chance."
    )
    return _document(
        f"Do {visible(found.first)} and {visible(found.second)} agree?",
        aligned(_AGREEMENT_HEADS, rows),
        [note],
    )


def _document(title: str, table: Iterator[str], notes: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", "\n".join(table), *notes]) + "\n"


def _trial_row(name: str, figure: MetaFigure) -> list[str]:
    return [
        visible(name),
        _number(figure.agreement.macro_f1),
        _number(figure.physician_mean),
        _percent(figure.share_reached),
        _percent(figure.agreement.first_met),
        _percent(figure.agreement.second_met),
        f"{figure.agreement.items:,}",
    ]


def _agreement_row(name: str, found: Agreement) -> list[str]:
    return [
        visible(name),
        _percent(found.rate),
        _number(found.kappa),
        f"{found.first_only:,}",
        f"{found.second_only:,}",
        f"{found.items:,}",
    ]


def _sample_warning(*, sample: bool) -> Iterator[str]:
    if sample:
        yield "These are not the published data; the figures say nothing about a real grader."


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{value * 100:.1f} %"
