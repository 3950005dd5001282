"""Figures of a cell from the scores of its tries, and the verdict of a run from its cells."""

import pytest
from evals.analysis import CellTally, cell_scores, filled, ks, rounds_of, vote
from evals.decision import CUT_OFF, NOTHING_TO_HOLD_IT_TO, decide, held_back
from evals.judgement import CellVerdict
from evals.records import Cell, EvalSettings, TryScore
from sample_evals import load_eval

from evals.healthbench.summary import rubric_score, summarise
from harness.records.runs import DatasetInfo

CELL = Cell(eval="gpqa", model="m", effort="low")
DATA = DatasetInfo(eval="gpqa", source="s", rows=2, sha256="0")
VERDICT = CellVerdict(cell=CELL, decision="pass", reason="good")


def score(question, number, outcome="correct", **more):
    fields = {
        "record": f"{CELL.name}/{question}/{number}",
        "cell": CELL,
        "question": question,
        "number": number,
        "outcome": outcome,
        "score": float(outcome == "correct"),
        "openai_score": float(outcome == "correct"),
        "output_tokens": 100,
        "reasoning_tokens": 80,
    }
    return TryScore(**(fields | more))


def tally(*scores, tries=2, questions=("a", "b")):
    made = CellTally(CELL, questions, tries)
    for one in scores:
        made.add(one)
    return made


def result(made, verdict=VERDICT, data=DATA, scores=None):
    return made.result(data, None, None, verdict, scores or filled(made.by_question(), made.tries))


def test_every_planned_try_is_in_the_denominator():
    found = result(tally(score("a", 1), score("a", 2), score("b", 1, "truncated")))
    assert found.score.estimate.value == found.openai_score == 0.5
    assert (found.planned, found.finished) == (4, 3)
    assert found.outcomes == {"correct": 2, "truncated": 1, "not_run": 1}


def test_scores_stand_in_the_order_of_their_numbers_whatever_came_first():
    made = tally(score("a", 2), score("a", 1, "wrong"), score("b", 1))
    assert made.by_question() == {"a": (0.0, 1.0), "b": (1.0,)}
    assert rounds_of(made.by_question()) == 1
    scores = cell_scores(made, DATA, settings(), None)
    assert scores.missing == 1


def settings():
    return EvalSettings(
        evals=("gpqa",),
        models=("m",),
        efforts=("low",),
        api="chat",
        streaming=False,
        tries={"gpqa": 2},
        concurrency=1,
    )


def test_figures_at_k():
    found = result(tally(score("a", 1), score("a", 2), score("b", 1), score("b", 2, "no_answer")))
    assert [at.k for at in found.at_k] == [1, 2]
    assert (found.at_k[1].pass_at.value, found.at_k[1].pass_hat.value) == (1.0, 0.5)
    assert found.at_k[1].majority == 1.0


@pytest.mark.parametrize(
    ("tries", "sizes"), [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (16, [1, 2, 4, 8, 16]),
                         (5, [1, 2, 4, 5])],
)  # fmt: skip
def test_sizes_looked_at(tries, sizes):
    assert ks(tries) == sizes


def test_a_vote_is_for_a_choice_and_not_for_its_letter():
    first = score("a", 1, "wrong", answer="A", order=(2, 0, 1, 3))
    second = score("a", 2, "wrong", answer="D", order=(1, 0, 3, 2))
    assert vote(first) == vote(second) == "choice 2"
    assert vote(score("a", 3, "correct", answer="B", order=(2, 0, 1, 3))) == "right"
    assert vote(score("a", 4, "wrong", answer="17")) == "17"
    assert vote(score("a", 5, "truncated", answer="A")) is None


def test_two_tries_for_the_same_wrong_choice_outvote_one_right_one():
    wrong = [
        score("a", 1, "wrong", answer="A", order=(2, 0, 1, 3)),
        score("a", 2, "wrong", answer="D", order=(1, 0, 3, 2)),
    ]
    made = tally(*wrong, score("a", 3), tries=3, questions=("a",))
    assert result(made).at_k[-1].majority == 0.0


def test_tokens_of_reasoning_and_answer_are_apart():
    found = result(tally(score("a", 1), score("b", 1, output_tokens=None)))
    assert (found.tokens.output, found.tokens.unreported) == (100, 1)
    assert (found.tokens.reasoning.p50, found.tokens.answer.p50) == (80, 20)


def test_the_hardest_questions_name_a_failed_try():
    made = tally(
        score("a", 1), score("a", 2), score("b", 1), score("b", 2, "refused", detail="No.")
    )
    (hardest,) = result(made).hardest
    assert (hardest.question, hardest.mean, hardest.outcome) == ("b", 0.5, "refused")
    assert hardest.record.endswith("b/2")


# --- The verdict of a run


def cell(decision, *, sample=False):
    data = DATA.model_copy(update={"sample": sample})
    verdict = CellVerdict(cell=CELL, decision=decision, reason=f"it is {decision}")
    return result(tally(score("a", 1)), verdict, data)


@pytest.mark.parametrize(
    ("cells", "complete", "decision"),
    [
        ([cell("pass"), cell("pass")], True, "pass"),
        ([cell("pass"), cell("fail")], True, "fail"),
        ([cell("fail")], False, "fail"),
        ([cell("pass")], False, "inconclusive"),
        ([cell("pass"), cell("inconclusive")], True, "inconclusive"),
        ([cell(None)], True, "inconclusive"),
        ([cell(None, sample=True)], True, None),
        ([cell(None, sample=True)], False, "inconclusive"),
        ([cell(None, sample=True), cell("pass")], True, "pass"),
        ([cell(None), cell("pass")], True, "inconclusive"),
    ],
)
def test_a_run_passes_if_all_of_it_does(cells, complete, decision):
    found, reasons = decide(cells, complete=complete, shard=None)
    assert found == decision
    assert (CUT_OFF in reasons) == (not complete)
    assert (NOTHING_TO_HOLD_IT_TO in reasons) == (decision is None)


def test_reasons_begin_with_the_gravest():
    _, reasons = decide([cell("pass"), cell("fail")], complete=True, shard=None)
    assert reasons == ("it is fail", "it is pass")


def test_a_shard_has_no_verdict_of_its_own():
    assert decide([cell("inconclusive")], complete=True, shard=(1, 3))[0] is None
    assert decide([cell("inconclusive")], complete=False, shard=(1, 3))[0] == "inconclusive"


def test_items_without_a_grade_hold_a_verdict_back():
    row = next(iter(load_eval("healthbench").rows.values()))
    met = {item.id: True for item in row.items}
    assert held_back(VERDICT, summarise([rubric_score(row, met)])) == VERDICT
    held = held_back(VERDICT, summarise([rubric_score(row, {})]))
    assert held.decision == "inconclusive"
    assert f"{len(row.items)} of {len(row.items)} rubric items have no grade" in held.reason
