"""Figures of an eval, and the agreement of two graders and of a grader with physicians."""

import random

import pytest

from evals.healthbench.rows import HealthBenchRow
from evals.healthbench.rubric import rubric_score, summarise
from evals.healthbench.trials import (
    Agreement,
    MetaRow,
    agreement,
    load_meta,
    meta_report,
    meta_tasks,
)


def row(name: str, *points: float, theme: str = "theme:hedging") -> HealthBenchRow:
    axes = ("axis:accuracy", "axis:completeness")
    return HealthBenchRow.model_validate(
        {
            "prompt_id": name,
            "prompt": [{"role": "user", "content": "Why?"}],
            "rubrics": [
                {"criterion": f"c{index}", "points": worth, "tags": [axes[index % 2]]}
                for index, worth in enumerate(points)
            ],
            "example_tags": [theme],
        }
    )


A, B, C = row("a", 6, 4), row("b", 5, 5, -10), row("c", 8, 2, theme="theme:communication")


def met(one: HealthBenchRow, *said: bool | None) -> dict[str, bool]:
    return {item.id: x for item, x in zip(one.items, said, strict=True) if x is not None}


def test_the_published_figures() -> None:
    found = summarise(
        [
            rubric_score(A, met(A, True, False)),
            rubric_score(B, met(B, False, False, True)),
            rubric_score(C, met(C, True, True)),
        ]
    )
    assert found.overall.mean == found.overall.unclipped == pytest.approx((0.6 - 1 + 1) / 3)
    assert found.themes["hedging"].unclipped == pytest.approx(-0.2)
    assert found.themes["hedging"].mean == 0
    assert found.themes["communication"].mean == 1
    assert found.axes["accuracy"].unclipped == pytest.approx((1 - 2 + 1) / 3)
    assert found.axes["completeness"].mean == pytest.approx(1 / 3)
    assert (found.overall.tries, found.themes["hedging"].tries) == (3, 2)
    assert (found.unanswered, found.grader_errors, found.items) == (0, 0, 7)
    assert found.overall.low == found.overall.high == found.overall.mean


def test_a_grader_error_stays_in_the_denominator_with_its_range() -> None:
    found = summarise([rubric_score(A, met(A, True, None)), rubric_score(C, met(C, False, False))])
    assert found.overall.mean == pytest.approx(0.8 / 2)
    assert (found.overall.low, found.overall.high) == pytest.approx((0.3, 0.5))
    assert (found.grader_errors, found.ungraded_items, found.tries) == (1, 1, 2)


def test_unanswered_questions_stay_in_the_denominator_with_zero() -> None:
    found = summarise([rubric_score(A, met(A, True, True)), rubric_score(C, None)])
    assert found.overall.mean == found.overall.high == 0.5
    assert (found.unanswered, found.grader_errors, found.items) == (1, 0, 2)
    assert found.axes["accuracy"].mean == 0.5
    assert found.themes["communication"].mean == 0


def test_tries_of_a_question_are_one_cluster() -> None:
    tries = [rubric_score(A, met(A, True, True))] * 4 + [
        rubric_score(B, met(B, True, False, False))
    ]
    once = summarise([tries[0], tries[4]])
    assert summarise(tries).overall.interval == once.overall.interval
    assert summarise(tries).overall.mean == pytest.approx(0.9)


def test_without_tries_there_are_no_figures() -> None:
    with pytest.raises(ValueError):
        summarise([])


# --- Two graders


def test_agreement_by_hand() -> None:
    first = {"1": met(A, True, True), "2": met(A, True, False), "3": met(C, False, None)}
    second = {"1": met(A, True, True), "2": met(A, False, False), "3": met(C, False, True)}
    found = agreement([("1", A), ("2", A), ("3", C)], first, second)
    assert found.overall == Agreement(both_met=2, first_only=1, second_only=0, neither=2)
    assert found.overall.rate == pytest.approx(4 / 5)
    # By chance: 3/5 * 2/5 + 2/5 * 3/5 = 12/25, so kappa = (20/25 - 12/25) / (13/25).
    assert found.overall.kappa == pytest.approx(8 / 13)
    assert (found.first_ungraded, found.second_ungraded) == (1, 0)
    assert found.axes["accuracy"] == Agreement(both_met=1, first_only=1, neither=1)
    assert found.axes["completeness"] == Agreement(both_met=1, neither=1)
    assert found.axes["completeness"].kappa == 1


@pytest.mark.parametrize(
    ("table", "rate", "kappa"),
    [
        (Agreement(), None, None),
        (Agreement(both_met=5), 1, None),
        (Agreement(both_met=5, neither=5), 1, 1),
        (Agreement(first_only=5, second_only=5), 0, -1),
        (Agreement(both_met=4, first_only=4, second_only=4, neither=4), 0.5, 0),
        (Agreement(both_met=20, first_only=5, second_only=10, neither=15), 0.7, 0.4),
    ],
)
def test_kappa(table: Agreement, rate: float | None, kappa: float | None) -> None:
    assert table.rate == (None if rate is None else pytest.approx(rate))
    assert table.kappa == (None if kappa is None else pytest.approx(kappa))


def test_missing_grades_do_not_count_as_agreement() -> None:
    found = agreement([("1", A)], {}, {})
    assert found.overall.items == found.first_ungraded == found.second_ungraded == 0


# --- A grader and physicians


def labelled(category: str, rubric: str, *labels: tuple[str, bool]) -> MetaRow:
    return MetaRow.model_validate(
        {
            "prompt": [{"role": "user", "content": "x"}],
            "completion": "y",
            "rubric": rubric,
            "category": category,
            "binary_labels": [label for _, label in labels],
            "anonymized_physician_ids": [name for name, _ in labels],
        }
    )


def test_the_meta_evaluation_by_hand() -> None:
    rows = [
        labelled("a", "1", ("p", True), ("q", True), ("r", False)),
        labelled("a", "2", ("p", True), ("q", False)),
        labelled("b", "3", ("r", False)),
        labelled("b", "4", ("p", True)),
    ]
    tasks = [task.id for task in meta_tasks(rows)]
    said = dict(zip(tasks, (True, False, True), strict=False))
    verdicts = {"meta": {task.rpartition("/")[2]: met for task, met in said.items()}}
    found = meta_report(rows, verdicts)
    assert (found.rows, found.ungraded) == (4, 1)
    # Pairs: row 1 gives (+,+) (+,+) (+,-), row 2 (-,+) (-,-), row 3 (+,-).
    assert found.overall.agreement == Agreement(both_met=2, first_only=2, second_only=1, neither=1)
    assert found.overall.agreement.macro_f1 == pytest.approx((4 / 7 + 2 / 5) / 2)
    first = found.categories["a"]
    assert first.agreement == Agreement(both_met=2, first_only=1, second_only=1, neither=1)
    assert first.agreement.macro_f1 == pytest.approx((4 / 6 + 2 / 4) / 2)
    # p: (+,+) (+,-) (+,-); q: (+,+) (+,-) (-,+); r: (-,+) (-,+).
    assert first.physicians == pytest.approx((0, (2 / 4 + 0) / 2, (2 / 4 + 0) / 2))
    assert first.physician_mean == pytest.approx(1 / 6)
    assert first.share_reached == 1
    assert (first.agreement.first_met, first.agreement.second_met) == (3 / 5, 3 / 5)
    alone = found.categories["b"]
    assert alone.agreement.macro_f1 == 0
    assert (alone.physicians, alone.physician_mean, alone.share_reached) == ((), None, None)


def test_the_key_of_a_row_does_not_depend_on_its_position() -> None:
    rows = load_meta("samples").rows
    assert len({row.key for row in rows}) == len(rows)
    ids = {task.id for task in meta_tasks(rows)}
    assert {task.id for task in meta_tasks(rows[::-2])} < ids


def test_a_grade_applies_only_to_its_own_row() -> None:
    rows = load_meta("samples").rows
    truth = {
        task.id: row.binary_labels[0] for task, row in zip(meta_tasks(rows), rows, strict=True)
    }
    assert len(truth) == len(rows)
    shuffled = list(truth.items())
    random.Random(1).shuffle(shuffled)
    verdicts = {"meta": {task.rpartition("/")[2]: met for task, met in shuffled}}
    found = meta_report(rows, verdicts)
    assert found.ungraded == 0
    assert found.overall.agreement.both_met == sum(
        sum(row.binary_labels) for row in rows if row.binary_labels[0]
    )


def test_without_grades_physicians_are_still_reported() -> None:
    rows = load_meta("samples").rows
    found = meta_report(rows, {})
    assert found.ungraded == len(rows)
    assert found.overall.agreement.macro_f1 is None
    assert found.overall.physicians
