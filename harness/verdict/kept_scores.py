"""Scores of evals, which a judge keeps on disk: a run may have tens of thousands."""

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile, gettempdir

from pydantic import TypeAdapter

from harness.errors import RunLogError
from harness.records.conditions import Condition
from harness.records.scores import Score
from harness.run.run_folder import COMPARED

_IN_MEMORY = 2**20  # bytes, about 2,000 scores
_SCORE = TypeAdapter(Score)


@dataclass(frozen=True)
class Scores(Iterable[Score]):
    """Scores that are read again each time they are iterated over."""

    read: Callable[[], Iterator[Score]]

    def __iter__(self) -> Iterator[Score]:
        """Read them from the first one on."""
        return self.read()


class KeptScores(Iterable[Score]):
    """Scores in a temporary file, in the order in which they were kept.

    They have no findings to compare, so the members that only judging needs are not kept.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 (closed with it)
        weakref.finalize(self, self._file.close)
        self._end = 0
        self._attempts: dict[tuple[str, str, Condition], int] = defaultdict(int)

    def has(self, task: str, sample: str, condition: Condition, number: int) -> bool:
        """Return whether the score of an attempt is kept."""
        return bool(self._attempts[task, sample, condition] >> number & 1)

    def append(self, score: Score) -> None:
        """Keep one more. Raises RunLogError."""
        self._attempts[score.task, score.sample, score.condition] |= 1 << score.attempt
        line = _SCORE.dump_json(score, exclude=COMPARED) + b"\n"
        with _writing():
            self._file.seek(self._end)
            self._file.write(line)
        self._end += len(line)

    def __iter__(self) -> Iterator[Score]:
        """Read them from the first one on. Raises RunLogError."""
        at = 0
        while at < self._end:
            with _writing():  # what the buffer still has
                self._file.seek(at)
            line = self._file.readline()
            at += len(line)
            yield _SCORE.validate_json(line)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunLogError(
            f"Scores cannot be written to a temporary file in {gettempdir()}: {error.strerror}. "
            "Free space there, or name another folder in TMPDIR; then run recheck on the run."
        ) from None
