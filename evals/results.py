"""Computes the figures of an eval from the scores of its attempts. No I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from harness.records.analysis import FailedSample
from harness.records.figures import AtK, GraderReads, ProgramUse
from harness.records.scores import Outcome, Score
from harness.statistics.estimators import Scores, complete_rounds, maj_at_k
from harness.statistics.intervals import at_k

SHOWN_FAILURES = 10
_RIGHT = "right"


def grader_reads(made: Sequence[Score]) -> GraderReads | None:
    """A grader's readings of answers that the rules cannot read; None if no grader was used."""
    unread = [score.grader_reads for score in made if score.outcome == "no_answer"]
    read = [right for right in unread if right is not None]
    return GraderReads(unread=len(unread), read=len(read), right=sum(read)) if read else None


def program_use(made: Sequence[Score]) -> ProgramUse | None:
    """How often the model ran programs; None if it could not."""
    counts = [score.programs for score in made if score.programs is not None]
    return ProgramUse(attempts=sum(map(bool, counts)), programs=sum(counts)) if counts else None


def rounds_of(scores: Mapping[str, Sequence[float]]) -> int:
    """The number of complete rounds: attempts that every question has had."""
    complete = complete_rounds(list(scores.values()))
    return len(complete[0]) if complete else 0


def filled(scores: Mapping[str, Sequence[float]], tries: int) -> Scores:
    """The first `tries` values of every question; missing ones count as 0."""
    return [(*found[:tries], *[0.0] * (tries - len(found))) for found in scores.values()]


def curve_ks(tries: int) -> list[int]:
    """The k of pass@k to report: powers of two below the number of tries, and that number."""
    powers = [2**power for power in range(tries.bit_length()) if 2**power < tries]
    return [*powers, tries]


def vote(score: Score) -> str | None:
    """The answer of an attempt in a majority vote, equal for answers with the same meaning.

    A letter is mapped to its choice, because the order of choices differs between attempts. None
    is not a vote.
    """
    if score.outcome == "correct":
        return _RIGHT
    if score.outcome != "wrong" or score.answer is None:
        return None
    if score.order is None:
        return score.answer
    return f"choice {score.order['ABCD'.index(score.answer)]}"


def curve(
    made: Sequence[Score], asked: Sequence[str], counted: Scores, tries: int
) -> Iterator[AtK]:
    """pass@k, pass^k and maj@k of the questions `asked`; empty unless each has all its tries."""
    if min(map(len, counted)) < tries:
        return
    votes: dict[str, list[str | None]] = {question: [] for question in asked}
    for score in made:
        votes[score.sample].append(vote(score))
    padded = [found + [None] * (tries - len(found)) for found in votes.values()]
    counts = [(len(each), round(sum(each))) for each in counted]
    for k in curve_ks(tries):
        won = sum(maj_at_k(each, _RIGHT, k) for each in padded)
        yield at_k(counts, k).model_copy(update={"majority": won / len(padded)})


def failed_samples(made: Sequence[Score]) -> Sequence[FailedSample]:
    """The questions with the lowest mean scores."""
    by_question: dict[str, list[Score]] = defaultdict(list)
    for score in made:
        by_question[score.sample].append(score)
    found = []
    for question, scores in by_question.items():
        worst = min(scores, key=lambda score: score.value or 0.0)
        if (worst.value or 0.0) >= 1:
            continue
        values = [score.value or 0.0 for score in scores]
        found.append(
            FailedSample(
                sample=question,
                mean=sum(values) / len(values),
                passed=sum(value == 1 for value in values),
                tries=len(scores),
                outcomes=dict(Counter[Outcome](s.outcome for s in scores).most_common()),
                record=worst.record,
                outcome=worst.outcome,
                answer=worst.answer,
                order=worst.order,
                detail=worst.detail,
            )
        )
    return sorted(found, key=lambda each: (each.mean, each.sample))[:SHOWN_FAILURES]
