"""Names of called tools: header remains are attributed to the server, other names to the model."""

from itertools import product

import examined
import pytest
from healthy import json_response, rollout
from replies import Reply, responses_whole
from written import asked

from harness.api.parsed_rollout import parse_rollout
from harness.records.conditions import BOTH_APIS, MODES
from harness.rules.measured import measured_score
from harness.verdict.tolerances import apply_tolerances

OFFERED = ("search", "get_weather", "web_search", "run-query", "get_json")


def findings(name):
    tools = [{"type": "function", "function": {"name": each}} for each in OFFERED]
    recorded = asked(rollout([Reply(call=(name, "{}"))]), {"tools": tools})
    return {each for each in examined.findings(recorded) if each.startswith("calls.name")}


NAMES = {
    "": OFFERED,
    "calls.name.polluted": (
        "web_searchjson",
        "get_weather<|channel|>commentary",
        "get_weather<|constrain|>json",
        "functions.get_weather",
        "functions_get_weather",
        "functions.functions.search",
        "get_weathercommentary",
        "get_weather_commentary",
        "get_weather commentary json",
        "to=functions.get_weather",
        "assistant to=functions.get_weather",
        "searchcode",
        "run-query json",
    ),
    # Those that the model invents
    "calls.name.unknown": (
        *("get-weather", "getWeather", "Search", "search_code", "get_weather_json"),
        *("run_query", "get", "weather", "searches", "search.json"),
    ),
    # Those of its training
    "calls.name.built_in": (
        *("python", "browser.search", "browser.open", "container.exec"),
        *("repo_browser.print_tree", "apply_patch", "python_exec"),
    ),
}


@pytest.mark.parametrize(
    ("name", "found"), [(name, found) for found, names in NAMES.items() for name in names]
)
def test_a_name_is_offered_polluted_invented_or_of_the_training(name, found):
    assert findings(name) == {*found.split()}


@pytest.mark.parametrize(
    ("api", "mode", "empty", "severity"),
    [
        *(("chat", "non-streaming", *row) for row in ((1, "info"), (10, "warning"))),
        *((*where, 60, "error") for where in product(BOTH_APIS, MODES)),
    ],
)
def test_a_header_without_a_name_is_the_models_unless_many_are(api, mode, empty, severity):
    """The name is there, and empty in every event: nothing else is wrong with the reply."""
    tools = {"tools": [{"type": "function", "function": {"name": "search"}}]}
    scores = []
    for number in range(100):
        call = ("" if number < empty else "search", "{}")
        made = rollout(
            [Reply(call=call)], api=api, streaming=mode == "streaming", sample=str(number)
        )
        scores.append(measured_score(parse_rollout(asked(made, tools)), {"outcome": "answered"}))
    found = [finding for score in apply_tolerances(scores) for finding in score.findings]
    assert {(each.id, each.severity) for each in found} == {("calls.name.polluted", severity)}
    assert len(found) == empty


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({"type": "mcp_call", "server_label": "functions", "name": "search"}, True),
        ({"type": "custom_tool_call", "name": "search", "input": "{}"}, True),
        ({"type": "mcp_call", "server_label": "search", "name": "search"}, False),
        ({"type": "mcp_call", "server_label": "functions", "name": "json"}, False),
        ({"type": "function_call_output", "name": "search", "output": "{}"}, False),
    ],
)
def test_a_call_of_an_offered_function_as_another_item_type_is_reported(item, found):
    """A model that omits `functions.` does not call an offered function."""
    tools = [{"type": "function", "name": each} for each in OFFERED]
    body = responses_whole(Reply(text=""))
    body["output"][-1] = {"id": "x_1", "arguments": "{}", **item}
    for declared in ([], [{"type": "mcp", "server_label": "functions"}]):
        recorded = asked(
            rollout([json_response(body)], api="responses"), {"tools": tools + declared}
        )
        assert ("responses.call.item" in examined.findings(recorded)) == (found and not declared)


def test_functions_of_a_namespace_are_offered():
    """Codex sends them in addition to other functions."""
    inner = [{"type": "function", "name": "spawn_agent", "parameters": {"type": "object"}}]
    tools = [{"type": "namespace", "name": "agents", "tools": inner}]
    recorded = rollout([Reply(call=("spawn_agent", "{}"))], api="responses")
    assert examined.findings(asked(recorded, {"tools": tools})) == set()


def called(name, arguments, reasoning, wrote=None):
    """The findings on a call of one of three functions; the third has no parameters."""
    tools = [
        {"type": "function", "function": {"name": each, "parameters": {
            "type": "object", "properties": {key: {"type": "string"}}, "required": [key],
        }}}
        for each, key in (("search", "query"), ("get_weather", "city"))
    ]  # fmt: skip
    tools.append({"type": "function", "function": {"name": "status", "parameters": {}}})
    reply = Reply(call=(name, arguments), reasoning=reasoning, wrote=wrote)
    return examined.findings(asked(rollout([reply]), {"tools": tools}))


@pytest.mark.parametrize(
    ("arguments", "reasoning", "findings"),
    [
        ('{"city": "Oslo"}', "I call get_weather.", {"calls.name.polluted"}),
        ('{"city": "Oslo"}', "I call get_weather, or search.", set()),
        ('{"city": "Oslo"}', "I look it up.", set()),
        ('{"query": "Oslo"}', "I call get_weather.", set()),
        ("{}", "I call get_weather.", set()),
        ("{}", "I call status.", {"calls.name.polluted"}),
    ],
)
def test_a_call_with_the_arguments_of_another_function_is_reported(arguments, reasoning, findings):
    assert called("search", arguments, reasoning) == findings


@pytest.mark.parametrize(
    ("wrote", "findings"),
    [('{"query": "harbours of the north"}', {"calls.arguments.cut"}), ("{}", set())],
)
def test_empty_arguments_are_attributed_to_the_server_if_their_tokens_are_unexplained(
    wrote, findings
):
    assert called("search", "{}", "I look it up.", ("search", wrote)) == findings


@pytest.mark.parametrize(
    ("arguments", "closed_twice"),
    [
        ('{"query": "a"}}', True),
        ('{"query": "a"}]}', True),
        ('{"query": "a}}"}', False),
        ('{"query": "a"} }', True),
        ('{"query": {}}', False),
        ('{"query: "a"}}', False),
    ],
)
def test_a_closing_bracket_too_many_is_reported(arguments, closed_twice):
    assert ("calls.arguments.cut" in called("search", arguments, "I look it up.")) is closed_twice
