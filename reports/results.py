"""The tables of results: one column for each task and condition."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from harness.records.analysis import (
    Analysis,
    ClientResult,
    RetestedFinding,
    RetestStatus,
    TaskResult,
)
from harness.records.figures import AtK, BaselineComparison, RubricFigure
from harness.records.runs import RetestInfo
from harness.records.scores import Estimate, Outcome, Percentiles
from harness.statistics.rates import FALSE_ALARM
from harness.statistics.recurrence import MISSED
from harness.text import percentage
from reports.labels import Labels
from reports.model import CLIENT_STATUSES, DECISION_TONES, Cell, Row, Section, Table, Tone
from reports.text import NOTHING, counted, estimate, percent, spread

TOOL_CALLING_NOTE = (
    "Rates are of the attempts that were made. pass@k: at least one of k tries passes. "
    "pass^k: all k tries pass. Brackets: 95% interval with samples as clusters. Times and "
    "speeds: median / 90th percentile. An attempt is invalid if a reply cannot be read or has "
    "an error."
)
EVALS_NOTE = (
    "Scores are means over the attempts that were made; one that is unread or "
    "without an answer scores 0. "
    "Brackets: 95% interval for other questions of the kind, with questions as clusters. "
    "±: standard error of sampling the same questions again; for right-or-wrong scores, we add "
    "two imaginary tries that differ from the others, so that a perfect score does not look exact. "
    "pass@k: at least one of k tries is correct. pass^k: all k tries are correct. maj@k: the most "
    "frequent answer of k tries is correct. Tokens and seconds: median / 90th percentile of the "
    "attempts."
)
_EVAL_OUTCOMES: tuple[Outcome, ...] = (
    "correct",
    "wrong",
    "graded",
    "unread",
    "no_answer",
    "truncated",
    "refused",
    "timeout",
    "provider_error",
    "grader_error",
    "not_run",
)
_ALWAYS: frozenset[Outcome] = frozenset({"unread", "truncated", "refused", "provider_error"})
_ONLY_MARKED: frozenset[Outcome] = frozenset({"correct", "wrong", "unread"})
_ONLY_GRADED: frozenset[Outcome] = frozenset({"graded", "grader_error"})
_EXPECTED: frozenset[Outcome] = frozenset({"correct", "wrong", "graded"})

Results = Sequence[TaskResult]
Column = tuple[tuple[str, ...], Callable[[TaskResult], Cell]]  # the lines of the head, the cells


def tool_calling_table(results: Results, labels: Labels) -> Table:
    """Return validity, pass rates, outcomes, tokens and speed of tool calling."""
    rows = [
        _row("attempts", results, _attempts),
        Row("invalid", tuple(map(_invalid, results))),
        *_pass_rates(results, "pass@", lambda at: at.pass_at),
        *_pass_rates(results, "pass^", lambda at: at.pass_hat, least=2),
        *(_outcome(results, outcome) for outcome in _by_frequency(results)),
        _row("exact arguments", results, lambda r: str(r.exact)),
        _row("requests", results, lambda r: f"{r.requests:,}"),
        _row("retries", results, lambda r: f"{r.retries:,}"),
        _row("prompt tokens", results, lambda r: f"{r.tokens.input:,}"),
        _row("completion tokens", results, lambda r: f"{r.tokens.output:,}"),
        _row("of which reasoning", results, lambda r: f"{r.tokens.reasoning:,}"),
        _row("first token, s", results, lambda r: spread(r.latency.first_token)),
        _row("request, s", results, lambda r: spread(r.latency.total)),
        _row("tokens/s", results, lambda r: spread(r.latency.tokens_per_second, digits=0)),
    ]
    return Table(tuple(map(labels.heads, results)), tuple(rows), TOOL_CALLING_NOTE)


def evals_table(results: Results, labels: Labels) -> Table:
    """Return scores, pass rates, outcomes, tokens, time and baselines of evals."""
    rows = [
        _row("score %", results, _score),
        _row("± on repeat", results, lambda r: percent(r.score.run_error if r.score else None)),
        *_unless_empty("OpenAI's script %", results, lambda r: percent(r.openai_score)),
        *_unless_empty("score %, unread wrong – right", results, _bounds),
        *_unless_empty("unread answers, right by the grader", results, _grader_reads),
        *_unless_empty("attempts with Python", results, _programs),
        _row("attempts", results, _attempts),
        _row("questions", results, lambda r: f"{r.samples:,}"),
        *_pass_rates(results, "pass@", lambda at: at.pass_at, least=2),
        *_pass_rates(results, "pass^", lambda at: at.pass_hat, least=2),
        *_majorities(results),
        *_eval_outcomes(results),
        _row("completion tokens", results, lambda r: f"{r.tokens.output:,}"),
        *_unless_empty(
            "reasoning tokens", results, lambda r: spread(r.tokens.reasoning_each, digits=0)
        ),
        *_unless_empty("answer tokens", results, lambda r: spread(r.tokens.answer_each, digits=0)),
        *_unless_empty("request, s", results, lambda r: spread(r.latency.last, digits=1)),
        *_comparisons(results),
    ]
    return Table(tuple(map(labels.heads, results)), tuple(rows), EVALS_NOTE)


def tool_calling_summary(results: Results, labels: Labels) -> Table:
    """Return one row per condition, narrow enough for 80 columns; the last k is that of all.

    TTFT is the time to the first token.
    """
    k = max(_ks(results), default=1)
    columns: list[Column] = [
        (("attempts",), _made),
        (("invalid",), _invalid),
        (("pass@1",), lambda r: Cell(_share(r, 1, lambda at: at.pass_at))),
        ((f"pass@{k}",), lambda r: Cell(_share(r, k, lambda at: at.pass_at))),
        ((f"pass^{k}",), lambda r: Cell(_share(r, k, lambda at: at.pass_hat))),
        (("TTFT",), lambda r: Cell(_median(r.latency.first_token))),
        (("request",), lambda r: Cell(_median(r.latency.total))),
    ]
    if k == 1:
        del columns[3:5]
    names = [labels.result(result).replace(" · ", " ") for result in results]
    return _summary(columns, results, names)


def evals_summary(results: Results, labels: Labels) -> Table:
    """Return one row per eval and condition, narrow enough for 80 columns."""
    columns: list[Column] = [
        (("score %",), lambda r: Cell(_score(r))),
        (("attempts",), _made),
        (("unread",), _unread),
        (("request",), lambda r: Cell(_median(r.latency.last, digits=1))),
        (("tokens",), lambda r: Cell(f"{r.tokens.output:,}")),
    ]
    if any(_compared(result) for result in results):
        columns.append((("base-", "line %"), lambda r: Cell(_baseline(r))))
    columns.append((("verdict",), _decision))
    return _summary(columns, results, list(map(labels.result, results)))


def _summary(columns: Sequence[Column], results: Results, names: Sequence[str]) -> Table:
    rows = (
        Row(name, tuple(cell(result) for _, cell in columns))
        for name, result in zip(names, results, strict=True)
    )
    return Table(tuple(head for head, _ in columns), tuple(rows), title="times: median in s")


def _score(result: TaskResult) -> str:
    nothing = "not graded" if result.rubric else NOTHING
    return nothing if result.score is None else estimate(result.score.estimate)


def _unread(result: TaskResult) -> Cell:
    count = result.outcomes.get("unread", 0)
    return Cell(f"{count:,}", "poor" if count else "")


def _compared(result: TaskResult) -> BaselineComparison | None:
    return None if result.baseline is None else result.baseline.comparison


def _baseline(result: TaskResult) -> str:
    compared = _compared(result)
    return NOTHING if compared is None else percent(compared.baseline)


def _decision(result: TaskResult) -> Cell:
    decision = None if result.baseline is None else result.baseline.decision
    return Cell(decision or NOTHING, DECISION_TONES[decision])


def _made(result: TaskResult) -> Cell:
    """Return the attempts that count; both numbers if some are missing, or not wholly graded."""
    made = result.finished - (result.rubric.grader_errors if result.rubric else 0)
    if made == result.planned:
        return Cell(f"{made:,}")
    return Cell(f"{made:,}/{result.planned:,}", "poor")


def _median(value: Percentiles | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value.p50:,.{digits}f}"


def _grader_reads(result: TaskResult) -> str:
    unread = result.unread
    return f"{unread.right} of {unread.read}" if unread and unread.read else NOTHING


def _bounds(result: TaskResult) -> str:
    unread = result.unread
    return f"{percent(unread.low)} – {percent(unread.high)}" if unread else NOTHING


def _programs(result: TaskResult) -> str:
    programs = result.programs
    if programs is None:
        return NOTHING
    return f"{programs.attempts:,} ({counted(programs.programs, 'program')})"


def rubric_table(result: TaskResult, name: str) -> Iterator[Table]:
    """Yield the rubric scores of one result, by axis and theme."""
    if result.rubric is None or result.rubric.overall is None:
        return
    figures = {
        "all": result.rubric.overall,
        **{f"axis {name}": figure for name, figure in result.rubric.axes.items()},
        **{f"theme {name}": figure for name, figure in result.rubric.themes.items()},
    }
    heads = (("score %",), ("unclipped %",), ("bootstrap ±",), ("attempts",))
    rows = tuple(Row(label, _rubric_cells(figure)) for label, figure in figures.items())
    yield Table(heads, rows, title=f"Rubric scores of {name}")


def outcome_name(outcome: Outcome) -> str:
    """Return `no tool call`."""
    return outcome.replace("_", " ")


def _row(label: str, results: Results, cell: Callable[[TaskResult], str]) -> Row:
    return Row(label, tuple(Cell(cell(result)) for result in results))


def _unless_empty(label: str, results: Results, cell: Callable[[TaskResult], str]) -> Iterator[Row]:
    row = _row(label, results, cell)
    if any(cell.text != NOTHING for cell in row.cells):
        yield row


def _invalid(result: TaskResult) -> Cell:
    return Cell(f"{result.invalid:,}", "bad" if result.invalid else "good")


def _attempts(result: TaskResult) -> str:
    return f"{result.finished:,} of {result.planned:,}"


def _ks(results: Results) -> list[int]:
    return sorted({at.k for result in results for at in result.at_k})


def _at(result: TaskResult, k: int) -> AtK | None:
    return next((at for at in result.at_k if at.k == k), None)


def _share(result: TaskResult, k: int, rate: Callable[[AtK], Estimate]) -> str:
    at = _at(result, k)
    return NOTHING if at is None else percent(rate(at).value)


def _pass_rates(
    results: Results, prefix: str, rate: Callable[[AtK], Estimate], least: int = 1
) -> Iterator[Row]:
    """Yield a row for each k from `least` on; pass^1 is pass@1."""
    for k in _ks(results):
        if k >= least:
            rates = [_at(result, k) for result in results]
            cells = (NOTHING if at is None else estimate(rate(at)) for at in rates)
            yield Row(f"{prefix}{k} %", tuple(map(Cell, cells)))


def _majorities(results: Results) -> Iterator[Row]:
    for k in _ks(results)[1:]:
        rates = [_at(result, k) for result in results]
        cells = tuple(Cell(percent(at.majority if at else None)) for at in rates)
        yield Row(f"maj@{k} %", cells)


def _by_frequency(results: Results) -> list[Outcome]:
    """Return the outcomes that occurred: success first, then the most frequent."""
    totals: Counter[Outcome] = Counter({"success": 0})
    for result in results:
        totals.update(result.outcomes)
    return sorted(totals, key=lambda outcome: (outcome != "success", -totals[outcome]))


def _outcome(results: Results, outcome: Outcome) -> Row:
    return _row(outcome_name(outcome), results, lambda r: str(r.outcomes.get(outcome, 0)))


def _eval_outcomes(results: Results) -> Iterator[Row]:
    seen = {outcome for result in results for outcome, n in result.outcomes.items() if n}
    for outcome in (*_EVAL_OUTCOMES, *sorted(seen - {*_EVAL_OUTCOMES})):
        if outcome in seen or outcome in _ALWAYS:
            cells = tuple(_eval_outcome(result, outcome) for result in results)
            yield Row(outcome_name(outcome), cells)


def _eval_outcome(result: TaskResult, outcome: Outcome) -> Cell:
    count = result.outcomes.get(outcome, 0)
    if count:
        tone: Tone = "" if outcome in _EXPECTED else "poor"
        share = "" if outcome == "not_run" else f" ({percentage(count / result.finished, 0)})"
        return Cell(f"{count:,}{share}", tone)
    impossible = _ONLY_MARKED if result.rubric else _ONLY_GRADED
    return Cell(NOTHING if outcome in impossible else "0")


def _comparisons(results: Results) -> Iterator[Row]:
    compared = list(map(_compared, results))
    if any(compared):
        yield _row("baseline %", results, _baseline)
        for label, values in (
            ("difference", [c and f"{c.difference.value * 100:+.1f}" for c in compared]),
            ("margin", [c and f"{c.margin * 100:g}" for c in compared]),
        ):
            yield Row(label, tuple(Cell(value or NOTHING) for value in values))
    yield Row("verdict", tuple(map(_decision, results)))


def _rubric_cells(figure: RubricFigure) -> tuple[Cell, ...]:
    values: Iterable[str] = (
        percent(figure.mean),
        percent(figure.unclipped),
        percent(figure.bootstrap_std),
        f"{figure.tries:,}",
    )
    return tuple(map(Cell, values))


def clients_table(results: Iterable[ClientResult]) -> Table:
    """Return which clients work over each API, and whether they return the CoT."""
    rows: dict[str, dict[str, Cell]] = {}
    readers: dict[str, dict[str, None]] = {}
    for result in results:
        label, tone = CLIENT_STATUSES[result.status]
        if reasons := (*result.breaking, *result.sometimes):
            label += f": {'; '.join(reasons)}"
        if result.breaking_on_request:
            label += f"; fails if asked for: {', '.join(result.breaking_on_request)}"
        cells = rows.setdefault(result.client, {})
        if result.read_by:
            readers.setdefault(result.read_by, {})[result.client] = None
        cells[result.api] = Cell(label, tone)
        cells[f"{result.api}: returns CoT"] = Cell(result.returns_cot)
    heads = dict.fromkeys(head for cells in rows.values() for head in cells)
    read_by = (
        f"{reader} read the replies of {', '.join(names)}." for reader, names in readers.items()
    )
    return Table(
        tuple((head,) for head in heads),
        tuple(
            Row(client, tuple(cells.get(head, Cell(NOTHING)) for head in heads))
            for client, cells in rows.items()
        ),
        note=" ".join(read_by),
    )


_TONES: Mapping[RetestStatus, Tone] = {
    "fixed": "good",
    "still there": "bad",
    "not verifiable": "poor",
    "new": "bad",
}
_ORDER = ("still there", "new", "not verifiable", "fixed")
ERROR_RATES = (
    f"For each component: at half of its former rate, a defect is called fixed in at most "
    f"{percentage(MISSED, 0)} of retests; a fixed one is called still there in at most "
    f"{percentage(FALSE_ALARM, 0)}."
)


def retest_section(analysis: Analysis, retest: RetestInfo) -> Section:
    """Return the findings of the run that was retested, those that remain first."""
    heads = (("before",), ("now",), ("result",))
    ordered = sorted(analysis.retest, key=lambda finding: _ORDER.index(finding.status))
    table = Table(heads, tuple(map(_retested, ordered)), title="finding")
    reasons = dict.fromkeys(f"{e.rule}: {e.reason}" for e in ordered if e.reason)
    return Section(
        title=f"Retest of {retest.name}",
        table=table,
        summary=Table(heads, table.rows, note=ERROR_RATES, title="finding"),
        notes=(ERROR_RATES, *reasons),
    )


def _retested(finding: RetestedFinding) -> Row:
    warns = not finding.decisive and finding.status != "new"
    status = f"{finding.status} (warning)" if warns else finding.status
    now = Cell(status, _TONES[finding.status])
    return Row(finding.rule, (Cell(finding.before or NOTHING), Cell(finding.now or NOTHING), now))
