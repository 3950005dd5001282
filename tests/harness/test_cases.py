"""Tool-call cases and tools: the shipped files, files of users, and the selection of cases."""

import json
from collections import Counter

import pytest

from harness.api.tools import DEFAULT_OUTPUT, parse_tools
from harness.errors import ConfigurationError
from harness.records.runs import RunSettings
from harness.run.cases import load_suite, parse_cases, planned_cases

SUITE = load_suite()


def line(**changes):
    row = {
        "tool_name": "get_weather",
        "input": "Weather?",
        "expected_arguments": '{"location":"X"}',
    }
    return json.dumps(row | changes)


def test_there_are_enough_shipped_cases_for_every_tool():
    assert len(SUITE.cases) >= 36
    assert SUITE.bad_lines == ()
    assert set(Counter(case.tool_name for case in SUITE.cases).values()) == {6}


def test_the_shipped_cases_are_of_every_kind():
    arguments = [case.expected_arguments for case in SUITE.cases]
    texts = [str(value) for given in arguments for value in given.values()]
    assert {} in arguments
    assert any("\n" in text for text in texts)
    assert any('"' in text for text in texts)
    assert any(not text.isascii() for text in texts)
    assert any(given.get("limit") == 1000 for given in arguments)
    assert any(isinstance(given.get("data"), list) for given in arguments)
    assert any("unit" not in given for given in arguments if "location" in given)


def test_expected_text_arguments_occur_in_the_prompt():
    for case in SUITE.cases:
        for value in case.expected_arguments.values():
            if isinstance(value, str):
                assert value in case.prompt, case.id


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "not JSON: it is nested too deeply"),
        (line(input="\ud800"), "input contains a lone surrogate"),
        (line(expected_arguments='{"location": NaN}'), "NaN is not a JSON value"),
        (line(tool_name="fly"), "not in the tools file"),
        (line(input=" "), "input must be a non-empty string"),
        (line(expected_arguments="{"), "expected_arguments is not JSON"),
        (line(expected_arguments="[1]"), "must be a JSON object"),
        (line(expected_arguments="{}"), "do not match the schema of get_weather"),
        (line(extra=1), "unknown key 'extra'"),
        (line(id="a/b"), "id must consist of"),
        (line(instructions=3), "instructions must be a non-empty string"),
    ],
)
def test_a_bad_line_is_reported_with_its_number_and_the_rest_is_kept(bad, reason):
    good, lines = parse_cases(f"{line()}\n\n{bad}\n{line(input='Other?')}", SUITE.tools)
    assert [case.prompt for case in good] == ["Weather?", "Other?"]
    assert [(found.number, reason in found.reason) for found in lines] == [(3, True)]


def test_ids_are_stable_and_a_case_counts_once():
    good, bad = parse_cases(f"{line()}\n{line()}\n{line(id='mine')}", SUITE.tools)
    assert [case.id for case in good] == ["get_weather-483ca9ab", "mine"]
    assert bad[0].number == 2
    assert "twice" in bad[0].reason


def test_line_separators_inside_a_json_string_do_not_split_a_line():
    text = json.dumps({"location": "a\u2028b"}, ensure_ascii=False)
    good, bad = parse_cases(line(expected_arguments=text).replace("\\u2028", "\u2028"), SUITE.tools)
    assert (len(good), bad) == (1, ())


def test_files_are_loaded_and_hashed(tmp_path):
    cases = tmp_path / "cases.jsonl"
    cases.write_text("\ufeff" + line() + "\n", encoding="utf-8")
    suite = load_suite(cases)
    assert [case.prompt for case in suite.cases] == ["Weather?"]
    assert suite.cases_file.name == str(cases)
    assert len(suite.cases_file.sha256) == 64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file"),
        (b"", "has no valid case. It is empty."),
        (b"{", "has no valid case. Line 1: not JSON"),
        (b"\xff", "cannot be read"),
    ],
)
def test_an_unusable_case_file_is_rejected(tmp_path, content, message):
    path = tmp_path / "cases.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        load_suite(path)


def test_the_first_cases_are_selected():
    assert SUITE.first(2).cases == SUITE.cases[:2]
    assert SUITE.first(None) is SUITE


@pytest.mark.parametrize("count", range(1, 37))
def test_a_limited_number_of_cases_is_spread_over_tools(count):
    chosen = SUITE.spread(count).cases
    per_tool = Counter(case.tool_name for case in chosen)
    assert len(chosen) == count
    assert len(per_tool) == min(count, len(SUITE.tools))
    assert max(per_tool.values()) - min(per_tool.values()) <= 1
    assert all(case in chosen for case in SUITE.spread(count - 1).cases)


def test_a_spread_prefers_different_kinds_of_cases():
    few = SUITE.spread(8).cases
    assert any(case.instructions for case in few)
    assert any(not case.prompt.isascii() for case in few)
    assert any('"' in next(iter(case.expected_arguments.values()), "") for case in few)
    assert SUITE.spread(None) is SUITE


def test_a_run_of_an_older_version_has_the_first_cases():
    settings = RunSettings(apis=("chat",), modes=("streaming",), concurrency=1, first_cases=2)
    assert planned_cases(SUITE, settings).cases == SUITE.cases[:2]
    named = settings.model_copy(update={"case_ids": (SUITE.cases[7].id, SUITE.cases[3].id)})
    assert planned_cases(SUITE, named).cases == (SUITE.cases[3], SUITE.cases[7])


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "f", "description": "d", "parameters": {"type": "object"}, "output": "x"},
        {"type": "function", "function": {"name": "f", "description": "d",
                                          "parameters": {"type": "object"}}, "output": "x"},
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"},
         "output": "x"},
    ],
)  # fmt: skip
def test_tools_are_read_in_every_common_format(entry):
    (tool,) = parse_tools(json.dumps([entry]), "tools.json")
    assert (tool.name, tool.description, tool.parameters, tool.output) == (
        "f", "d", {"type": "object"}, "x",
    )  # fmt: skip


def test_optional_parts_of_a_tool_may_be_missing():
    tools = parse_tools('[{"name": "f"}, {"name": "g", "output": {"a": 1}}]', "tools.json")
    assert [tool.output for tool in tools] == [DEFAULT_OUTPUT, '{"a": 1}']
    assert tools[0].parameters == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "must be a JSON list"),
        ("[]", "at least one tool"),
        ("[1]", "Tool 1 of tools.json must be a JSON object"),
        ('[{"name": "a b"}]', "name must be"),
        ('[{"name": "f"}, {"name": "f"}]', "two tools of the same name"),
        ('[{"name": "f", "description": 1}]', "description must be a string"),
        ('[{"name": "f", "parameters": 1}]', "must be a JSON schema"),
        ('[{"name": "f", "parameters": {"type": 3}}]', "is not a JSON schema"),
        ('[{"name": "f", "parameters": {"type": "object", "type": "array"}}]', "'type' twice"),
        ('[{"function": 1}]', "function must be"),
        ('[{"name": "f", "parameters": {"$ref": "#/$defs/a"}}]', "'/\\$defs/a' does not exist"),
        (
            '[{"name": "f", "parameters": {"$ref": "http://127.0.0.1:9/a"}}]',
            "is not a JSON schema that can be used: ",
        ),
        (
            '[{"name": "f", "parameters": {"$ref": "http://[x"}}]',
            "is not a JSON schema that can be used: ",
        ),
        (
            '[{"name": "f", "parameters": {"$dynamicRef": "#nope"}}]',
            "is not a JSON schema that can be used: ",
        ),
        ('[{"name": "f", "parameters": {"maximum": 99999999999999999999}}]', "cannot be sent"),
        ('[{"name": "f", "parameters": {"default": NaN}}]', "is not JSON: NaN"),
        ('[{"name": "f", "description": "\\ud800"}]', "cannot be sent as JSON"),
        ('[{"name": "f", "output": "\\ud800"}]', "cannot be sent as JSON"),
        ("[" * 100_000, "is not JSON: it is nested too deeply"),
        ('[{"name": "f", "parameters": ' + '{"not": ' * 120 + "{}" + "}" * 121 + "]", "deeper"),
    ],
)
def test_unusable_tools_are_rejected(text, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_tools(text, "tools.json")
