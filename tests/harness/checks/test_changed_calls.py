"""Arguments changed by the server, found by the tokens of calls and by values of several cases."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.records.conditions import Condition
from harness.records.scores import Score
from harness.records.traits import MadeCall, Traits
from harness.rules.calls.changed import changed_calls

CHAT = Condition(model="m", api="chat", mode="non-streaming")
RIGHT = MadeCall(
    0, '{"city": "Oslo"}', '{"city": "Oslo"}', same=True, values_differ=False, extra_tokens=4
)
SHORT = replace(RIGHT, got='{"city": "Os"}', same=False)


def scores(*calls: MadeCall, sample: str = "a") -> list[Score]:
    return [
        Score(
            f"{sample}{at}", "tool_calling", sample, CHAT, at, "success", traits=Traits(call=call)
        )
        for at, call in enumerate(calls, start=1)
    ]


def found(examined: list[Score]) -> set[str]:
    return set(changed_calls.findings(examined))


def test_calls_with_the_tokens_of_the_expected_call_are_found() -> None:
    right = scores(*[RIGHT] * 20, *[replace(RIGHT, extra_tokens=3)] * 8)
    lost = replace(SHORT, extra_tokens=6, expected_extra_tokens=(4, 3))
    model = replace(SHORT, extra_tokens=4, expected_extra_tokens=(2, 1))
    either = replace(SHORT, extra_tokens=4, expected_extra_tokens=(4, 4))
    other = scores(lost, model, sample="c")
    assert found(right + scores(lost, lost, model, either, sample="b") + other) == {
        "b1",
        "b2",
        "c1",
    }
    # One case with an unusual tokenization.
    assert found(right + scores(lost, lost, sample="b")) == set()
    assert found(right + scores(lost, model, sample="b")) == set()
    assert found(right[:10] + scores(lost, lost, sample="b")) == set()


def test_values_that_differ_in_every_attempt_at_three_cases_are_found() -> None:
    other = replace(SHORT, values_differ=True, extra_tokens=None, in_prompt=True)
    always, often = scores(other, other, other), scores(other, other, RIGHT, sample="b")
    assert found(always + often) == set()
    again = scores(other, other, other, sample="c")
    assert found(always + often + again) == set()
    third = scores(other, other, other, sample="d")
    records = {f"{sample}{at}" for sample in "acd" for at in (1, 2, 3)}
    assert found(always + often + again + third) == records
    unasked = scores(*[replace(other, in_prompt=False)] * 3, sample="d")  # The case may be wrong.
    assert found(always + again + unasked) == set()
    right = scores(*[RIGHT] * 20, sample="e")
    written = replace(other, extra_tokens=4, expected_extra_tokens=(2,))
    own = scores(written, written, written, sample="d")  # The tokens are those of the call.
    assert found(always + again + own + right) == set()


def test_parameter_names_changed_to_another_style_are_found() -> None:
    def named(*names: str, got: tuple[str, ...]) -> MadeCall:
        expected, made = (json.dumps(dict.fromkeys(each, 1)) for each in (names, got))
        return replace(RIGHT, expected=expected, got=made, same=names == got)

    due = named("due_date", "to", got=("dueDate", "to"))
    ship, kept = named("ship_id", got=("shipId",)), named("ship_id", got=("ship_id",))
    assert found(scores(due, ship, RIGHT)) == {"a1", "a2"}
    assert found(scores(due, due)) == set()  # One name: the model may have corrected it.
    assert found(scores(due, ship, kept)) == set()
    assert found(scores(named("from_", got=("from",)), named("to_", got=("to",)))) == set()


def test_numbers_that_differ_from_the_cot_are_found_if_other_attempts_match_it() -> None:
    off = replace(SHORT, values_differ=True, in_cot=True, extra_tokens=None)
    cases = [scores(RIGHT, off, sample=sample) for sample in "abc"]
    assert found([each for case in cases for each in case]) == {"a2", "b2", "c2"}
    assert found(cases[0] + cases[1]) == set()
    alone = scores(off, off, sample="c")  # The model may always read this case in its own way.
    assert found(cases[0] + cases[1] + alone) == set()
    unplanned = scores(RIGHT, replace(off, in_cot=False), sample="c")
    assert found(cases[0] + cases[1] + unplanned) == set()
    phrased = scores(RIGHT, replace(off, values_differ=False), sample="c")
    assert found(cases[0] + cases[1] + phrased) == set()


def test_invented_words_are_found_if_the_tokens_fit_the_word_in_the_cot() -> None:
    off = replace(SHORT, in_cot=True, new_word=True, expected_extra_tokens=(4, 5))
    cases = [score for sample in "ab" for score in scores(RIGHT, off, sample=sample)]
    assert found(cases + scores(RIGHT, off, sample="c")) == {"a2", "b2", "c2"}
    known = replace(off, new_word=False)  # The model may prefer another word of the prompt.
    written = replace(off, expected_extra_tokens=(3,))  # The tokens are those of the other word.
    rare = scores(*[RIGHT] * 150, sample="d")
    assert found(rare + cases + scores(RIGHT, off, sample="c")) == set()
    for other in (known, written, replace(off, in_cot=False), replace(off, extra_tokens=None)):
        assert found(cases + scores(RIGHT, other, sample="c")) == set()


def made(expected: dict[str, object], got: dict[str, object], *, in_cot: bool = True) -> MadeCall:
    """A call with these arguments."""
    texts = (json.dumps(each) for each in (expected, got))
    return MadeCall(
        0, *texts, same=expected == got, values_differ=False, extra_tokens=None, in_cot=in_cot
    )


def test_another_order_of_a_list_is_named() -> None:
    names = [{"names": ["zoe", "ann", str(at)], "more": [str(at), "b", "a"]} for at in range(3)]
    for order, named in ((sorted, True), (lambda entries: ["x"], False)):
        calls = [
            [made(each, {name: [*order(value)] for name, value in each.items()})] for each in names
        ]
        messages = [e.message for e in changed_calls.findings(cases(*calls)).values()]
        assert {"order of a list" in message for message in messages} <= {named}
        assert bool(messages) or not named


EXPECTED: dict[str, dict[str, object]] = {
    "a": {"city": "oslo bay", "names": ["ann"]},
    "b": {"city": "rome"},
    "c": {"unit": "kelvin", "at": 3},
}


def changed_to(change: Callable[[str], str], **options: bool) -> list[Score]:
    """A call for each case with this change to its texts."""

    def mapped(value: object) -> object:
        if isinstance(value, list):
            return [mapped(each) for each in value]
        return change(value) if isinstance(value, str) else value

    return [
        score
        for sample, wanted in EXPECTED.items()
        for score in scores(
            made(wanted, {name: mapped(value) for name, value in wanted.items()}, **options),
            sample=sample,
        )
    ]


@pytest.mark.parametrize("change", [str.upper, str.title, lambda t: t[:1].upper() + t[1:]])
def test_texts_changed_by_the_same_rule_are_found(change: Callable[[str], str]) -> None:
    changed = changed_to(change)
    assert found(changed) == {"a1", "b1", "c1"}
    assert found(changed[:2]) == set()  # Two cases: the model may have corrected them.
    assert found([changed[1], *scores(*[changed[1].traits.call] * 3, sample="d")]) == set()
    intact = scores(made(EXPECTED["b"], EXPECTED["b"]), sample="e")
    assert found(changed + intact) == set()
    assert found(changed_to(change, in_cot=False)) == set()


def test_texts_cut_at_one_length_are_found() -> None:
    cut = changed_to(lambda text: text[:3], in_cot=False)
    at_end = scores(made({"city": "rio de"}, {"city": "rio"}), sample="d")
    assert found(cut + at_end) == {"a1", "b1", "c1", "d1"}
    whole = scores(made({"city": "Rome"}, {"city": "Rome"}), sample="e")
    assert found(cut + whole) == set()
    words = [
        score
        for sample, name in zip("abc", ("city", "unit", "city"), strict=True)
        for score in scores(made({name: "rio de"}, {name: "rio"}), sample=sample)
    ]
    assert found(words) == set()  # The model may have shortened them.


def test_swapped_texts_are_found() -> None:
    pairs = [("from", "to"), ("unit", "city"), ("from", "to")]
    moved = [
        score
        for sample, (one, other) in zip("abc", pairs, strict=True)
        for score in scores(
            made({one: sample, other: "x"}, {one: "x", other: sample}, in_cot=False), sample=sample
        )
    ]
    assert found(moved) == {"a1", "b1", "c1"}
    assert found([moved[0], moved[2]]) == set()
    kept = scores(made({"from": "x", "to": "y"}, {"from": "x", "to": "y"}), sample="d")
    assert found(moved + kept) == set()


def filled(*values: object, absent: tuple[str, ...] = ("unit", "day"), tokens: int | None = None):
    """Calls with these values of the absent optional parameters; `...` leaves them out."""
    return [
        replace(
            RIGHT,
            got=json.dumps(
                {"city": "Oslo"} | ({} if value is ... else dict.fromkeys(absent, value))
            ),
            same=value is ...,
            absent=absent,
            extra_tokens=tokens,
        )
        for value in values
    ]


def cases(*made: list[MadeCall]) -> list[Score]:
    return [each for at, calls in enumerate(made) for each in scores(*calls, sample="abcdef"[at])]


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_absent_parameters_with_one_empty_value_in_all_calls_are_found(empty: object) -> None:
    every = cases(filled(empty, empty), filled(empty), filled(empty), [RIGHT])
    assert found(every) == {"a1", "a2", "b1", "c1"}


@pytest.mark.parametrize(
    "made",
    [
        [filled(None), filled(None), filled(None, ...)],  # The model writes some itself.
        [filled(None), filled(None)],
        [filled(None), filled(""), filled(None)],
        [filled(None, absent=("unit",))] * 3,  # One parameter may be misunderstood.
        [filled("today"), filled("today"), filled("today")],
        [filled(...), filled(...), filled(...)],
    ],
)
def test_empty_values_that_a_model_may_write_are_not_found(made: list[list[MadeCall]]) -> None:
    assert found(cases(*made)) == set()


def test_empty_values_whose_tokens_the_model_wrote_are_not_found() -> None:
    """A grammar of the server may require all parameters."""
    own = [replace(each, expected_extra_tokens=(9,)) for each in filled(None, tokens=4)]
    assert found(cases(own, own, own, [RIGHT] * 20)) == set()


def test_calls_of_all_conditions_show_the_usual_tokens() -> None:
    lost = replace(SHORT, extra_tokens=6, expected_extra_tokens=(4, 3))
    affected = scores(*[RIGHT] * 5, lost, sample="b") + scores(*[RIGHT] * 5, lost, sample="c")

    def over_responses(extra: int) -> list[Score]:
        condition = Condition(model="m", api="responses", mode="streaming")
        same = scores(*[replace(RIGHT, extra_tokens=extra)] * 13, sample="d")
        return [replace(each, condition=condition, record=f"r{each.record}") for each in same]

    assert found(affected + over_responses(4)) == {"b6", "c6"}
    assert found(affected + over_responses(7)) == set()
