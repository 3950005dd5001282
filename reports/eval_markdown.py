"""`report.md` of an eval run: for people, small enough for a pull-request comment."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from evals.results import CellResult, EvalAnalysis, QuestionResult
from reports import eval_words, markup, words


def render_eval_markdown(
    analysis: EvalAnalysis, texts: Mapping[tuple[str, str], str] | None = None
) -> str:
    """The report, cut where it would be too long.

    Args:
        analysis: What to report.
        texts: The text of each question by eval and id; None leaves them out, as the authors of
            GPQA ask.
    """
    return markup.fitted("\n".join(_lines(analysis, texts or {})) + "\n")


def _lines(analysis: EvalAnalysis, texts: Mapping[tuple[str, str], str]) -> Iterator[str]:
    provider = analysis.run.provider
    yield f"# {words.VERDICTS[analysis.decision]}: gpt-oss on {markup.code(provider.name)}"
    yield ""
    yield from (f"- {markup.plain(reason)}" for reason in analysis.reasons)
    yield from (f"- Note: {markup.plain(warning)}" for warning in _warnings(analysis))
    yield ""
    models = ", ".join(map(markup.code, analysis.run.settings.models))
    place = f"Model {models}, {markup.code(words.address(provider))}"
    yield f"{place}, {analysis.run.started_at}. {eval_words.size(analysis)}."
    if any(cell.dataset.sample for cell in analysis.cells):
        yield ""
        yield f"**{eval_words.SAMPLES}**"
    yield ""
    yield from _table(analysis)
    for cell in analysis.cells:
        yield from _cell(cell, texts)
    yield from _repeat(analysis)


def _warnings(analysis: EvalAnalysis) -> list[str]:
    every = [warning for cell in analysis.cells for warning in cell.verdict.warnings]
    return list(dict.fromkeys(every))


def _table(analysis: EvalAnalysis) -> Iterator[str]:
    heads = eval_words.heads(analysis.cells, models=len(analysis.run.settings.models) > 1)
    yield "## Scores"
    yield ""
    yield markup.row(["", *(markup.plain(head.replace("\n", ", ")) for head in heads)])
    yield markup.row(["---", *("---:" for _ in heads)])
    for label, cells in eval_words.rows(analysis.cells):
        yield markup.row([label, *cells])
    yield ""
    yield eval_words.HOW_TO_READ + " Tokens and seconds: median / 90th percentile of the tries."
    yield ""


def _cell(cell: CellResult, texts: Mapping[tuple[str, str], str]) -> Iterator[str]:
    yield f"## {markup.plain(eval_words.name(cell))}"
    yield ""
    yield from _baseline(cell)
    yield from _rubric(cell)
    yield from _hardest(cell, texts)


def _baseline(cell: CellResult) -> Iterator[str]:
    baseline = cell.verdict.baseline
    if baseline is None:
        return
    yield f"Baseline: {markup.plain(baseline.name)}. {markup.plain(baseline.explanation)}"
    yield ""
    for figure in baseline.figures:
        more = [figure.hardware, figure.note, figure.tries and f"{figure.tries} tries"]
        said = "; ".join(markup.plain(str(text)) for text in more if text)
        where = markup.plain(figure.where)
        yield f"- {figure.value * 100:.1f} %: {where}{f' ({said})' if said else ''}"
    yield ""


def _rubric(cell: CellResult) -> Iterator[str]:
    rubric = cell.rubric
    if rubric is None:
        return
    graded = rubric.items - rubric.ungraded_items
    yield (
        f"Graded by {markup.code(cell.grader or 'nobody')}: {graded:,} of {rubric.items:,} rubric "
        f"items; {words.counted(rubric.unanswered, 'try', 'tries')} left nothing to grade. An item "
        "without a grade counts half, and the range says what it could have been."
    )
    yield ""
    yield markup.row(["", "score %", "range %", "unclipped %", "bootstrap ±", "tries"])
    yield markup.row(["---", "---:", "---:", "---:", "---:", "---:"])
    figures = {"all": rubric.overall}
    figures |= {f"axis {name}": figure for name, figure in rubric.axes.items()}
    figures |= {f"theme {name}": figure for name, figure in rubric.themes.items()}
    for label, figure in figures.items():
        yield markup.row(
            [
                markup.plain(label),
                f"{figure.mean * 100:.1f}",
                f"{figure.low * 100:.1f}–{figure.high * 100:.1f}",
                f"{figure.unclipped * 100:.1f}",
                f"{figure.bootstrap_std * 100:.1f}",
                f"{figure.tries:,}",
            ]
        )
    yield ""


def _hardest(cell: CellResult, texts: Mapping[tuple[str, str], str]) -> Iterator[str]:
    if not cell.hardest:
        return
    yield "Hardest questions, with one try each:"
    yield ""
    for question in cell.hardest:
        yield from _question(cell, question, texts)
    yield ""


def _question(
    cell: CellResult, question: QuestionResult, texts: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    outcomes = ", ".join(f"{outcome} {count}" for outcome, count in question.outcomes.items())
    yield f"- **{question.mean:.0%}** {markup.code(question.question)} ({outcomes})"
    said = [] if question.answer is None else [f"answer {markup.code(question.answer)}"]
    if question.order is not None:
        said.append(f"choices {eval_words.choices(question)}")
    if question.detail:
        said.append(markup.plain(question.detail))
    yield f"  - {markup.code(question.record)}: {', '.join([question.outcome, *said])}"
    text = texts.get((cell.cell.eval, question.question))
    if text is not None:
        yield f"  - {markup.code(text)}"


def _repeat(analysis: EvalAnalysis) -> Iterator[str]:
    run = analysis.run
    yield "## To repeat this run"
    yield ""
    yield "```sh"
    yield words.visible(shlex.join(run.command))
    yield "```"
    yield ""
    for name, value in run.settings.model_dump(mode="json", exclude={"grader"}).items():
        if value not in (None, False):
            yield f"- {name}: {markup.code(_said(value))}"
    if run.settings.grader is not None:
        grader = run.settings.grader
        yield f"- grader: {markup.code(f'{grader.name}, {grader.model}')}"
    for data in run.datasets:
        revision = f" at {data.revision[:12]}" if data.revision else ""
        source = f"{data.source}{revision}"
        yield f"- {data.eval}: {markup.code(source)}, {data.rows} rows (sha256 {data.sha256[:16]}…)"
    if run.merged:
        yield f"- merged from: {', '.join(map(markup.code, run.merged))}"
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
    yield f"- gpt-oss-verify {run.tool_version}; {versions}"
    yield f"- records: `{analysis.run_id}/rollouts.jsonl`, every exchange as it was on the wire"
    if (seal := words.seal(run.seals)) is not None:
        yield f"- seal: `{seal}`, to which `gpt-oss-verify audit RUN --seal …` holds the records"


def _said(value: object) -> str:
    """A setting as a person would write it."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
