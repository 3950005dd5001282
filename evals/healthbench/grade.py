"""Reading a grader's reply. Pure; what is not clearly a grade is none."""

from __future__ import annotations

import json
from dataclasses import dataclass

from harness.api import DIALECTS
from harness.api.base import UnreadableReplyError
from harness.records.rollouts import Rollout

_MOST_TRIALS = 64
_KEY = "criteria_met"


@dataclass(frozen=True)
class Grade:
    """Whether an answer meets a rubric item, and why the grader thinks so."""

    met: bool
    explanation: str


def parse_grade(text: str) -> Grade | None:
    """The grade in a reply: a JSON object with a boolean `criteria_met`, wherever it stands.

    Code fences and talk around the object do no harm, nor does a missing explanation. There is
    no grade where `criteria_met` is anything but true or false, or where several objects
    disagree; it is never guessed from words.
    """
    grades = [grade for value in _objects(text) if (grade := _grade(value)) is not None]
    if len({grade.met for grade in grades}) != 1:
        return None
    return grades[-1]


def grade_of(rollout: Rollout) -> Grade | None:
    """The grade that a grading request came back with, if it did."""
    if rollout.end != "answered":
        return None
    try:
        reply = DIALECTS[rollout.api].read(rollout.exchanges[-1])
    except UnreadableReplyError:
        return None
    return parse_grade(reply.text)


def _objects(text: str) -> list[dict[str, object]]:
    """The outermost JSON objects in a text, in order; gives up on texts that are mostly braces."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_repeats, strict=False)
    found: list[dict[str, object]] = []
    at = text.find("{")
    for _ in range(_MOST_TRIALS):
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
            found.append(value)
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
    return found


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice")
    return value


def _grade(value: dict[str, object]) -> Grade | None:
    met, explanation = value.get(_KEY), value.get("explanation")
    if not isinstance(met, bool):
        return None
    return Grade(met, explanation if isinstance(explanation, str) else "")
