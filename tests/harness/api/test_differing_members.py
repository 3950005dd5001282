"""The members in which two request bodies differ."""

from typing import Any

import pytest

from harness.api.parsed_request import differing_members

LONG = "The code word is orchid596. Answer in a whole sentence."


@pytest.mark.parametrize(
    ("body", "other", "members"),
    [
        ({"model": "m"}, {"model": "m"}, []),
        ({"stream": True}, {"stream": False}, ["`stream` (true, there false)"]),
        ({"n": 1}, {"n": True}, ["`n` (1, there true)"]),
        ({"tools": []}, {}, ["`tools` (only here)"]),
        ({}, {"tools": None}, ["`tools` (only there)"]),
        (
            {"reasoning": {"effort": "low", "summary": None}},
            {"reasoning": {"effort": "high", "summary": None}},
            ['`reasoning.effort` ("low", there "high")'],
        ),
        (
            {"messages": [{"role": "user", "content": LONG}]},
            {"messages": [{"role": "user", "content": LONG.upper()}]},
            ["`messages[0].content`"],
        ),
        (
            {"messages": [{"role": "user"}]},
            {"messages": [{"role": "user"}, {"role": "tool", "content": LONG}]},
            ["`messages`"],
        ),
        ({"input": "é"}, {"input": ["é"]}, ['`input` ("é", there ["é"])']),
        ({"a": 1, "b": 2}, {"b": 3}, ["`a` (only here)", "`b` (2, there 3)"]),
    ],
)
def test_a_difference_is_stated_at_the_deepest_place(
    body: Any, other: Any, members: list[str]
) -> None:
    assert list(differing_members(body, other)) == members
