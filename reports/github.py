"""Annotations and step outputs for GitHub workflows. Pure.

Annotations are workflow commands on stdout (docs.github.com, "Workflow commands for GitHub
Actions"). Outputs go to the file that `GITHUB_OUTPUT` names.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from harness.records.analysis import Analysis
from harness.text import plain
from reports.model import Rule
from reports.text import VERDICTS, clipped, share

MOST_ANNOTATIONS = 10
"""GitHub shows ten errors and ten warnings of a step and silently drops the rest."""

_LONGEST = 500
_IN_MESSAGE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_IN_PROPERTY = _IN_MESSAGE | {":": "%3A", ",": "%2C"}

Level = Literal["error", "warning"]


def annotations(analysis: Analysis) -> list[str]:
    """The verdict unless it is a pass, then failed and warned rules; at most ten lines."""
    return list(_annotations(analysis))[:MOST_ANNOTATIONS]


def annotation(level: Level, title: str, message: str) -> str:
    """One annotation on one line, whatever its texts contain."""
    return f"::{level} title={_escaped(title, _IN_PROPERTY)}::{_escaped(message, _IN_MESSAGE)}"


def outputs(values: Mapping[str, str]) -> str:
    """The lines of `GITHUB_OUTPUT`; line breaks in values become blanks."""
    return "".join(f"{name}={' '.join(value.split())}\n" for name, value in values.items())


def _annotations(analysis: Analysis) -> Iterator[str]:
    verdict = analysis.verdict
    if verdict.decision not in ("pass", None):
        level: Level = "error" if verdict.decision == "fail" else "warning"
        title = f"gpt-oss-verify: {VERDICTS[verdict.decision]}"
        yield annotation(level, title, " ".join(verdict.reasons))
    for rule in sorted(map(Rule, analysis.checks), key=lambda each: each.rank):
        if rule.status in ("failed", "warned"):
            level = "error" if rule.status == "failed" else "warning"
            example = next((found.message for found in rule.result.examples), "")
            about = rule.result.check
            message = f"{share(rule.result)}: {example} {about.source}"
            yield annotation(level, about.id, message)


def _escaped(text: str, escapes: Mapping[str, str]) -> str:
    return "".join(escapes.get(char, char) for char in plain(clipped(text, _LONGEST)))
