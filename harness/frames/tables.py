"""The scores of a run as tables, and what their columns mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from harness.records.conditions import PARTS, Condition
from harness.records.scores import Finding, Score

_KEYS = {
    "record": "id of the rollout in rollouts.jsonl",
    "task": "task: tool_calling, a probe group, or an eval",
    "kind": "tool_calling, probes or eval",
    "sample": "test case, probe request or dataset row",
    "model": "model name as sent",
    "effort": "reasoning effort; missing if not sent",
    "api": "responses or chat",
    "mode": "streaming or non-streaming",
    "attempt": "try at the sample, from 1",
}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "attempts": {
        **_KEYS,
        "outcome": "how the attempt ended; not_run if it was planned and not made",
        "finished": "whether the attempt was made",
        "invalid": "whether a reply was unreadable or violates the API",
        "value": "1 or 0; a rubric score in HealthBench; missing for probe requests",
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
_Row = tuple[Any, ...]


def tables(scores: Iterable[Score], kinds: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """All tables of a run.

    Args:
        scores: The scores of its attempts.
        kinds: The kind of each task.
    """
    rows: dict[str, list[_Row]] = {name: [] for name in COLUMNS}
    for score in scores:
        keys = _keys(score, kinds)
        rows["attempts"].append((*keys, *_attempt(score)))
        if score.value is not None and score.finished:
            rows["scores"].append((*keys, *_score(score)))
        rows["findings"] += ((*keys, *_finding(each)) for each in score.findings)
        if score.finished:
            counts = score.usage
            rows["usage"].append(
                (*keys, counts.input, counts.output, counts.reasoning, counts.unreported)
            )
        rows["timing"] += ((*keys, *each) for each in _timing(score))
    return {name: _frame(found, list(COLUMNS[name])) for name, found in rows.items()}


def rows_of(frame: pd.DataFrame, task: str, condition: Condition) -> pd.DataFrame:
    """The rows of one task under one condition."""
    chosen = frame["task"] == task
    for part in PARTS:
        value = getattr(condition, part)
        chosen &= frame[part].isna() if value is None else frame[part] == value
    return frame[chosen]


def _frame(rows: list[_Row], columns: list[str]) -> pd.DataFrame:
    values = zip(*rows, strict=True) if rows else ([] for _ in columns)
    return pd.DataFrame(
        {
            column: pd.array(list(each), dtype=_TYPES.get(column, "str"))
            for column, each in zip(columns, values, strict=True)
        }
    )


def _keys(score: Score, kinds: Mapping[str, str]) -> _Row:
    condition = score.condition
    return (
        score.record,
        score.task,
        kinds.get(score.task, "eval"),
        score.sample,
        condition.model,
        condition.effort,
        condition.api,
        condition.mode,
        score.attempt,
    )


def _attempt(score: Score) -> _Row:
    severities = [finding.severity for finding in score.findings]
    return (
        score.outcome,
        score.finished,
        score.invalid,
        score.value if score.finished else None,
        score.exact,
        score.seconds,
        score.requests,
        score.retries,
        severities.count("error"),
        severities.count("warning"),
    )


def _score(score: Score) -> _Row:
    return (
        score.outcome,
        score.value,
        score.openai_value,
        score.answer,
        score.expected,
        score.got,
        score.detail,
    )


def _finding(finding: Finding) -> _Row:
    evidence = finding.evidence
    return (
        finding.id,
        finding.severity,
        finding.message,
        evidence.exchange,
        evidence.event,
        evidence.path,
        evidence.expected,
        evidence.got,
    )


def _timing(score: Score) -> Iterator[_Row]:
    for number, each in enumerate(score.timing):
        yield number, each.total, each.first_token, each.tokens_per_second
