"""What a grader's log says: which items have which grade, and what is still to be asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from evals.healthbench.grade import grade_of
from harness.records.rollouts import Rollout

REQUESTS = 3
"""How often a grader is asked about one item before that counts as the grader's error."""

Verdicts = Mapping[str, Mapping[str, bool]]
"""By answer and item whether the item is met; an item that is missing has no grade."""


def read_verdicts(records: Iterable[Rollout]) -> Verdicts:
    """The grades in a log, sorted by answer and item. The first grade of an item counts."""
    verdicts: dict[str, dict[str, bool]] = defaultdict(dict)
    for record in records:
        grade = grade_of(record)
        if grade is not None:
            answer, _, item = record.sample.rpartition("/")
            verdicts[answer].setdefault(item, grade.met)
    return dict(verdicts)


class Ledger:
    """Which items have a grade, and how often the others have been asked about.

    Holds one id for each item, never a reply.
    """

    def __init__(self, records: Iterable[Rollout]) -> None:
        """Start from what a log holds."""
        self._graded: set[str] = set()
        self._requests: Counter[str] = Counter()
        self._garbled: Counter[str] = Counter()
        for record in records:
            self.note(record)

    def note(self, record: Rollout) -> None:
        """Take account of one more reply."""
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

    def next_request(self, task: str) -> int | None:
        """The number of the next request about an item; None if there is to be none.

        A grader that has answered `REQUESTS` times without a grade is not asked again. One that
        could not be reached is, when grading is started anew.
        """
        if task in self._graded or self._garbled[task] >= REQUESTS:
            return None
        return self._requests[task] + 1
