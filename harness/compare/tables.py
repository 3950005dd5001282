"""The scores of a run as tables, and the meaning of their columns."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from harness.records.analysis import RuleResult
from harness.records.conditions import PARTS, Condition
from harness.records.scores import Finding, Score

_KEYS = {
    "record": "id of the rollout in rollouts.jsonl",
    "task": "task: tool_calling, a probe group, or an eval",
    "kind": "tool_calling, probes, eval, or traffic (imported or of agents)",
    "sample": "test case, probe request or dataset row",
    "model": "model name as sent",
    "effort": "reasoning effort; missing if not sent",
    "api": "responses, chat or harmony",
    "mode": "streaming or non-streaming",
    "attempt": "try at the sample, from 1",
}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "attempts": {
        **_KEYS,
        "outcome": "how the attempt ended; not_run if it was planned but not made",
        "finished": "whether the attempt was made",
        "invalid": "whether a reply was unreadable or violates the API",
        "value": "1 or 0; a rubric score in HealthBench; missing for probe requests and traffic",
        "exact": "whether a tool call has exactly the expected arguments",
        "seconds": "time of the last exchange",
        "requests": "requests, without retries",
        "retries": "requests that were repeated",
        "errors": "findings of severity error",
        "warnings": "findings of severity warning",
    },
    "scores": {
        **_KEYS,
        "outcome": "how the attempt ended",
        "value": "score of the attempt",
        "openai_value": "score that OpenAI's own script gives the same text",
        "answer": "extracted answer (evals)",
        "expected": "expected call or answer, if the attempt failed",
        "got": "actual call or answer, if the attempt failed",
        "detail": "reason for the outcome",
    },
    "findings": {
        **_KEYS,
        "rule": "id of the check or probe",
        "severity": "error, warning or info",
        "message": "what is wrong",
        "exchange": "number of the exchange in the rollout, from 0",
        "event": "number of the stream event, from 0",
        "path": "JSON path in the response or event",
        "expected": "what the rule expects",
        "got": "what the provider sent",
    },
    "usage": {
        **_KEYS,
        "input": "prompt tokens",
        "output": "completion tokens, including reasoning tokens",
        "reasoning": "reasoning tokens",
        "unreported": "replies without usage",
    },
    "timing": {
        **_KEYS,
        "exchange": "number among the complete exchanges of the rollout, from 0",
        "total": "seconds until the response was complete",
        "first_token": "seconds until the first text event; missing unless streamed",
        "tokens_per_second": "completion tokens per second of a stream",
    },
}
"""Columns of each table, with their meanings."""

_TYPES = {
    **dict.fromkeys(("value", "openai_value", "seconds", "total"), "float64"),
    **dict.fromkeys(("first_token", "tokens_per_second"), "float64"),
    **dict.fromkeys(("attempt", "requests", "retries", "errors", "warnings"), "int64"),
    **dict.fromkeys(("exchange", "unreported"), "int64"),
    **dict.fromkeys(("input", "output", "reasoning", "event"), "Int64"),
    **dict.fromkeys(("finished", "invalid"), "bool"),
    "exact": "boolean",
}


def tables(
    scores: Iterable[Score], kinds: Mapping[str, str], probes: Iterable[RuleResult]
) -> dict[str, pd.DataFrame]:
    """Return all tables of a run, from its scores, the kinds of its tasks, and probe results.

    A probe judges several attempts together; its findings have the keys of the attempt with the
    evidence.
    """
    found = {table: _Rows(table) for table in COLUMNS}
    of_probes: dict[str, list[Finding]] = defaultdict(list)
    for result in probes:
        for each in result.examples:
            of_probes[each.evidence.record].append(each)
    for score in scores:
        keys, condition = {"kind": kinds.get(score.task, "eval")}, score.condition
        every = (*score.findings, *of_probes[score.record])
        severities = [finding.severity for finding in every]
        given = {
            **keys,
            "value": score.value if score.finished else None,
            "errors": severities.count("error"),
            "warnings": severities.count("warning"),
        }
        found["attempts"].add(given, score, condition)
        if score.finished:
            found["usage"].add(keys, score.usage, score, condition)
        if score.finished and score.value is not None:
            found["scores"].add(keys, score, condition)
        for each in every:
            rule = {**keys, "rule": each.id, "record": score.record}
            found["findings"].add(rule, each, each.evidence, score, condition)
        for number, timing in enumerate(score.timing):
            found["timing"].add({**keys, "exchange": number}, timing, score, condition)
    return {table: rows.frame() for table, rows in found.items()}


def rows_of(frame: pd.DataFrame, task: str, condition: Condition) -> pd.DataFrame:
    """The rows of one task under one condition."""
    chosen = frame["task"] == task
    for part in PARTS:
        value = getattr(condition, part)
        if part == "mode" and value is None:
            continue  # the tries alternate between the modes
        chosen &= frame[part].isna() if value is None else frame[part] == value
    return frame[chosen]


class _Rows:
    """The rows of one table; values are attributes of records or given by name."""

    def __init__(self, table: str) -> None:
        self._columns = list(COLUMNS[table])
        self._sources: list[int] = []
        self.rows: list[list[Any]] = []

    def add(self, given: Mapping[str, Any], *records: object) -> None:
        """Add a row; a column that is not given is an attribute of the first record with it."""
        if not self._sources:
            for column in self._columns:
                having = (n for n, each in enumerate(records) if hasattr(each, column))
                self._sources.append(-1 if column in given else next(having))
        self.rows.append(
            [
                given[column] if source < 0 else getattr(records[source], column)
                for column, source in zip(self._columns, self._sources, strict=True)
            ]
        )

    def frame(self) -> pd.DataFrame:
        """The table."""
        values = zip(*self.rows, strict=True) if self.rows else ([] for _ in self._columns)
        return pd.DataFrame(
            {
                column: pd.array(list(each), dtype=_TYPES.get(column, "str"))
                for column, each in zip(self._columns, values, strict=True)
            }
        )
