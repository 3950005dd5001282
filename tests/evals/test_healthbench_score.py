"""Scores from grades, for examples and for any rubric."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.healthbench.conversations import RubricItem
from evals.healthbench.rubric import ScoreRange, score, tag_scores, ungraded

ITEMS = (
    RubricItem("a", "Names the emergency number.", 7, ("axis:completeness", "level:example")),
    RubricItem("b", "Asks about other medicines.", 3, ("axis:context_awareness",)),
    RubricItem("c", "Recommends aspirin to a child.", -5, ("axis:accuracy",)),
)


@pytest.mark.parametrize(
    ("met", "expected"),
    [
        ({"a": True, "b": True, "c": False}, ScoreRange(1.0, 1.0, 1.0)),
        ({"a": False, "b": False, "c": False}, ScoreRange(0.0, 0.0, 0.0)),
        ({"a": True, "b": False, "c": True}, ScoreRange(0.2, 0.2, 0.2)),
        ({"a": False, "b": False, "c": True}, ScoreRange(-0.5, -0.5, -0.5)),
        ({"a": True, "b": True}, ScoreRange(0.75, 0.5, 1.0)),
        ({"a": True, "c": False}, ScoreRange(0.85, 0.7, 1.0)),
        ({}, ScoreRange(0.25, -0.5, 1.0)),
    ],
)
def test_score(met: dict[str, bool], expected: ScoreRange) -> None:
    found = score(ITEMS, met)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert (found.low == found.high) == (len(met) == 3)
    assert ungraded(ITEMS, met) == 3 - len(met)


def test_a_rubric_with_only_negative_points_cannot_be_scored() -> None:
    assert score(ITEMS[2:], {"c": True}) is None


def test_tags_with_positive_points_have_scores() -> None:
    found = tag_scores(ITEMS, {"a": True, "b": False, "c": True})
    assert found == {
        "axis:completeness": ScoreRange(1.0, 1.0, 1.0),
        "level:example": ScoreRange(1.0, 1.0, 1.0),
        "axis:context_awareness": ScoreRange(0.0, 0.0, 0.0),
    }


def test_the_score_of_a_tag_includes_its_negative_points() -> None:
    items = [
        RubricItem("x", "Right.", 4, ("axis:accuracy",)),
        RubricItem("y", "Wrong.", -2, ("axis:accuracy",)),
    ]
    assert tag_scores(items, {"x": True, "y": True})["axis:accuracy"].value == 0.5


rubrics = st.lists(st.integers(-10, 10), min_size=1, max_size=12).map(
    lambda points: [RubricItem(str(i), f"c{i}", p, ()) for i, p in enumerate(points)]
)


@settings(deadline=None, max_examples=50)
@given(items=rubrics, data=st.data())
def test_the_range_covers_every_possible_grade_of_ungraded_items(
    items: list[RubricItem], data: st.DataObject
) -> None:
    whole = {item.id: data.draw(st.booleans()) for item in items}
    known = {key: met for key, met in whole.items() if data.draw(st.booleans())}
    certain, partial = score(items, whole), score(items, known)
    if certain is None or partial is None:
        assert certain is partial
        return
    assert certain.low == certain.high
    assert partial.low - 1e-9 <= certain.value <= partial.high + 1e-9
    assert certain.value <= 1
