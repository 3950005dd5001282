"""Arguments that the server changed: by the tokens of the call, and by values of several cases."""

from __future__ import annotations

import json
from dataclasses import replace

from harness.checks.changed_calls import COMPARISON
from harness.records.conditions import Condition
from harness.records.scores import MadeCall, Score

CHAT = Condition(model="m", api="chat", mode="non-streaming")
RIGHT = MadeCall(0, '{"city": "Oslo"}', '{"city": "Oslo"}', same=True, values=False, beside=4)
SHORT = replace(RIGHT, got='{"city": "Os"}', same=False)


def scores(*calls: MadeCall, sample: str = "a") -> list[Score]:
    return [
        Score(f"{sample}{at}", "tool_calling", sample, CHAT, at, "success", call=call)
        for at, call in enumerate(calls, start=1)
    ]


def found(examined: list[Score]) -> set[str]:
    return set(COMPARISON.findings(examined))


def test_calls_with_the_tokens_of_the_expected_call_are_found() -> None:
    right = scores(*[RIGHT] * 20, *[replace(RIGHT, beside=3)] * 8)
    lost = replace(SHORT, beside=6, beside_expected=(4, 3))
    model = replace(SHORT, beside=4, beside_expected=(2, 1))
    either = replace(SHORT, beside=4, beside_expected=(4, 4))
    other = scores(lost, model, sample="c")
    assert found(right + scores(lost, lost, model, either, sample="b") + other) == {
        "b1",
        "b2",
        "c1",
    }
    assert (
        found(right + scores(lost, lost, sample="b")) == set()
    )  # One case, spelled in an odd way.
    assert found(right + scores(lost, model, sample="b")) == set()
    assert found(right[:10] + scores(lost, lost, sample="b")) == set()


def test_values_that_differ_in_every_attempt_at_three_cases_are_found() -> None:
    other = replace(SHORT, values=True, beside=None)
    always, often = scores(other, other, other), scores(other, other, RIGHT, sample="b")
    assert found(always + often) == set()
    again = scores(other, other, other, sample="c")
    assert found(always + often + again) == set()
    third = scores(other, other, other, sample="d")
    records = {f"{sample}{at}" for sample in "acd" for at in (1, 2, 3)}
    assert found(always + often + again + third) == records


def test_names_of_parameters_that_all_have_another_style_are_found() -> None:
    def named(*names: str, got: tuple[str, ...]) -> MadeCall:
        expected, made = (json.dumps(dict.fromkeys(each, 1)) for each in (names, got))
        return replace(RIGHT, expected=expected, got=made, same=names == got)

    due = named("due_date", "to", got=("dueDate", "to"))
    ship, kept = named("ship_id", got=("shipId",)), named("ship_id", got=("ship_id",))
    assert found(scores(due, ship, RIGHT)) == {"a1", "a2"}
    assert found(scores(due, due)) == set()  # One name: the model may have corrected it.
    assert found(scores(due, ship, kept)) == set()
    assert found(scores(named("from_", got=("from",)), named("to_", got=("to",)))) == set()
