"""What a run says inside a GitHub workflow: annotations, and outputs of the step. Pure.

Annotations are workflow commands on stdout (docs.github.com, "Workflow commands for GitHub
Actions"), outputs go to the file that `GITHUB_OUTPUT` names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from harness.records.analysis import Analysis, Decision
from harness.text.plain import plain
from reports import words

MOST_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings of a step and drops the others in silence."""

_LONGEST = 500
_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = _IN_MESSAGE | {":": "%3A", ",": "%2C"}

Level = Literal["error", "warning"]


def run_annotations(analysis: Analysis) -> list[str]:
    """The verdict if it is not a pass, then what failed and what warned, ten at most."""
    return list(_annotations(analysis))[:MOST_ANNOTATIONS]


def annotation(level: Level, title: str, message: str) -> str:
    """One annotation; whatever stands in it, it is one line and one command."""
    return f"::{level} title={_escaped(title, _IN_PROPERTY)}::{_escaped(message, _IN_MESSAGE)}"


def outputs(values: Mapping[str, str]) -> str:
    """The lines of `GITHUB_OUTPUT`; no value can begin a line of its own."""
    return "".join(f"{name}={' '.join(value.split())}\n" for name, value in values.items())


def verdict_annotations(decision: Decision, reasons: Iterable[str]) -> Iterator[str]:
    """One annotation for a verdict that is not a pass."""
    if decision != "pass":
        level: Level = "error" if decision == "fail" else "warning"
        yield annotation(level, f"gpt-oss-verify: {words.VERDICTS[decision]}", " ".join(reasons))


def _annotations(analysis: Analysis) -> Iterator[str]:
    verdict = analysis.verdict
    yield from verdict_annotations(verdict.decision, verdict.reasons)
    for result in words.found(analysis.checks):
        if result.status in ("failed", "warned"):
            level: Level = "error" if result.status == "failed" else "warning"
            message = f"{words.share(result)}: {result.examples[0].message} {result.check.source}"
            yield annotation(level, result.check.id, message)


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    shown = plain(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
    return "".join(escapes.get(char, char) for char in shown)
