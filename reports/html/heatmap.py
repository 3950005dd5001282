"""The map of a task: a row for each sample, a cell for each attempt."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.records.scores import Outcome, Score
from reports.html.attempts import passed

MOST_CELLS = 12_000  # more cells would make the page too large; rows with failures come first


@dataclass(frozen=True)
class Look:
    """The letter, the label and the color of an outcome; the letter also tells outcomes apart."""

    letter: str
    label: str
    tone: str


LOOKS: Mapping[Outcome, Look] = {
    "success": Look("", "success", "good"),
    "correct": Look("", "correct", "good"),
    "answered": Look("", "answered", "good"),
    "graded": Look("", "graded, in tenths of the full score", "scored"),
    "invalid_response": Look("I", "invalid response", "bad"),
    "no_tool_call": Look("N", "no tool call", "bad"),
    "wrong_tool": Look("W", "wrong tool", "bad"),
    "invalid_arguments": Look("A", "invalid arguments", "bad"),
    "wrong_arguments": Look("D", "different arguments", "bad"),
    "wrong": Look("X", "wrong", "bad"),
    "no_answer": Look("N", "no answer", "poor"),
    "refused": Look("R", "refused", "poor"),
    "truncated": Look("C", "truncated", "poor"),
    "max_turns": Look("M", "too many turns", "poor"),
    "provider_error": Look("E", "provider error", "broken"),
    "grader_error": Look("G", "no grade", "broken"),
    "timeout": Look("T", "timeout", "broken"),
    "not_run": Look("", "not run", "none"),
}


@dataclass(frozen=True)
class Row:
    """One sample; `blocks` has the attempts under each condition, None if one was not made."""

    name: str
    hint: str
    failed: int
    summary: str
    outcomes: str
    blocks: tuple[tuple[Score | None, ...], ...]


@dataclass(frozen=True)
class Heatmap:
    """The rows that fit on the page; `left_out` is the number of those that do not."""

    title: str
    conditions: tuple[str, ...]  # the heads of the columns
    width: int  # the number of tries at each sample
    rows: tuple[Row, ...]  # the rows, worst first
    left_out: int
    legend: tuple[tuple[Outcome, Look, int], ...]
    """Each outcome that occurs, with its look and its count."""

    @property
    def cells(self) -> int:
        """The number of cells of a row."""
        return self.width * len(self.conditions)


def heatmap(
    title: str,
    attempts: Mapping[str, Collection[Score]],
    width: int,
    hints: Mapping[str, str],
    most: int,
) -> Heatmap:
    """Draw the attempts by condition, the samples with the lowest values first, in `most` cells."""
    counts: dict[Outcome, int] = dict.fromkeys(LOOKS, 0)
    found: dict[str, dict[tuple[str, int], Score]] = defaultdict(dict)
    for condition, scores in attempts.items():
        for score in scores:
            found[score.sample][condition, score.attempt] = score
            counts[score.outcome] += 1
    kept = max(1, most // max(1, len(attempts) * width))
    order = sorted(found, key=lambda name: _mean(found[name].values()))
    made = sum(map(len, found.values()))
    counts["not_run"] = len(found) * len(attempts) * width - made
    return Heatmap(
        title,
        tuple(attempts),
        width,
        tuple(
            _row(name, found[name], list(attempts), width, hints.get(name, ""))
            for name in order[:kept]
        ),
        max(0, len(order) - kept),
        tuple(
            (outcome, look, counts[outcome]) for outcome, look in LOOKS.items() if counts[outcome]
        ),
    )


def _row(
    name: str,
    places: Mapping[tuple[str, int], Score],
    conditions: Sequence[str],
    width: int,
    hint: str,
) -> Row:
    good = sum(map(passed, places.values()))
    graded = any(score.outcome == "graded" for score in places.values())
    return Row(
        name=name,
        hint=hint,
        failed=len(places) - good,
        summary=f"{_mean(places.values()):.2f}" if graded else f"{good}/{len(places)}",
        outcomes=" ".join(sorted({score.outcome for score in places.values()})),
        blocks=tuple(
            tuple(places.get((each, number)) for number in range(1, width + 1))
            for each in conditions
        ),
    )


def _mean(scores: Collection[Score]) -> float:
    return sum(score.value or 0.0 for score in scores) / len(scores)


def letter(score: Score) -> str:
    """Return what the cell of an attempt shows: a letter, or tenths of the full score."""
    if score.outcome != "graded":
        return LOOKS[score.outcome].letter
    value = score.value or 0.0
    return "✓" if value >= 1 else str(max(0, int(value * 10)))
