"""Grades: read from a grader's replies, collected by answer and item."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.api import DIALECTS
from harness.api.items import Reply, UnreadableReplyError
from harness.records.rollouts import Rollout
from harness.run.run_log import read_rollouts

REQUESTS = 3  # requests about one item before a missing grade becomes a grader error

Verdicts = Mapping[str, Mapping[str, bool]]
"""Whether each item is met, by answer and item; items without a grade are missing."""

_MOST_OBJECTS = 64
_KEY = "criteria_met"
_SAID = re.compile(rf"{_KEY}[^.;{{}}\n]{{0,20}}?\b(true|false)\b", re.IGNORECASE)


def parse_grade(text: str) -> bool | None:
    """Return `criteria_met` of the JSON object in a reply, whatever its place; None if unclear.

    Code fences and text around the object are ignored, and the explanation may be missing. There
    is not a grade if `criteria_met` is not true or false, or if another object or the text says
    otherwise ("criteria_met: false"). A grade is never inferred from words.
    """
    values, around = _objects(text)
    grades = [met for value in values if isinstance(met := value.get(_KEY), bool)]
    said = {*grades, *(match[1].casefold() == "true" for match in _SAID.finditer(around))}
    return grades[-1] if grades and len(said) == 1 else None


def last_reply(rollout: Rollout) -> Reply | None:
    """Return the last reply of a rollout; None if there is no readable one."""
    if rollout.end != "answered":
        return None
    try:
        return DIALECTS[rollout.api].read(rollout.exchanges[-1])
    except UnreadableReplyError:
        return None


def grade_of(rollout: Rollout) -> bool | None:
    """Return whether an item is met, from the reply about it; None without a grade."""
    reply = last_reply(rollout)
    return None if reply is None else parse_grade(reply.text)


def verdicts_in(folder: Path, log: str) -> Verdicts:
    """Return the grades in a grader's log; the first grade of an item is used.

    Without a log there are no grades. Raises RunLogError.
    """
    verdicts: dict[str, dict[str, bool]] = defaultdict(dict)
    for record in read_rollouts(folder, log) if (folder / log).exists() else ():
        grade = grade_of(record)
        if grade is not None:
            answer, _, item = record.sample.rpartition("/")
            verdicts[answer].setdefault(item, grade)
    return dict(verdicts)


class Ledger:
    """Tracks which items have a grade, and how many requests the others have had."""

    def __init__(self, records: Iterable[Rollout]) -> None:
        self._graded: set[str] = set()
        self._requests: Counter[str] = Counter()
        self._garbled: Counter[str] = Counter()
        for record in records:
            self.note(record)

    def note(self, record: Rollout) -> None:
        """Add one more reply."""
        task = record.sample
        if task in self._graded:
            return
        if grade_of(record) is not None:
            self._graded.add(task)
            self._requests.pop(task, None)
            self._garbled.pop(task, None)
            return
        self._requests[task] = max(self._requests[task], record.attempt)
        self._garbled[task] += record.end != "failed"

    @property
    def graded(self) -> int:
        """The number of items with a grade."""
        return len(self._graded)

    @property
    def settled(self) -> bool:
        """Whether none of the requested items can be requested again."""
        return all(self._garbled[task] >= REQUESTS for task in self._requests)

    def next_request(self, task: str) -> int | None:
        """Return the next request about an item.

        None if it is graded, or has `REQUESTS` replies.
        """
        if task in self._graded or self._garbled[task] >= REQUESTS:
            return None
        return self._requests[task] + 1


def _objects(text: str) -> tuple[list[dict[str, object]], str]:
    """Return the outermost JSON objects in a text, up to a limit, and the text around them."""
    decoder = json.JSONDecoder(object_pairs_hook=_unambiguous, strict=False)
    parsed: list[dict[str, object]] = []
    around, at = "", 0
    for _ in range(_MOST_OBJECTS):
        start = text.find("{", at)
        if start < 0:
            break
        around, at = around + text[at:start], start + 1
        try:
            value, at = decoder.raw_decode(text, start)
            parsed.append(value)
        except (ValueError, RecursionError):
            pass
    return parsed, around + text[at:]


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if any(key == _KEY and other != value[_KEY] for key, other in pairs):
        raise ValueError(f"two different values of {_KEY}")
    return value
