"""What the figures of an eval need of its scores, gathered attempt by attempt. No I/O.

No score is kept except the worst one of each question: a run may have tens of thousands of
attempts, and each takes about 100 bytes here.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from string import ascii_uppercase
from typing import NamedTuple

from evals.baselines.eval_scores import Reading
from evals.grading.rubric import Rubrics
from harness.records.figures import AtK, ProgramUse, UnreadAnswers
from harness.records.scores import Outcome, Score
from harness.rules.measured import Sums
from harness.statistics.copies import copied
from harness.statistics.estimators import Scores, is_binary, maj_at_k
from harness.statistics.intervals import at_k
from harness.statistics.mean_scores import run_mean
from harness.tasks.task import FailedSamples

_RIGHT = "right"


class _Tries(NamedTuple):
    """The attempts at a question in the order of the log: number, value, OpenAI's value, vote.

    `texts` and `nats` are what they `said`. `unread` is 1 for an answer that only a grader reads as
    right, 2 for one that nobody has read, 3 for one with an ungraded rubric item.
    """

    numbers: "array[int]"
    ours: "array[float]"
    openai: "array[float]"
    votes: list[str | None]
    texts: "array[int]"
    nats: "array[float]"
    unread: "array[int]"


class Tally:
    """The attempts at the questions of an eval under one condition."""

    def __init__(self, questions: Iterable[str]) -> None:
        """Begin without attempts at these questions."""
        self.outcomes = Counter[Outcome]()
        self.sums = Sums()
        self.failed = FailedSamples()
        self.rubrics = Rubrics()
        self._tries = {
            question: _Tries(
                array("l"), array("d"), array("d"), [], array("q"), array("f"), array("b")
            )
            for question in questions
        }
        self._votes: dict[str, str] = {}
        self._counts = Counter[str]()
        self._openai: float | None = None

    def add(self, score: Score) -> None:
        """Add one finished attempt."""
        self.outcomes[score.outcome] += 1
        self.sums.add(score)
        if score.value is not None:
            self.failed.add(score)
        tries, value, openai = self._tries[score.sample], score.value or 0.0, score.openai_value
        tries.numbers.append(score.attempt)
        tries.ours.append(value)
        tries.openai.append(value if openai is None else openai)
        voted = vote(score)
        tries.votes.append(None if voted is None else self._votes.setdefault(voted, voted))
        tries.texts.append(score.said[0])
        tries.nats.append(score.said[1])
        if openai is not None:
            self._openai = (self._openai or 0.0) + openai
        right, unread = score.grader_reads, score.outcome == "unread"
        code = 0 if not unread else 2 if right is None else right
        tries.unread.append(3 if score.value is None else code)
        self._counts.update(unread=unread, read=unread and right is not None, right=bool(right))
        if (programs := score.programs) is not None:
            self._counts.update(could_run=1, ran=programs > 0, programs=programs)

    @cached_property
    def copies(self) -> frozenset[tuple[str, int]]:
        """Question and number of the attempts that are copies of earlier ones."""
        return copied(
            (question, number, (text, nats))
            for question, tries in self._tries.items()
            for number, text, nats in zip(tries.numbers, tries.texts, tries.nats, strict=True)
        )

    def values(
        self, reading: Reading = "ours", unread: float | None = None
    ) -> dict[str, tuple[float, ...]]:
        """Return the values by question without copies, in the order of the attempts' numbers.

        In our reading, an unread answer has the value that a grader gave it, or `unread`; without
        that, every unread answer scores 0. An attempt with an ungraded item has the value `unread`;
        without that, it is left out.
        """
        theirs, given = reading == "openai", unread or 0.0
        of = (0.0, 0.0 if theirs or unread is None else 1.0, 0.0 if theirs else given, given)
        return {
            question: tuple(
                value + of[code]
                for number, value, code in sorted(
                    zip(
                        tries.numbers,
                        tries.openai if theirs else tries.ours,
                        tries.unread,
                        strict=True,
                    )
                )
                if (question, number) not in self.copies and (code < 3 or unread is not None)
            )
            for question, tries in self._tries.items()
        }

    @property
    def openai_score(self) -> float | None:
        """The mean value of OpenAI's script; None if it reads no answer of this eval."""
        return None if self._openai is None else self._openai / self.sums.finished

    @property
    def unread(self) -> UnreadAnswers | None:
        """The answers that the rules cannot read, and the bounds of the score; None without any."""
        counts = self._counts
        if not counts["unread"]:
            return None
        low, high = (
            run_mean([each for each in self.values(unread=value).values() if each]).value
            for value in (0.0, 1.0)
        )
        return UnreadAnswers(
            unread=counts["unread"], read=counts["read"], right=counts["right"], low=low, high=high
        )

    @property
    def programs(self) -> ProgramUse | None:
        """How often the model ran programs; None if it could not."""
        counts = self._counts
        if not counts["could_run"]:
            return None
        return ProgramUse(attempts=counts["ran"], programs=counts["programs"])

    def curve(self, counted: Scores, tries: int) -> Iterator[AtK]:
        """Yield pass@k, pass^k and maj@k; nothing for parts of a point, or if tries are missing."""
        if min(map(len, counted), default=0) < tries or len(counted) < len(self._tries):
            return
        if not is_binary(counted):
            return
        votes = [e.votes + [None] * (tries - len(e.votes)) for e in self._tries.values()]
        counts = [(len(values), round(sum(values))) for values in counted]
        for k in curve_ks(tries):
            won = sum(maj_at_k(answers, _RIGHT, k) for answers in votes)
            yield at_k(counts, k).model_copy(update={"majority": won / len(votes)})


def curve_ks(tries: int) -> list[int]:
    """Return the k of pass@k to report: powers of two below `tries`, and `tries`."""
    powers = [2**power for power in range(tries.bit_length()) if 2**power < tries]
    return [*powers, tries]


def vote(score: Score) -> str | None:
    """Return the answer of an attempt in a majority vote, equal for answers with the same meaning.

    A letter is mapped to its choice, because the order of choices differs between attempts. None
    is not a vote.
    """
    if score.outcome == "correct":
        return _RIGHT
    if score.outcome != "wrong" or score.answer is None:
        return None
    if score.order is None:
        return score.answer
    return f"choice {score.order[ascii_uppercase.index(score.answer)]}"
