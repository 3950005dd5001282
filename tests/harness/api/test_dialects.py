"""Chat and Responses: the requests that are sent, and replies read from recorded exchanges."""

import json
from typing import Any

import mock_provider as mock
import pytest
from replies import blocks, chat_whole, data, responses_whole, whole

from harness.api import DIALECTS, chat_grammar
from harness.api.dialect import Dialect
from harness.api.items import (
    Message,
    Reasoning,
    Reply,
    RequestSettings,
    Role,
    Tool,
    ToolCall,
    ToolResult,
    UnreadableReplyError,
    Usage,
)
from harness.api.parsed_rollout import ParsedExchange
from harness.api.sse import stream_events
from harness.records.conditions import Api
from harness.records.rollouts import Exchange, Request, Response, StreamPart, TransportFailure

TOOL = Tool("get_weather", "Weather.", {"type": "object", "properties": {}}, '{"t": 21}')
CHAT, RESPONSES = DIALECTS["chat"], DIALECTS["responses"]
SETTINGS = RequestSettings(
    "gpt-oss-20b",
    reasoning_effort="low",
    temperature=1.0,
    top_p=0.9,
    max_tokens=100,
    seed=7,
    extra_body={"provider": {"only": ["x"]}},
)


def exchange(
    content: object, *, streaming: bool = False, status: int = 200, failed: bool = False
) -> Exchange:
    """A recorded exchange: a list of blocks is a stream, anything else one JSON body."""
    if isinstance(content, list):
        parts = tuple(StreamPart(at=float(i), raw=raw) for i, raw in enumerate(content))
        response = Response(status=status, headers={}, parts=parts)
    else:
        text = content if isinstance(content, str) else json.dumps(content)
        response = Response(status=status, headers={}, body=text)
    return Exchange(
        request=Request(method="POST", url="u", headers={}, body={"stream": streaming}),
        response=response,
        failure=TransportFailure(kind="cut", message="it was cut") if failed else None,
        started_at="2026-01-01T00:00:00Z",
        elapsed=1.0,
    )


def first(dialect: Dialect, *, streaming: bool = False, tools: tuple[Tool, ...] = (TOOL,)) -> Any:
    return dialect.first_request(
        [Message("user", "Weather?")],
        instructions="Be brief.",
        tools=tools,
        streaming=streaming,
        settings=SETTINGS,
    )


# --- Requests


def test_first_chat_request() -> None:
    assert first(CHAT) == {
        "model": "gpt-oss-20b",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Weather?"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "get_weather",
                    "description": "Weather.",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "reasoning_effort": "low",
        "temperature": 1.0,
        "top_p": 0.9,
        "max_tokens": 100,
        "seed": 7,
        "provider": {"only": ["x"]},
    }


def test_first_responses_request() -> None:
    assert first(RESPONSES) == {
        "model": "gpt-oss-20b",
        "input": [{"type": "message", "role": "user", "content": "Weather?"}],
        "instructions": "Be brief.",
        "store": False,
        "tools": [
            {
                "type": "function",
                "name": "get_weather",
                "description": "Weather.",
                "parameters": {"type": "object", "properties": {}},
                "strict": False,
            }
        ],
        "reasoning": {"effort": "low"},
        "temperature": 1.0,
        "top_p": 0.9,
        "max_output_tokens": 100,
        "provider": {"only": ["x"]},
    }


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
def test_no_unrequested_options_are_sent(dialect: Dialect) -> None:
    body = dialect.first_request(
        [Message("user", "Hi")],
        instructions=None,
        tools=(),
        streaming=False,
        settings=RequestSettings("m"),
    )
    assert body.keys() <= {"model", "messages", "input", "store"}


def test_a_conversation_is_sent_as_it_is() -> None:
    turns: list[tuple[Role, str]] = [
        ("system", "S"),
        ("user", "a"),
        ("assistant", "b"),
        ("developer", "D"),
        ("user", "c"),
    ]
    messages = [Message(role, text) for role, text in turns]
    for dialect, place in ((CHAT, "messages"), (RESPONSES, "input")):
        body = dialect.first_request(
            messages, instructions=None, tools=(), streaming=False, settings=RequestSettings("m")
        )
        assert [(item["role"], item["content"]) for item in body[place]] == turns
        assert "instructions" not in body


def test_streams_are_requested_with_usage() -> None:
    assert first(RESPONSES, streaming=True)["stream"] is True
    assert first(CHAT, streaming=True)["stream"] is True
    assert first(CHAT, streaming=True)["stream_options"] == {"include_usage": True}


def test_chat_sends_cot_and_results_back() -> None:
    body = first(CHAT)
    reply = CHAT.read(exchange(chat_whole(mock.usual_reply(body))))
    following = CHAT.next_request(body, reply, [ToolResult("call_1", "42")])
    assert following["messages"][:2] == body["messages"]
    assert following["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "reasoning": mock.COT,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"a": "b"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
    ]
    assert {**following, "messages": None} == {**body, "messages": None}
    assert len(body["messages"]) == 2


@pytest.mark.parametrize(
    "given",
    [
        {"reasoning": "Hm."},
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm.", "reasoning_content": "Hm."},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}], "reasoning": "Hm."},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
    ],
)
def test_chat_sends_cot_back_in_the_fields_of_the_reply_alone(given: dict[str, Any]) -> None:
    body = first(CHAT)
    raw = chat_whole(mock.usual_reply(body))
    message = raw["choices"][0]["message"]
    del message["reasoning"]
    message |= given
    reply = CHAT.read(exchange(raw))
    assert reply.reasoning == "Hm."
    sent = CHAT.next_request(body, reply, [ToolResult("call_1", "")])["messages"][-2]
    assert {name: sent[name] for name in sent if name.startswith("reasoning")} == given


def test_responses_sends_output_items_back_unchanged() -> None:
    body = first(RESPONSES)
    raw = responses_whole(mock.usual_reply(body))
    raw["output"][0]["unheard_of"] = {"kept": True}
    reply = RESPONSES.read(exchange(raw))
    following = RESPONSES.next_request(body, reply, [ToolResult("call_1", "42")])
    assert following["input"] == [
        *body["input"],
        *raw["output"],
        {"type": "function_call_output", "call_id": "call_1", "output": "42"},
    ]
    assert {**following, "input": None} == {**body, "input": None}


# --- Replies


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("called", [False, True])
def test_well_formed_replies_are_read(api: Api, streaming: bool, called: bool) -> None:
    sent = mock.usual_reply(first(DIALECTS[api], tools=(TOOL,) if called else ()))
    raw, chat = whole(sent, chat=api == "chat"), api == "chat"
    content = blocks(sent, chat=chat) if streaming else raw
    cached = None if chat else 0
    reply = DIALECTS[api].read(exchange(content, streaming=streaming))
    assert reply == Reply(
        reasoning=mock.COT,
        text="" if called else "Done: café ✓",
        calls=(ToolCall("call_1", "get_weather", '{"a": "b"}'),) if called else (),
        finish="tool_calls" if called else "stop",
        usage=Usage(50, 32, 10, 82, cached) if called else Usage(50, 24, 10, 74, cached),
        raw=reply.raw,
    )
    assert {key: reply.raw[key] for key in raw} == raw


def test_interleaved_calls_comments_and_a_missing_done_in_a_chat_stream() -> None:
    def delta(**fields: Any) -> str:
        return data({"choices": [{"index": 0, "delta": fields}]})

    def call(index: int, **function: str) -> dict[str, Any]:
        return {"index": index, "function": function}

    blocks = [
        ": keep-alive",
        "retry: 1000",
        delta(role="assistant", content=""),
        delta(tool_calls=[{**call(1, name="b", arguments=""), "id": "2", "type": "function"}]),
        ": keep-alive",
        delta(tool_calls=[{**call(0, name="a"), "id": "1"}, call(1, arguments='{"x"')]),
        delta(tool_calls=[call(0, arguments="{}"), call(1, arguments=": 1}")], content=None),
        data({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        data({"choices": [], "usage": {"prompt_tokens": 1}}),
    ]
    reply = CHAT.read(exchange(blocks, streaming=True))
    assert reply.calls == (ToolCall("1", "a", "{}"), ToolCall("2", "b", '{"x": 1}'))
    assert (reply.finish, reply.usage) == ("tool_calls", Usage(1, None, None, None))


def test_the_first_of_several_choices_is_read() -> None:
    def choice(index: int | None, key: str, text: str, finish: str | None = None) -> dict[str, Any]:
        return {"index": index, key: {"content": text}, "finish_reason": finish}

    blocks = [
        data({"choices": [choice(1, "delta", "It "), choice(0, "delta", "Sun")]}),
        data({"choices": [choice(1, "delta", "rains.", "length")]}),
        data({"choices": [choice(None, "delta", "ny.", "stop")]}),
        "data: [DONE] ",
    ]
    streamed = CHAT.read(exchange(blocks, streaming=True))
    assert (streamed.text, streamed.finish) == ("Sunny.", "stop")
    whole = {"choices": [choice(1, "message", "Rain."), choice(0, "message", "Sunny.", "stop")]}
    reply = CHAT.read(exchange(whole))
    assert (reply.text, reply.finish) == ("Sunny.", "stop")
    body = CHAT.next_request(first(CHAT), reply, [Message("user", "And now?")])
    assert body["messages"][-2]["content"] == "Sunny."


@pytest.mark.parametrize(
    ("finish_reason", "finish"),
    [
        ("length", "length"),
        ("content_filter", "content_filter"),
        (None, "unknown"),
        ("x", "unknown"),
    ],
)
def test_chat_finish(finish_reason: str | None, finish: str) -> None:
    raw = {"choices": [{"message": {"content": "a"}, "finish_reason": finish_reason}]}
    assert CHAT.read(exchange(raw)).finish == finish


@pytest.mark.parametrize(
    ("status", "details", "finish"),
    [
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "content_filter"}, "content_filter"),
        ("incomplete", None, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_responses_finish(status: str | None, details: object, finish: str) -> None:
    raw = {"output": [], "status": status, "incomplete_details": details, "error": None}
    assert RESPONSES.read(exchange(raw)).finish == finish


def test_a_responses_stream_without_an_end_is_incomplete() -> None:
    final = {"output": [], "status": "incomplete", "incomplete_details": {"reason": "x"}}
    blocks = [data({"type": "response.incomplete", "response": final})]
    assert RESPONSES.read(exchange(blocks, streaming=True)).finish == "unknown"


def chat_message(**message: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


def chat_call(**call: Any) -> dict[str, Any]:
    return chat_message(tool_calls=[call])


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("", "the body is not JSON"),
        ('{"choices": [', "the body is not JSON"),
        ("<html>Bad gateway</html>", "<html>Bad gateway"),
        ("[]", "should be a JSON object"),
        ({"error": {"message": "boom"}}, "the body is an error: boom"),
        ('{"error": ' + "[" * 600 + "]" * 600 + "}", "nested deeper than 100 levels"),
        ({}, "choices is empty or missing"),
        ({"choices": []}, "choices is empty or missing"),
        ({"choices": 3}, "choices should be a list, but is an integer"),
        ({"choices": [3]}, r"choices\[0\] should be an object"),
        ({"choices": [{}]}, r"choices\[0\].message is missing"),
        ({"choices": [{"message": None}]}, r"choices\[0\].message is null"),
        (chat_message(content={"a": 1}), "message.content should be a string, but is an object"),
        (chat_message(reasoning=["a"]), "message.reasoning should be a string, but is a list"),
        (chat_call(id="1"), r"tool_calls\[0\].function is missing"),
        (chat_call(function={"name": "a", "arguments": "{}"}), r"tool_calls\[0\].id is missing"),
        (chat_call(id="1", function={"arguments": "{}"}), "function.name is missing"),
        (
            chat_call(id="1", function={"name": "a", "arguments": {}}),
            "function.arguments should be a string, but is an object",
        ),
    ],
)
def test_unreadable_chat_bodies(raw: object, problem: str) -> None:
    with pytest.raises(UnreadableReplyError, match=problem):
        CHAT.read(exchange(raw))


@pytest.mark.parametrize("kind", ["reasoning_text", "output_text", "text", None])
def test_a_cot_whose_part_has_another_type_is_there(kind: str | None) -> None:
    """LiteLLM's bridge calls it output_text; `responses.reasoning.content` judges the type."""
    item = {"type": "reasoning", "content": [{"type": kind, "text": "Hm."}, {"type": "x"}]}
    answer = {"type": "message", "content": [{"type": "output_text", "text": "Hi."}]}
    reply = RESPONSES.read(exchange({"output": [item, answer]}))
    assert (reply.reasoning, reply.text) == ("Hm.", "Hi.")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({}, "output is missing"),
        ({"output": "x"}, "output should be a list"),
        ({"output": [{}]}, r"output\[0\].type is missing"),
        ({"output": [{"type": "message", "content": "x"}]}, "content should be a list"),
        (
            {"output": [{"type": "message", "content": [{"type": "output_text"}]}]},
            r"output\[0\].content\[0\].text is missing",
        ),
        ({"output": [{"type": "function_call", "id": "1"}]}, r"output\[0\].call_id is missing"),
        ({"status": "failed", "output": [], "error": None}, "the response failed"),
        ({"status": "failed", "output": [], "error": {"message": "oom"}}, "an error: oom"),
    ],
)
def test_unreadable_responses_bodies(raw: object, problem: str) -> None:
    with pytest.raises(UnreadableReplyError, match=problem):
        RESPONSES.read(exchange(raw))


@pytest.mark.parametrize(
    ("content", "received"),
    [
        ({"status": "failed", "output": []}, "failed"),
        ({"status": "completed", "output": "x"}, "unreadable"),
        ([data({"type": "response.failed", "response": {"status": "failed"}})], "failed"),
    ],
)
def test_a_response_that_failed_is_no_unreadable_one(content: object, received: str) -> None:
    recorded = exchange(content, streaming=isinstance(content, list))
    assert ParsedExchange("responses", 0, recorded).received == received


CHUNK = data({"choices": [{"index": 0, "delta": {"content": "a"}}]})


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ([], "no events with data"),
        ([": ping", "data: [DONE]"], "no events with data"),
        (['{"choices": []}'], r"no events with data: '\{\"choices\"'?"),
        ([CHUNK, "data: {"], "stream part 1 is not JSON"),
        ([CHUNK, 'data: {"error": {"message": "boom"}}'], "stream part 1 is an error: boom"),
        ([CHUNK], "without finish_reason and without"),
        (
            [data({"choices": [{"delta": {"tool_calls": [{"id": "1"}]}}]})],
            r"stream part 0: choices\[0\].delta.tool_calls\[0\].index is missing",
        ),
        ([data({"choices": [{"delta": {"content": 3}}]})], "should be a string"),
    ],
)
def test_unreadable_chat_streams(blocks: list[str], problem: str) -> None:
    with pytest.raises(UnreadableReplyError, match=problem):
        CHAT.read(exchange(blocks, streaming=True))


@pytest.mark.parametrize(
    ("blocks", "problem"),
    [
        ([data({"type": "response.created"})], "its last event was response.created"),
        (["event: response.created\ndata: {}"], "its last event was response.created"),
        ([data({"type": "response.completed"})], "stream part 0: response is missing"),
        ([data({"type": "error", "message": "boom"})], "stream part 0 is an error: boom"),
        (
            [data({"type": "response.failed", "response": {"status": "failed", "output": []}})],
            "the response failed",
        ),
    ],
)
def test_unreadable_responses_streams(blocks: list[str], problem: str) -> None:
    with pytest.raises(UnreadableReplyError, match=problem):
        RESPONSES.read(exchange(blocks, streaming=True))


@pytest.mark.parametrize("dialect", DIALECTS.values())
@pytest.mark.parametrize(
    ("recorded", "problem"),
    [
        (exchange("{}", status=500), "the HTTP status is 500"),
        (exchange("{}", status=302), "the HTTP status is 302"),
        (exchange("{}", failed=True), "it was cut"),
        (exchange(["data: {}"]), "expected one JSON object, got an event stream"),
        (exchange("{}", streaming=True), "expected an event stream, got no content type"),
    ],
)
def test_failed_exchanges_have_no_reply(dialect: Dialect, recorded: Exchange, problem: str) -> None:
    with pytest.raises(UnreadableReplyError, match=problem):
        dialect.read(recorded)


def test_events_are_split_as_the_html_standard_requires() -> None:
    blocks = [
        ": comment",
        "data:no space\r\ndata:  two spaces",
        "event: named\nid: 3\ndata: x\rdata",
        "event: without data",
        "retry: 5",
    ]
    parts = [StreamPart(at=float(index), raw=raw) for index, raw in enumerate(blocks)]
    assert [event[:4] for event in stream_events(parts)] == [
        (1, 1.0, "", "no space\n two spaces"),
        (2, 2.0, "named", "x\n"),
    ]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_stream_may_begin_with_a_byte_order_mark(mark: str) -> None:
    parts = [StreamPart(at=0.0, raw=f"{mark}data: 1"), StreamPart(at=1.0, raw=f"{mark}data: 2")]
    assert [event.text for event in stream_events(parts)] == (["1"] if mark else ["1", "2"])


def test_a_stream_of_very_many_chunks_is_read() -> None:
    piece = {
        "reasoning": "think ",
        "tool_calls": [{"index": 0, "function": {"arguments": "12345"}}],
    }
    blocks = [data({"choices": [{"index": 0, "delta": piece}]})] * 20_000
    opening = {"index": 0, "id": "1", "function": {"name": "a"}}
    blocks.insert(0, data({"choices": [{"index": 0, "delta": {"tool_calls": [opening]}}]}))
    blocks.append("data: [DONE]")
    reply = CHAT.read(exchange(blocks, streaming=True))
    assert len(reply.reasoning) == 120_000
    assert len(reply.calls[0].arguments) == 100_000


_HISTORY = (
    Message("system", "Be brief."),
    Message("user", ("Weather", "in Oslo?")),
    Reasoning("Call it."),
    ToolCall("call_1", "get_weather", '{"location": "Oslo"}'),
    ToolResult("call_1", "rain"),
    Reasoning("Say it."),
    Message("assistant", "It rains."),
    Message("assistant", "Take a coat."),
    Message("user", "Thanks"),
)


def test_chat_joins_cot_calls_and_text_into_one_message() -> None:
    body = DIALECTS["chat"].first_request(
        _HISTORY, instructions=None, tools=(), streaming=False, settings=RequestSettings("m")
    )
    function = {"name": "get_weather", "arguments": '{"location": "Oslo"}'}
    parts = [{"type": "text", "text": "Weather"}, {"type": "text", "text": "in Oslo?"}]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": parts},
        {
            "role": "assistant",
            "content": None,
            "reasoning": "Call it.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "assistant", "content": "It rains.", "reasoning": "Say it."},
        {"role": "assistant", "content": "Take a coat."},
        {"role": "user", "content": "Thanks"},
    ]


def test_text_before_a_call_is_in_the_same_chat_message() -> None:
    turns = (Message("user", "Hi"), Message("assistant", "I look."), ToolCall("call_1", "f", "{}"))
    body = DIALECTS["chat"].first_request(
        turns, instructions=None, tools=(), streaming=False, settings=RequestSettings("m")
    )
    assert [(m["role"], m["content"], "tool_calls" in m) for m in body["messages"]] == [
        ("user", "Hi", False),
        ("assistant", "I look.", True),
    ]


def test_responses_has_an_item_for_each_turn() -> None:
    body = DIALECTS["responses"].first_request(
        _HISTORY, instructions=None, tools=(), streaming=False, settings=RequestSettings("m")
    )
    kinds = [(item["type"], item.get("role")) for item in body["input"]]
    assert kinds == [
        ("message", "system"),
        ("message", "user"),
        ("reasoning", None),
        ("function_call", None),
        ("function_call_output", None),
        ("reasoning", None),
        ("message", "assistant"),
        ("message", "assistant"),
        ("message", "user"),
    ]
    thoughts = [item for item in body["input"] if item["type"] == "reasoning"]
    assert len({item["id"] for item in thoughts}) == 2
    assert thoughts[0]["content"] == [{"type": "reasoning_text", "text": "Call it."}]
    assert body["input"][1]["content"][1] == {"type": "input_text", "text": "in Oslo?"}


def custom_call(**given: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "custom", "custom": {"name": "add_note", **given}}


@pytest.mark.parametrize("streaming", [False, True])
def test_the_call_of_a_custom_tool_has_a_text(streaming: bool) -> None:
    """Chat, as OpenAI's SDK parses it; in a stream, the pieces of the input follow the name."""
    message = {"role": "assistant", "content": None, "tool_calls": [custom_call(input="dock 9")]}
    choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
    if streaming:
        deltas = [
            {"tool_calls": [{"index": 0, **custom_call(input="")}]},
            {"tool_calls": [{"index": 0, "custom": {"input": "dock"}}]},
            {"tool_calls": [{"index": 0, "custom": {"input": " 9"}}]},
        ]
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": delta}]} for delta in deltas
        ]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
        recorded = exchange([data(chunk) for chunk in chunks], streaming=True)
        found = chat_grammar.violations(list(stream_events(recorded.response.parts)))
        assert {each.rule for each in found} == {chat_grammar.ROLE, chat_grammar.DONE_MARK}
    else:
        recorded = exchange({"choices": [choice]})
    reply = CHAT.read(recorded)
    assert (reply.calls, reply.finish) == ((), "tool_calls")
    assert reply.custom_calls == (ToolCall("call_1", "add_note", "dock 9"),)
    assert "dock 9" in reply.generated


def test_the_item_of_a_custom_tool_call_has_a_text() -> None:
    item = {"type": "custom_tool_call", "call_id": "call_1", "name": "add_note", "input": "dock"}
    reply = RESPONSES.read(exchange({"status": "completed", "output": [item]}))
    assert reply.custom_calls == (ToolCall("call_1", "add_note", "dock"),)
