"""Figures and sentences of a history, shared by its formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evals.comparison.records import History, HistoryPoint, Line

from harness.records.scores import Estimate
from reports import compare_words, words

_BARS = "▁▂▃▄▅▆▇█"
NO_RUNS = "no runs there yet; make one with gpt-oss-verify --provider NAME"


def title(line: Line) -> str:
    """`groq, smoke test: 4 runs`."""
    return f"{words.visible(line.provider)}, {line.kind}: {words.counted(len(line.points), 'run')}"


def heads(line: Line) -> list[str]:
    """The columns of a line's table."""
    measures = _score_names(line) if line.kind == "eval" else [*_rate_names(line), "failed checks"]
    return ["date", "verdict", *measures, "tokens", "request, s", "version"]


def row(line: Line, point: HistoryPoint, *, intervals: bool = True) -> list[str]:
    """The cells of one run; rates without their intervals where there is no room."""
    said = compare_words.estimate if intervals else _bare
    if line.kind == "eval":
        measures = [said(point.scores.get(name)) for name in _score_names(line)]
    else:
        measures = [
            said(point.pass_at),
            said(point.pass_hat),
            compare_words.NOTHING if point.failed_checks is None else str(point.failed_checks),
        ]
    latency = compare_words.NOTHING if point.latency is None else f"{point.latency:.2f}"
    return [
        compare_words.moment(point.started_at),
        verdict(point),
        *measures,
        f"{point.tokens:,}",
        latency,
        point.tool_version,
    ]


def verdict(point: HistoryPoint) -> str:
    """The verdict of a run, or that it was never finished."""
    if not point.complete:
        return "unfinished"
    return words.VERDICTS[point.decision]


def remarks(point: HistoryPoint) -> Iterator[str]:
    """What came between this run and the one before."""
    if point.gap_days is not None:
        yield f"{point.gap_days:.0f} days without a run"
    if point.changed:
        yield f"settings changed: {compare_words.changes(point.changed, 'before')}"


def trends(line: Line) -> Iterator[tuple[str, str]]:
    """Each measure over all runs as a row of bars, the oldest first."""
    for name, values in series(line).items():
        yield name, sparkline([None if one is None else one.value for one in values])


def series(line: Line) -> dict[str, list[Estimate | None]]:
    """Each rate or score over all runs, None where a run has none."""
    if line.kind == "eval":
        return {
            name: [point.scores.get(name) for point in line.points] for name in _score_names(line)
        }
    at, hat = _rate_names(line)
    found = {
        at: [point.pass_at for point in line.points],
        hat: [point.pass_hat for point in line.points],
    }
    return {name: values for name, values in found.items() if any(values)}


def sparkline(values: Sequence[float | None]) -> str:
    """Shares from 0 to 1 as bars of eighths; a gap where there is none."""
    return "".join(
        "·" if value is None else _BARS[min(7, max(0, int(value * 8)))] for value in values
    )


def unread(history: History) -> list[str]:
    """What could not be read, on one line each."""
    return [words.visible(sentence) for sentence in history.unread]


def _score_names(line: Line) -> list[str]:
    return list(dict.fromkeys(name for point in line.points for name in point.scores))


def _rate_names(line: Line) -> tuple[str, str]:
    """`pass@5` and `pass^5`; with k where runs had different numbers of tries."""
    sizes = {point.k for point in line.points if point.k is not None}
    k = str(sizes.pop()) if len(sizes) == 1 else "k"
    return f"pass@{k}", f"pass^{k}"


def _bare(value: Estimate | None) -> str:
    return compare_words.NOTHING if value is None else f"{value.value * 100:.1f}"
