"""Prescribed replies of a server over a real socket, with OpenAI's client."""

import json

import openai
import pytest
from faulty import MODEL
from scripted import ANSWER, ScriptedEngine, serving

from harness.rules.calls.preamble_probes import GROUP
from harness.rules.cot.probes import ALONE_GROUP
from harness.rules.evidence.offers import WEATHER
from reference_engine.faults.server import faulty_parts
from reference_engine.prescribed_replies import PrescribedReplies
from reference_engine.server.settings import AppSettings

(REQUEST,) = GROUP.requests("chat")
QUESTION = {"role": "user", "content": REQUEST.turns[-1].text}
FLAT = {"type": "function", "name": WEATHER.name, "parameters": WEATHER.parameters}
NESTED = {
    "type": "function",
    "function": {"name": WEATHER.name, "parameters": WEATHER.parameters},
}
CHAT = {"model": MODEL, "tools": [NESTED]}
SAID = "My analysis of your question is short, and the final commentary follows soon: "


@pytest.fixture(params=[(), ("preamble-lost",)], ids=["healthy", "preamble-lost"])
def served(request):
    """A client of a server, healthy or not, and whether a preamble arrives."""
    app = faulty_parts(request.param).app(PrescribedReplies(ScriptedEngine()), AppSettings())
    with (
        serving(app) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        yield client, not request.param


def test_the_question_of_a_probe_gets_a_preamble_and_a_call(served):
    client, healthy = served
    whole = client.chat.completions.create(messages=[QUESTION], **CHAT).choices[0].message
    with client.chat.completions.stream(messages=[QUESTION], **CHAT) as stream:
        streamed = stream.get_final_completion().choices[0].message
    for message in (whole, streamed):
        (call,) = message.tool_calls
        assert json.loads(call.function.arguments) == {"location": "Funchal"}
        assert (message.content or "").startswith(SAID) is healthy
    assert (whole.content or "") == streamed.content


def test_responses_has_an_item_for_the_preamble(served):
    client, healthy = served
    asked = {"model": MODEL, "input": [QUESTION], "tools": [FLAT]}
    reply = client.responses.create(**asked)
    with client.responses.stream(**asked) as stream:
        streamed = stream.get_final_response()
    kinds = ["reasoning", *(["message"] if healthy else []), "function_call"]
    for each in (reply, streamed):
        assert [item.type for item in each.output] == kinds
        assert each.output_text.startswith(SAID) is healthy


def test_the_question_of_a_probe_gets_a_cot_and_no_answer():
    (request,) = ALONE_GROUP.requests("chat")
    asked = [{"role": "user", "content": request.turns[-1].text}]
    app = faulty_parts(()).app(PrescribedReplies(ScriptedEngine()), AppSettings())
    with (
        serving(app) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        whole = client.chat.completions.create(model=MODEL, messages=asked).choices[0]
        with client.chat.completions.stream(model=MODEL, messages=asked) as stream:
            streamed = stream.get_final_completion().choices[0]
        reply = client.responses.create(model=MODEL, input=asked)
        with client.responses.stream(model=MODEL, input=asked) as events:
            final = events.get_final_response()
    for choice in (whole, streamed):
        assert choice.finish_reason == "stop"
        assert not choice.message.content
        assert choice.message.reasoning.startswith("The user wants a table of tides.")
    for response in (reply, final):
        assert [item.type for item in response.output] == ["reasoning"]
        assert response.output_text == ""


@pytest.mark.parametrize(
    "fields", [{"logprobs": True}, {"messages": [{**QUESTION, "content": "?"}]}]
)
def test_other_requests_are_answered_by_the_model(fields):
    with (
        serving(
            faulty_parts(()).app(PrescribedReplies(ScriptedEngine(ANSWER)), AppSettings())
        ) as url,
        openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        body = {"messages": [QUESTION], **CHAT, **fields}
        assert client.chat.completions.create(**body).choices[0].message.content == "Hello there."


def test_a_result_after_the_question_is_answered_by_the_model(served):
    client, _ = served
    message = client.chat.completions.create(messages=[QUESTION], **CHAT).choices[0].message
    (call,) = message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    after = client.chat.completions.create(messages=[QUESTION, message, result], **CHAT)
    assert after.choices[0].message.content == "Hello there."
