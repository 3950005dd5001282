"""Scores of answers from grades, and the figures of an eval from these scores."""

import pytest

from evals.grading.graded_eval import RubricItem
from evals.grading.rubric import Rubrics, rubric_score, score
from evals.healthbench import HealthBenchRow

ITEMS = (
    RubricItem("a", "Names the emergency number.", 7, ("axis:completeness", "level:example")),
    RubricItem("b", "Asks about other medicines.", 3, ("axis:context_awareness",)),
    RubricItem("c", "Recommends aspirin to a child.", -5, ("axis:accuracy",)),
)


@pytest.mark.parametrize(
    ("met", "expected"),
    [
        ({"a": True, "b": True, "c": False}, 1.0),
        ({"a": False, "b": False, "c": False}, 0.0),
        ({"a": True, "b": False, "c": True}, 0.2),
        ({"a": False, "b": False, "c": True}, -0.5),
    ],
)
def test_score(met: dict[str, bool], expected: float) -> None:
    assert score(ITEMS, met) == pytest.approx(expected)


# --- The figures of an eval


def summarise(attempts):
    found = Rubrics()
    for attempt in attempts:
        found.add(attempt)
    return found.summary()


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


def test_tags_with_positive_points_have_scores() -> None:
    row = HealthBenchRow.model_validate(
        {
            "prompt_id": "a",
            "prompt": [{"role": "user", "content": "Why?"}],
            "rubrics": [
                {"criterion": "Right.", "points": 4, "tags": ["axis:accuracy", "level:example"]},
                {"criterion": "Wrong.", "points": -2, "tags": ["axis:accuracy"]},
                {"criterion": "Asks.", "points": 3, "tags": ["axis:context_awareness"]},
                {"criterion": "Harms.", "points": -5, "tags": ["axis:harm"]},
            ],
        }
    )
    found = rubric_score(row, met(row, True, True, False, True))
    assert found.tags == {
        "axis:accuracy": 0.5,
        "level:example": 1.0,
        "axis:context_awareness": 0.0,
    }


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
    assert (found.themes["hedging"].mean, found.themes["communication"].mean) == (0, 1)
    assert found.axes["accuracy"].unclipped == pytest.approx((1 - 2 + 1) / 3)
    assert found.axes["completeness"].mean == pytest.approx(1 / 3)
    assert (found.overall.tries, found.themes["hedging"].tries) == (3, 2)
    assert (found.unanswered, found.grader_errors, found.items) == (0, 0, 7)


def test_attempts_with_ungraded_items_are_counted_and_in_no_figure() -> None:
    part = rubric_score(A, met(A, True, None))
    found = summarise([part, rubric_score(C, met(C, True, False))])
    assert (found.overall.mean, found.overall.tries) == (0.8, 1)
    assert (found.grader_errors, found.ungraded_items, found.tries) == (1, 1, 2)
    nothing = summarise([part, rubric_score(C, {})])
    assert (nothing.overall, nothing.tags, nothing.ungraded_items) == (None, {}, 3)


def test_unanswered_questions_stay_in_the_denominator_with_zero() -> None:
    found = summarise([rubric_score(A, met(A, True, True)), rubric_score(C, None)])
    assert found.overall.mean == 0.5
    assert (found.unanswered, found.grader_errors, found.items) == (1, 0, 2)
    assert (found.axes["accuracy"].mean, found.themes["communication"].mean) == (0.5, 0)


def test_tries_of_a_question_are_one_cluster() -> None:
    tries = [rubric_score(A, met(A, True, True))] * 4 + [
        rubric_score(B, met(B, True, False, False))
    ]
    once = summarise([tries[0], tries[4]])
    assert summarise(tries).overall.interval == once.overall.interval
    assert summarise(tries).overall.mean == pytest.approx(0.9)
