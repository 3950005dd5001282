"""Ids of calls in the history of a recorded request are the client's; only new ones are judged."""

import json

import pytest
from examined import findings
from healthy import json_response, rollout
from replies import Reply, chat_whole, responses_whole
from written import asked

from harness.records.rollouts import Recording

CALL = Reply(call=("get_weather", '{"location": "Lisbon"}'))


def _call(call_id):
    function = {"name": "get_weather", "arguments": json.dumps({"location": "Lisbon"})}
    return {"id": call_id, "type": "function", "function": function}


def _history(*ids):
    """Earlier turns with calls of these ids, as a client sends them back."""
    turns = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    for call_id in ids:
        turns += [
            {"role": "assistant", "content": None, "tool_calls": [_call(call_id)]},
            {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
        ]
    return {"messages": turns}


@pytest.mark.parametrize(
    ("earlier", "new", "found"),
    [
        (("call_1", "call_1"), "call_2", False),  # The client repeated them.
        (("get_weather:0",), "get_weather:1", False),
        (("get_weather:0",), "get_weather:0", True),
    ],
)
def test_only_an_id_that_the_server_repeats_is_reported(earlier, new, found):
    body = chat_whole(CALL)
    body["choices"][0]["message"]["tool_calls"][0]["id"] = new
    recorded = asked(rollout([json_response(body)], task="traffic"), _history(*earlier))
    recorded = recorded.model_copy(update={"recording": Recording(source="a.har")})
    assert ("calls.id.repeated" in findings(recorded)) == found


@pytest.mark.parametrize("place", ["Lisbon", "Porto"])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_parallel_calls_of_a_turn_have_ids_of_their_own(api, place):
    calls = [("call_1", '{"location": "Lisbon"}'), ("call_1", json.dumps({"location": place}))]
    turns = [
        {"type": "function_call", "call_id": call_id, "name": "get_weather", "arguments": given}
        for call_id, given in calls
    ]
    if api == "chat":
        made = [{**_call(i), "function": {"name": "f", "arguments": given}} for i, given in calls]
        turns = [{"role": "assistant", "content": None, "tool_calls": made}]
    said = chat_whole if api == "chat" else responses_whole
    recorded = rollout([json_response(said(Reply(text="Sunny.")))], api=api, task="traffic")
    history = {"messages" if api == "chat" else "input": [{"role": "user", "content": "?"}, *turns]}
    recorded = asked(recorded, history)
    recorded = recorded.model_copy(update={"recording": Recording(source="a.har")})
    assert ("calls.id.repeated" in findings(recorded)) == (place == "Porto")
