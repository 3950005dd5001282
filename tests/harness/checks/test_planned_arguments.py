"""Arguments of a call compared with those that the CoT states."""

import json

import pytest
from examined import details, findings
from healthy import rollout
from mutations import chat, nothing
from replies import Reply

PLAN = {"location": "Lisbon", "days": 3, "exact": True, "unit": None, "tags": [1], "note": ""}


def retyped(made, planned=PLAN, said="I call it with {}."):
    reasoning = said.format(json.dumps(planned))
    reply = Reply(call=("get_weather", json.dumps(made)), reasoning=reasoning)
    found = details(rollout([reply]))
    return "calls.arguments.retyped" in {each.id for each in found}


@pytest.mark.parametrize(
    "change",
    [{"days": "3"}, {"exact": "true"}, {"exact": "True"}, {"unit": "null"}, {"unit": ""},
     {"days": "3", "exact": "true"}, {"tags": "[1]"}, {"tags": 1}],
)  # fmt: skip
def test_values_that_became_strings_are_reported(change):
    assert retyped(PLAN | change)


@pytest.mark.parametrize(
    "change",
    [{}, {"days": 4}, {"days": "three"}, {"location": "Porto"}, {"tags": "[2]"}, {"tags": 2},
     {"note": None}, {"days": "3", "location": "Porto"}],
)  # fmt: skip
def test_unplanned_arguments_are_attributed_to_the_model(change):
    assert not retyped(PLAN | change)


def test_without_a_plan_nothing_is_judged():
    made = PLAN | {"days": "3"}
    assert not retyped(made, planned={"days": 3})
    assert not retyped(made, said="I call it. {{}}")


def test_without_a_plan_the_schema_decides():
    kinds = {"days": {"type": "integer"}, "towns": {"type": "array", "items": {"type": "string"}}}
    number = {"type": "object", "properties": kinds}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": number}}]

    def found(arguments):
        recorded = chat(nothing, Reply(call=("get_weather", arguments)), {"tools": tools})
        return "calls.arguments.retyped" in findings(recorded)

    assert found('{"days": "3"}')
    assert not found('{"days": 3}')
    assert not found('{"days": "three"}')
    assert found('{"towns": "Faro"}')
    assert not found('{"towns": ["Faro"]}')
    assert not found('{"towns": null}')
    assert not found('{"towns": 3}')


def test_the_last_plan_decides():
    made = {"days": "3"}
    said = 'First {{"days": 3}}, but the tool wants a string: {}'
    assert not retyped(made, planned=made, said=said)


def test_braces_that_are_not_json_are_skipped():
    assert retyped({"days": "3"}, planned={"days": 3}, said="The set {{1, 2}} {{ and then {}")
