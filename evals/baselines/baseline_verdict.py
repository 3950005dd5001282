"""Decides pass, fail or inconclusive from scores and a baseline, with the reason in a sentence."""

import math
from statistics import fmean

from evals.baselines.eval_scores import MAKE_ONE, Baseline, EvalScores, Reference
from evals.baselines.published import published_scores
from harness.records.figures import (
    BaselineComparison,
    BaselineInfo,
    BaselineVerdict,
    RubricSummary,
    UnreadAnswers,
)
from harness.statistics.differences import TAIL
from harness.statistics.mean_scores import Mean
from harness.statistics.noninferiority import (
    FIRST_LOOK,
    always_valid_tail,
    compare,
    power_to_detect,
    run_error,
)
from harness.text import percentage

OTHER_MARGIN = 0.05  # margin of an eval without published scores
PROMPT_ALLOWANCE = 0.5
"""How far other prompts may move a score, as a share of the margin. This is an assumption: the
effect of these prompts on scores of gpt-oss is not published."""


def default_margin(name: str) -> float:
    """Return the margin of an eval, where 0.01 is a point; its `scores.json` has the reason."""
    benchmark = published_scores().benchmarks.get(name)
    return OTHER_MARGIN if benchmark is None else benchmark.margin / 100


def judge_scores(
    scores: EvalScores, baseline: Baseline, margin: float, *, every_round: bool = False
) -> BaselineVerdict:
    """Compare the scores of one eval under one condition with the baseline.

    A run with missing attempts fails only if it would also fail if all of them passed. With
    `every_round`, this is one of many looks at a run that stops once the verdict is settled: only
    complete rounds are used, and the bounds are valid over all looks.
    """
    if every_round:
        return _look(scores, baseline, margin)
    if not scores.missing:
        return _judge(scores, baseline, margin, TAIL)
    planned = scores.planned * len(scores.scores)
    made = [tries for tries in scores.scores.values() if tries]
    score = f", with a score of {percentage(fmean(map(fmean, made)))}" if made else ""
    fact = f"{sum(map(len, made))} of {planned} planned attempts were made{score}"
    best = _judge(scores.filled(1.0, scores.planned), baseline, margin, TAIL)
    if best.decision != "fail":
        return _undecided(scores, f"{fact}.")
    reason = f"{best.reason} This assumes that every missing attempt is correct: {fact}."
    return best.model_copy(update={"reason": reason})


def forecast(scores: EvalScores, baseline: Baseline, margin: float, every_round: bool) -> str:
    """Return whether a provider as good as its baseline can expect to pass, as a sentence.

    Assumes that the run scores as its baseline, with the noise of questions of equal difficulty,
    which is the upper bound.
    """
    reference = baseline.reference(scores.filled(0.0, scores.planned))
    if isinstance(reference, str):
        return f"{scores.name}: will not be compared: {reference}"
    theirs = reference.baseline
    noise = run_error(theirs.value, len(scores.scores), scores.planned)
    endless = Mean(theirs.value, 0.0, math.inf)
    looks = every_round and scores.planned >= FIRST_LOOK
    tail = always_valid_tail(scores.planned, scores.planned) if looks else TAIL
    points = f"{margin * 100:g} points"
    against = f"{percentage(theirs.value)} ({_baseline(reference.info)})"
    if compare(endless, theirs, margin, tail).decision != "pass":
        return (
            f"{scores.name}: CANNOT BE DECIDED for a provider as good as its baseline, {against}:"
            f" the baseline itself is too uncertain for a margin of {points}; {_remedy(reference)}."
        )
    chance = power_to_detect(margin, math.hypot(noise, theirs.error), tail)
    return (
        f"{scores.name}: compared with {against}, margin {points}; a provider as good passes with"
        f" a probability of about {percentage(chance, 0)}, otherwise the run is inconclusive."
    )


def with_grades(
    worst: BaselineVerdict, best: BaselineVerdict, scores: EvalScores, rubric: RubricSummary
) -> BaselineVerdict:
    """Return the verdict with the grader and the number of items that it left without a grade.

    It is inconclusive if it is another one where attempts with such items score 0, or 1.
    """
    without = f"{rubric.ungraded_items:,} of {rubric.items:,} rubric items without a grade"
    if rubric.ungraded_items:
        without += f" ({rubric.tries - rubric.grader_errors} of {rubric.tries} attempts count)"
        if best.decision != worst.decision or worst.decision == "inconclusive":
            return _undecided(scores, f"{without}; grade them with `gpt-oss-verify grade RUN`.")
    graded = f"{worst.reason.rstrip('.')}; graded by {scores.grader or 'nobody'}, {without}."
    return worst.model_copy(update={"reason": graded})


def with_scorer_errors(
    verdict: BaselineVerdict, scores: EvalScores, errors: int
) -> BaselineVerdict:
    """Return the verdict; undecided if the user's scorer failed at answers."""
    if not errors:
        return verdict
    file = f"scorer-{scores.eval}.py"
    return _undecided(
        scores,
        f"the scorer failed (answers with score 0: {errors}); correct {file} in the run's "
        "folder, and judge it again with `gpt-oss-verify recheck`.",
    )


def with_unread(
    worst: BaselineVerdict, best: BaselineVerdict, scores: EvalScores, unread: UnreadAnswers
) -> BaselineVerdict:
    """Return the verdict on a run with unread answers, from those if they are wrong, or right.

    If these differ, it is inconclusive: a reading of these answers decides. A note says how.
    """
    if unread.unread == unread.read:
        return worst
    note = (
        f"unread answers: {unread.unread - unread.read}, so the score is between "
        f"{percentage(unread.low)} and {percentage(unread.high)}; a model reads them with "
        "`gpt-oss-verify grade RUN --unread --grader NAME`."
    )
    if best.decision != worst.decision:
        reason = _undecided(scores, note).reason
        return worst.model_copy(update={"decision": "inconclusive", "reason": reason})
    return worst.model_copy(update={"warnings": (*worst.warnings, f"{scores.name}: {note}")})


def _look(scores: EvalScores, baseline: Baseline, margin: float) -> BaselineVerdict:
    """Return the verdict on the complete rounds, as one of many looks at a growing run."""
    done = scores.rounds
    if done < FIRST_LOOK:
        return _undecided(scores, f"complete rounds: {done}; the first look is at {FIRST_LOOK}.")
    return _judge(
        scores.filled(0.0, done), baseline, margin, always_valid_tail(done, scores.planned)
    )


def _judge(scores: EvalScores, baseline: Baseline, margin: float, tail: float) -> BaselineVerdict:
    reference = baseline.reference(scores)
    if isinstance(reference, str):
        return BaselineVerdict(decision=None, reason=f"{scores.name}: not compared: {reference}")
    allowance = PROMPT_ALLOWANCE * margin if reference.other_prompts else 0.0
    comparison = compare(reference.run, reference.baseline, margin, tail, allowance)
    return BaselineVerdict(
        decision=comparison.decision,
        reason=f"{scores.name}: {_sentence(comparison, reference, scores)}",
        comparison=comparison,
        baseline=reference.info,
        warnings=(*reference.warnings, *_other_prompts(comparison, reference)),
    )


def _undecided(scores: EvalScores, why: str) -> BaselineVerdict:
    return BaselineVerdict(decision="inconclusive", reason=f"{scores.name}: undecided: {why}")


def _other_prompts(comparison: BaselineComparison, reference: Reference) -> tuple[str, ...]:
    if not reference.other_prompts:
        return ()
    return (
        f"Measured with prompts that differ from those of {reference.info.name}: the bounds of the "
        f"difference are {comparison.allowance * 100:g} points wider on each side. --prompts "
        "gpt-oss uses the prompts of OpenAI's scripts.",
    )


def _sentence(comparison: BaselineComparison, reference: Reference, scores: EvalScores) -> str:
    between = comparison.difference
    read_by_script = scores.reading == "openai" and scores.grader is None
    reading = ", as OpenAI's script reads the answers," if read_by_script else ""
    measured = (
        f"{percentage(comparison.score)}{reading} against {percentage(comparison.baseline)}"
        f" ({_baseline(reference.info)}),"
        f" a difference of {_points(between.value)} points"
        f" (90% interval {_points(between.low)} to {_points(between.high)})"
    )
    points = round(comparison.margin * 100, 2)
    margin = f"{points:g} point{'' if points == 1 else 's'}"
    if comparison.decision == "pass":
        passed = f"as good as its baseline within {margin}: {measured}"
        if comparison.detectable is None:
            return f"{passed}."
        drop = (comparison.margin + comparison.allowance + comparison.detectable) * 100
        return (
            f"{passed}; a provider {drop:.1f} points worse would have failed with a probability of"
            " at least 80%."
        )
    if comparison.decision == "fail":
        return f"worse than its baseline by more than {margin}: {measured}."
    return (
        f"undecided whether it is within {margin}: {measured}; {_what_next(comparison, reference)}"
    )


def _what_next(comparison: BaselineComparison, reference: Reference) -> str:
    if comparison.further_tries is None and comparison.allowance:
        return "more tries cannot settle it because the prompts differ from the baseline's."
    if comparison.further_tries is None:
        remedy = _remedy(reference)
        return f"more tries cannot settle it because this baseline is too uncertain: {remedy}."
    times = "try" if comparison.further_tries == 1 else "tries"
    return (
        f"about {comparison.further_tries} more {times} of every question would settle it if the"
        " difference stays the same."
    )


def _remedy(reference: Reference) -> str:
    """Return what to do about a baseline that is too uncertain."""
    measured = any(figure.kind == "measured" for figure in reference.info.figures)
    return "measure it again with more tries" if measured else MAKE_ONE


def _baseline(info: BaselineInfo) -> str:
    if info.low == info.high:
        return info.name
    return f"{info.name}, {percentage(info.low)} to {percentage(info.high)}"


def _points(value: float) -> str:
    return f"{value * 100:+.1f}"
