"""Additional options of real clients: accepted if harmless, otherwise rejected by name."""

import json

import httpx
import openai
import pytest
from openai.types.responses import EasyInputMessage, Response, ResponseItem
from pydantic import TypeAdapter
from scripted import ANSWER, CALL, CHAT_TOOL, FLAT_TOOL, ScriptedEngine, sdk_client

MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}
OTHER = {"type": "function", "name": "other", "parameters": {"type": "object"}}
CHAT_OTHER = {"type": "function", "function": {"name": "other"}}
TEAM = {"type": "namespace", "name": "team", "description": "", "tools": [FLAT_TOOL]}
ALLOWED = {
    "type": "allowed_tools",
    "mode": "required",
    "tools": [{"type": "function", "name": "get_weather"}],
}
CHAT_ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {
        "mode": "auto",
        "tools": [{"type": "function", "function": {"name": "get_weather"}}],
    },
}


@pytest.fixture(scope="module")
def served():
    engine = ScriptedEngine(CALL)
    with sdk_client(engine) as client:
        yield engine, client


@pytest.fixture
def engine(served):
    """It calls a function in each reply, unless a test changes its script."""
    served[0].script = lambda *_: CALL
    return served[0]


def test_functions_of_a_namespace_are_offered_and_called_with_it(client, engine):
    reply = client.responses.create(model=MODEL, input="Hi", tools=[TEAM])
    assert "type get_weather" in engine.prompts[-1]
    call = reply.output[-1]
    assert (call.name, call.namespace) == ("get_weather", "team")
    assert reply.tools[0].tools[0].name == "get_weather"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    again = client.responses.create(model=MODEL, input=[USER, *reply.output, result], tools=[TEAM])
    assert again.status == "completed"
    with client.responses.stream(model=MODEL, input="Hi", tools=[TEAM]) as stream:
        added = [event.item for event in stream if event.type == "response.output_item.added"]
    assert added[-1].namespace == "team"


PATCH = "*** Begin Patch\n*** Delete File: a\n*** End Patch"
APPLY_PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin hunk+ end"},
}


@pytest.mark.parametrize("written", [PATCH, json.dumps({"input": PATCH}), json.dumps({"x": PATCH})])
def test_a_custom_tool_is_a_function_with_one_text_argument(client, engine, written):
    header = "<|channel|>commentary to=functions.apply_patch <|constrain|>json<|message|>"
    engine.script = lambda *_: f"{header}{written}<|call|>"
    fields = {"model": MODEL, "tools": [APPLY_PATCH]}
    reply = client.responses.create(input="Hi", **fields)
    events = list(client.responses.create(input="Hi", stream=True, **fields))
    assert "// Edit files.\ntype apply_patch = (_: {\n" in engine.prompts[-1]
    assert "lark grammar:" in engine.prompts[-1]
    (call,) = reply.output
    assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", PATCH)
    kind = "response.custom_tool_call_input"
    texts = [getattr(event, "delta", "") for event in events if event.type == f"{kind}.delta"]
    assert texts == [event.input for event in events if event.type == f"{kind}.done"] == [PATCH]
    assert events[-1].response.output[0].input == PATCH
    assert reply.tools[0].format.definition == "start: begin hunk+ end"
    done = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "D a"}
    again = client.responses.create(input=[USER, *reply.output, done], **fields)
    said = f"<|message|>{json.dumps({'input': PATCH})}<|call|><|start|>functions.apply_patch to="
    assert said in engine.prompts[-1]
    listed = client.responses.input_items.list(again.id, order="asc").data
    assert [item.type for item in listed][1:] == ["custom_tool_call", "custom_tool_call_output"]


NESTED = {
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: begin"}},
}
CHAT_PATCH = {"type": "custom", "custom": NESTED}
NAMED_PATCH = {"type": "custom", "custom": {"name": "apply_patch"}}


@pytest.mark.parametrize("written", [PATCH, json.dumps({"input": PATCH})])
@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        NAMED_PATCH,
        {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED_PATCH]}},
    ],
)
def test_a_custom_tool_of_chat_is_a_function_with_one_text_argument(
    client, engine, written, choice
):
    """GitHub Copilot CLI 1.0.102 offers apply_patch so, beside functions."""
    header = "<|channel|>commentary to=functions.apply_patch <|constrain|>json<|message|>"
    engine.script = lambda *_: f"{header}{written}<|call|>"
    fields = {"model": MODEL, "tools": [CHAT_TOOL, CHAT_PATCH], "tool_choice": choice}
    reply = client.chat.completions.create(messages=[USER], **fields).choices[0]
    chunks = list(client.chat.completions.create(messages=[USER], stream=True, **fields))
    assert "// Edit files.\ntype apply_patch = (_: {\n" in engine.prompts[-1]
    assert "lark grammar:" in engine.prompts[-1]
    (call,) = reply.message.tool_calls
    called = (call.type, call.custom.name, call.custom.input)
    assert (*called, reply.finish_reason) == ("custom", "apply_patch", PATCH, "tool_calls")
    deltas = [chunk.choices[0].delta.to_dict() for chunk in chunks]
    (streamed,) = [made for delta in deltas for made in delta.get("tool_calls", ())]
    expected = {"index": 0, "type": "custom", "custom": call.custom.to_dict()}
    assert {**streamed, "id": ""} == {**expected, "id": ""}
    result = {"role": "tool", "tool_call_id": call.id, "content": "D a"}
    client.chat.completions.create(messages=[USER, reply.message, result], **fields)
    said = f"<|message|>{json.dumps({'input': PATCH})}<|call|><|start|>functions.apply_patch to="
    assert said in engine.prompts[-1]


def test_metadata_of_agents_is_accepted(client):
    client.responses.create(
        model=MODEL,
        input="Hi",
        reasoning={"effort": "low", "context": "auto", "mode": "standard"},
        extra_body={"client_metadata": {"a": "b"}, "prompt_cache_options": {"mode": "implicit"}},
    )
    client.chat.completions.create(
        model=MODEL, messages=[USER], logit_bias={}, prediction={"type": "content", "content": "x"}
    )


def test_continuous_usage_is_sent_once_at_the_end(client):
    options = {"include_usage": True, "continuous_usage_stats": True}
    fields = {"model": MODEL, "stream": True, "stream_options": options}
    chunks = list(client.chat.completions.create(messages=[USER], **fields))
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    chunks = list(client.completions.create(prompt="Hi", **fields))
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]


def test_allowed_tools_hide_the_others(client, engine):
    reply = client.responses.create(
        model=MODEL, input="Hi", tools=[FLAT_TOOL, OTHER], tool_choice=ALLOWED
    )
    assert "type get_weather" in engine.prompts[-1]
    assert "type other" not in engine.prompts[-1]
    assert reply.tool_choice.mode == "required"
    assert [tool.name for tool in reply.tools] == ["get_weather", "other"]
    client.chat.completions.create(
        model=MODEL, messages=[USER], tools=[CHAT_TOOL, CHAT_OTHER], tool_choice=CHAT_ALLOWED
    )
    assert "type get_weather" in engine.prompts[-1]
    assert "type other" not in engine.prompts[-1]


def test_a_function_outside_allowed_tools_is_not_called(client, engine):
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{**OTHER}]}
    del allowed["tools"][0]["parameters"]
    tools = [FLAT_TOOL, OTHER]
    begun = "<|start|>assistant<|channel|>final<|message|>"
    engine.script = lambda prompt, _: "Sunny.<|return|>" if prompt.endswith(begun) else CALL
    reply = client.responses.create(model=MODEL, input="Hi", tools=tools, tool_choice=allowed)
    assert [item.type for item in reply.output] == ["reasoning", "message"]
    reply = client.responses.create(model=MODEL, input="Hi", tools=[OTHER])
    assert reply.output[-1].name == "get_weather"


def test_an_item_without_a_type_is_recognized_by_role_or_id(client, engine):
    said = EasyInputMessage(role="user", content="Zanzibar").model_dump()
    assert said["type"] is None
    first = client.responses.create(model=MODEL, input=[said], tools=[FLAT_TOOL])
    assert "Zanzibar" in engine.prompts[-1]
    call = first.output[-1]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    client.responses.create(model=MODEL, input=[USER, {"id": call.id}, result], tools=[FLAT_TOOL])
    assert "to=functions.get_weather" in engine.prompts[-1]


def test_parsed_arguments_of_an_earlier_call_change_nothing(client, engine):
    """openai npm 7.59 sends them back after `parse()` and `stream()`."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "sunny"}
    client.responses.create(model=MODEL, input=[USER, call, result], tools=[FLAT_TOOL])
    parsed = [USER, call | {"parsed_arguments": {}}, result]
    reply = client.responses.create(model=MODEL, input=parsed, tools=[FLAT_TOOL])
    assert engine.prompts[-1] == engine.prompts[-2]
    listed = client.responses.input_items.list(reply.id, order="asc").data
    assert "parsed_arguments" not in listed[1].to_dict()


def test_a_refusal_is_rendered_as_assistant_text(client, engine):
    refusal = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    client.chat.completions.create(model=MODEL, messages=[USER, refusal, USER])
    assert "<|channel|>final<|message|>I cannot help with that.<|end|>" in engine.prompts[-1]


REFUSED = [
    ({"tools": [FLAT_TOOL, {"type": "web_search"}]}, "tools[1].type"),
    ({"tools": [{**TEAM, "tools": []}]}, "tools[0].tools"),
    ({"tools": [{**TEAM, "tools": [{"type": "custom", "name": "x"}]}]}, "tools[0].tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [FLAT_TOOL, TEAM]}, "tools[1].tools[0]"),
    ({"tools": [{**FLAT_TOOL, "defer_loading": True}]}, "tools[0].defer_loading"),
    ({"tools": [5]}, "tools[0]"),
    ({"tools": [OTHER], "tool_choice": ALLOWED}, "tool_choice"),
    ({"tools": [OTHER], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.mode"),
    ({"tools": [OTHER], "tool_choice": {"type": "function"}}, "tool_choice.name"),
    ({"tools": [OTHER], "tool_choice": 5}, "tool_choice"),
    ({"include": ["everything"]}, "include[0]"),
    ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
    ({"reasoning": {"exclude": True}}, "reasoning.exclude"),
    (
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": {}, "strict": "no"}}},
        "text.format.strict",
    ),
    (
        {"input": [{"type": "message", "role": "user", "content": [{"type": {}, "text": "x"}]}]},
        "input[0].content",
    ),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED, ids=[str(case)[:70] for case in REFUSED])
def test_unsupported_options_are_rejected_by_name(client, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL, input="Hi", extra_body=fields)
    assert caught.value.param == param


def test_input_items_are_paginated(client):
    said = [
        USER,
        {"role": "assistant", "content": "Yes?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "async": False},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
    ]
    reply = client.responses.create(model=MODEL, input=said)
    items = list(client.responses.input_items.list(reply.id, limit=2, order="asc"))
    assert [item.type for item in items] == [given.get("type", "message") for given in said]
    assert (items[1].content[0].text, items[2].id) == ("Yes?", "rs_1")
    assert "async" not in items[3].to_dict()
    backwards = client.responses.input_items.list(reply.id, after=items[1].id)
    assert [item.id for item in backwards] == [items[0].id]
    for item in items:
        TypeAdapter(ResponseItem).validate_python(item.to_dict())
    for query, param in (
        ({"limit": 0}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "x"}, "after"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.input_items.list(reply.id, extra_query=query)
        assert caught.value.param == param


def test_a_stored_response_has_no_stream_and_cannot_be_cancelled(client):
    reply = client.responses.create(model=MODEL, input="Hi")
    with pytest.raises(openai.BadRequestError, match="stream"):
        client.responses.retrieve(reply.id, stream=True)
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(reply.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.cancel("resp_x")
    fetched = httpx.get(f"{client.base_url}responses/{reply.id}", params={"stream": "false"})
    assert Response.model_validate(fetched.json()).id == reply.id


def test_a_previous_response_needs_no_input(client, engine):
    engine.script = lambda *_: ANSWER
    first = client.responses.create(model=MODEL, input="Hi")
    again = client.responses.create(model=MODEL, previous_response_id=first.id)
    assert again.output_text == "Hello there."
    assert "Hello there.<|end|><|start|>assistant" in engine.prompts[-1]
    assert client.responses.input_items.list(again.id).data == []
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=MODEL)
    assert (caught.value.param, caught.value.code) == ("input", "missing_required_parameter")
