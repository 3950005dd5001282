"""The answers of two columns to the same question, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from harness.compare.columns import Column
from harness.compare.comparison_types import AnsweredQuestion, ShownAnswer
from harness.compare.read_logs import read_logs
from harness.compare.transcripts import Message, transcript
from harness.run.run_log import ROLLOUTS_FILE, read_rollouts, read_run_info

if TYPE_CHECKING:
    import pandas as pd

MOST = 100  # questions
_LONGEST = 4_000  # characters of a text
_Texts = dict[str, tuple[str, str]]  # question and answer by record


def answered_questions(columns: Sequence[Column], against: int) -> tuple[AnsweredQuestion, ...]:
    """Return the questions with the largest differences from the reference, with an answer each.

    A column shows the try that differs most from the reference: its worst where it is worse, and
    its best where it is better or equal; the reference the reverse, or its best where all are
    equal. The texts of gated data are not shown. Raises RunLogError and ConfigurationError.
    """
    chosen = sorted(_chosen(columns, against), key=lambda choice: -choice[0])[:MOST]
    texts = [
        _texts(column, {rows[at]["record"] for _, _, rows in chosen if at in rows})
        for at, column in enumerate(columns)
    ]
    asked = []
    for _, (group, sample), rows in chosen:
        shown = [(texts[at].get(row["record"]), row) for at, row in rows.items()]
        if len([pair for pair, _ in shown if pair]) < 2:
            continue
        question = next(pair[0] for pair, _ in shown if pair)
        answers = {
            at: ShownAnswer(value=row["value"], text=texts[at][row["record"]][1])
            for at, row in rows.items()
            if row["record"] in texts[at]
        }
        cells = tuple(answers.get(at) for at in range(len(columns)))
        asked.append(AnsweredQuestion(sample=sample, group=group, question=question, answers=cells))
    return tuple(asked)


def _chosen(
    columns: Sequence[Column], against: int
) -> Iterator[tuple[float, tuple[str, str], dict[int, pd.Series]]]:
    """Yield the questions that the reference and others answered: difference, name and tries."""
    by_question: dict[tuple[str, str], dict[int, pd.DataFrame]] = defaultdict(dict)
    for at, column in enumerate(columns):
        made = column.tries.dropna(subset=["record", "value"])
        for (group, sample), tries in made.groupby(["group", "sample"], sort=False):
            by_question[str(group), str(sample)][at] = tries.sort_values("value", kind="stable")
    for (group, sample), every in by_question.items():
        contents = {at: tries["content"].iloc[0] for at, tries in every.items()}
        tries = {at: rows for at, rows in every.items() if contents[at] == contents.get(against)}
        if len(tries) < 2:
            continue
        base = fmean(tries[against]["value"])
        moved = {at: fmean(rows["value"]) - base for at, rows in tries.items() if at != against}
        largest = max(moved.values(), key=abs)
        rows = {at: tries[at].iloc[0 if move < 0 else -1] for at, move in moved.items()}
        rows[against] = tries[against].iloc[0 if largest > 0 else -1]
        yield abs(largest), (group, sample), rows


def _texts(column: Column, records: set[str]) -> _Texts:
    """Return question and answer of the tries of a run or a log by record."""
    place = Path(column.entry.place or "")
    if column.entry.kind == "log":
        return {
            record: (tried.question[:_LONGEST], tried.answer[:_LONGEST])
            for log in read_logs(place)
            for tried in log.tries
            if (record := log.record(tried)) in records and not log.gated
        }
    if column.entry.kind != "run" or not (place / ROLLOUTS_FILE).exists():
        return {}  # a copy without its log is compared by its scores
    gated = {
        task.name for task in read_run_info(place).tasks if task.dataset and task.dataset.gated
    }
    texts: _Texts = {}
    for rollout in read_rollouts(place):
        if rollout.id in records and rollout.task not in gated:
            messages = transcript(rollout).messages
            turns = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
            first = turns[0] if turns else len(messages)
            asked = "\n\n".join(str(message["content"]) for message in messages[:first])
            said = "\n\n".join(_said(e) for e in messages[first:] if e["role"] == "assistant")
            texts[rollout.id] = asked[:_LONGEST], said[:_LONGEST]
    return texts


def _said(message: Message) -> str:
    """Return the text of an answer and its calls, or why there is no answer."""
    functions = [call["function"] for call in message.get("tool_calls", ())]
    calls = [f"{function['name']}({function['arguments']})" for function in functions]
    return "\n".join(filter(None, [message["content"], *calls, message.get("error", "")]))
