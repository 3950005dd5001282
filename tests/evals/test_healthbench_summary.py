"""The figures of an eval from the scores of its attempts."""

import pytest

from evals.healthbench.conversations import HealthBenchRow
from evals.healthbench.rubric import rubric_score, summarise


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
