"""The call of a case compared with its CoT: planned values, and values only in the call."""

import json

import pytest
from healthy import rollout
from replies import Reply

from harness.api.parsed_rollout import parse_rollout
from harness.run.cases import Case
from harness.tasks.made_call import made_call

EXPECTED = {"table": "staff", "limit": 30, "at": [1, 2.5], "open": True}


@pytest.mark.parametrize(
    ("reasoning", "change", "in_cot"),
    [
        ("With limit: 30, at: [1, 2.5].", {"limit": 31}, True),
        ("With limit: 30, not 31.", {"limit": 31}, False),
        ("With limit: 300.", {"limit": 31}, False),
        ("With limit: 30.5.", {"limit": 31}, False),
        ("With limit: 30.", {"limit": 30.0}, False),  # The same number.
        ("The user wants staff.", {"table": "Staff"}, True),
        ("The user wants staff, the table Staff.", {"table": "Staff"}, False),
        ("With at: [1, 2.5].", {"at": [1, 3]}, True),
        ("With at: [1, 2.5].", {"at": [1]}, False),  # Nothing instead.
        ("With limit: 30.", {}, False),
    ],
)
def test_values_planned_in_the_cot_are_found_in_the_call(reasoning, change, in_cot):
    reply = Reply(call=("query_table", json.dumps(EXPECTED | change)), reasoning=reasoning)
    case = Case("a", "query_table", "Query it.", EXPECTED)
    found = made_call(parse_rollout(rollout([reply])), case)
    assert found.in_cot is in_cot


@pytest.mark.parametrize(
    ("city", "new_word"),
    [
        ("Zebra Bay", True),
        ("Oslo Bay", False),
        ("oslo bays", False),  # Another form of the word.
        ("Oslo", False),  # Shorter.
        ("Rome Bay", False),  # From the prompt.
        ("Oslo Gulf", False),  # From the CoT.
        ("Oslo 12", True),
        ("Oslo 30", False),
    ],
)
def test_words_that_only_the_call_has_are_found(city, new_word):
    reply = Reply(call=("find", json.dumps({"city": city})), reasoning="Oslo Bay is a gulf.")
    asked = rollout([reply])
    asked.exchanges[0].request.body["messages"] = [
        {"role": "user", "content": "Not Rome, 30 or 120."}
    ]
    found = made_call(parse_rollout(asked), Case("a", "find", "Find it.", {"city": "Oslo Bay"}))
    assert found.new_word is new_word
