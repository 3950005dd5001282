"""The line of a JSON path."""

import json

import pytest

from reports.html.json_lines import line_of

BODY = {
    "id": "a",
    "choices": [
        {"message": {"content": "x\ny", "tool_calls": [{"id": 1}, {"id": 2}]}},
        {"message": {"content": "second", "täg": None}},
    ],
    "usage": {"total_tokens": 1},
}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("$", None),
        ("$.id", ' "id": "a",'),
        ("$.usage.total_tokens", '  "total_tokens": 1'),
        ("$.choices[0].message.tool_calls[1].id", '      "id": 2'),
        ("$.choices[1].message.content", '    "content": "second",'),
        ("$.choices[1].message.täg", '    "täg": null'),
        ("$.usage.prompt_tokens", ' "usage": {'),  # what is missing, where it should be
        ("$.choices[2].message", ' "choices": ['),
        ("$.other", None),
        ("usage", None),
    ],
)
def test_a_path_leads_to_the_line_of_what_it_names(path, line):
    text = json.dumps(BODY, ensure_ascii=False, indent=1)
    found = line_of(text, path)
    assert (None if found is None else text.split("\n")[found]) == line


@pytest.mark.parametrize("text", ["", "no JSON", "{}", "[1]", "{\n … 10 characters omitted …\n}"])
def test_a_text_without_such_lines_has_none(text):
    assert line_of(text, "$.usage.total_tokens") is None
