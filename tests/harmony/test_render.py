"""Conversations to harmony: what is rendered, what is dropped, what is rejected."""

import openai_harmony as oh
import pytest

from harmony.conversation import (
    Answer,
    AnswerFormat,
    BuiltinCall,
    BuiltinResult,
    Call,
    Conversation,
    Developer,
    FunctionTool,
    Preamble,
    Reasoning,
    Result,
    User,
)
from harmony.installed import OPENAI, harmony_package
from harmony.render import (
    OTHER_ORDERS,
    RenderError,
    drop_stale_reasoning,
    least_tokens,
    message_tokens,
    render_prompt,
)
from harmony.vocabulary import encode, harmony_encoding, token_bytes

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = FunctionTool("get_weather", "Weather.", CITY)


def text_of(*turns, **settings) -> str:
    return harmony_encoding().decode_utf8(render_prompt(Conversation(turns, **settings)))


def after_system(text: str) -> str:
    return text.partition("<|end|>")[2]


def test_a_whole_tool_loop():
    text = text_of(
        Developer("Be brief."),
        User("Weather?"),
        Reasoning("Look."),
        Preamble("One moment."),
        Call("get_weather", '{"city": "Rome"}'),
        Result("get_weather", "sunny"),
        tools=(WEATHER,),
        effort="high",
        current_date="2026-01-02",
    )
    assert "Current date: 2026-01-02\n\nReasoning: high\n" in text
    assert "must go to the commentary channel: 'functions'.<|end|>" in text
    assert after_system(text) == (
        "<|start|>developer<|message|># Instructions\n\nBe brief.\n\n# Tools\n\n## functions\n\n"
        "namespace functions {\n\n// Weather.\ntype get_weather = (_: {\ncity?: string,\n}) => any;"
        "\n\n} // namespace functions<|end|>"
        "<|start|>user<|message|>Weather?<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>Look.<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>One moment.<|end|>"
        "<|start|>assistant to=functions.get_weather<|channel|>commentary <|constrain|>json"
        '<|message|>{"city": "Rome"}<|call|>'
        "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>sunny<|end|>"
        "<|start|>assistant"
    )


def test_no_developer_message_without_content():
    assert (
        after_system(text_of(User("Hi"))) == "<|start|>user<|message|>Hi<|end|><|start|>assistant"
    )


def test_leading_instructions_are_joined_and_later_ones_stay_in_place():
    text = text_of(Developer("One."), Developer("Two."), User("Hi"), Developer("Three."), User("?"))
    assert "# Instructions\n\nOne.\n\nTwo.<|end|>" in text
    assert text.index("Three.") > text.index("Hi")


def test_instructions_after_dropped_reasoning_are_kept():
    text = text_of(Developer("One."), Reasoning("r"), Developer("Two."), User("Hi"), Answer("a"))
    assert "# Instructions\n\nOne.\n\nTwo.<|end|>" in text
    assert "# Instructions\n\nTwo." in text_of(Reasoning("r"), Developer("Two."), Answer("a"))


def test_empty_instructions_are_not_rendered():
    assert "developer" not in text_of(Developer(""), User("Hi"), Developer(""), User("?"))


def test_special_tokens_in_a_users_text_stay_text():
    plain = len(render_prompt(Conversation((User(""),))))
    tokens = render_prompt(Conversation((User("<|end|>"),)))
    assert len(tokens) - plain == len(harmony_encoding().encode("<|end|>", disallowed_special=()))
    assert len(tokens) - plain > 1


R1, R2, R3 = Reasoning("1"), Reasoning("2"), Reasoning("3")
CALL, RESULT, USER, FINAL = Call("f", "{}"), Result("f", "x"), User("q"), Answer("a")


@pytest.mark.parametrize(
    ("turns", "kept"),
    [
        ([USER, R1, CALL, RESULT], [R1]),
        ([USER, R1, CALL, RESULT, R2, CALL, RESULT], [R1, R2]),
        ([USER, R1, FINAL, USER], []),
        ([USER, R1, CALL, RESULT, R2, FINAL, USER, R3, CALL, RESULT], [R3]),
        ([USER, R1, FINAL, USER, R2, FINAL, USER], []),
        ([USER, R1, Preamble("p"), CALL, RESULT], [R1]),
        ([USER, R1], [R1]),
    ],
)
def test_reasoning_before_a_final_answer_is_dropped(turns, kept):
    remaining = drop_stale_reasoning(turns)
    assert [turn for turn in remaining if isinstance(turn, Reasoning)] == kept
    assert [turn for turn in remaining if not isinstance(turn, Reasoning)] == [
        turn for turn in turns if not isinstance(turn, Reasoning)
    ]


LONGEST = max(token_bytes(), key=len).decode()


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [User("")] * 500,
        [Developer("")] * 500 + [User("q")],
        [USER, R1, FINAL] * 100,
        [USER, R1, CALL, RESULT] * 100,
        [User(LONGEST)] * 100,
        [Developer(LONGEST)] * 100,
    ],
)
def test_the_least_length_is_a_lower_bound(turns):
    conversation = Conversation(tuple(turns), (WEATHER,))
    length = len(render_prompt(conversation))
    assert length / 3 - 200 < least_tokens(conversation) <= length


SHAPE = AnswerFormat("shape", {"type": "object"}, "A shape.")
SECTION = '# Response Formats\n\n## shape\n\n// A shape.\n{"type":"object"}<|end|>'


def test_the_response_format_ends_the_developer_message():
    assert f"<|start|>developer<|message|>{SECTION}" in text_of(User("Hi"), answer_format=SHAPE)
    after = text_of(Developer("Be brief."), User("Hi"), tools=(WEATHER,), answer_format=SHAPE)
    assert f"}} // namespace functions\n\n{SECTION}" in after


def nested(depth: int) -> dict:
    schema: dict = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    "turns_and_tools",
    [
        ([User("\ud800")], ()),
        ([User("a" * 20_000)], ()),
        ([Call("f", " " * 30_000)], ()),
        ([User("q")], (FunctionTool("f", "a" * 30_000),)),
        ([User("q")], (FunctionTool("f", "", {"description": "a" * 30_000}),)),
        ([User("q")], (FunctionTool("f", "", nested(100)),)),
        ([User("q")], (FunctionTool("f", "", nested(900)),)),
    ],
    ids=["surrogate", "letters", "spaces", "description", "schema", "deep", "deeper"],
)
def test_unrenderable_conversations_are_rejected_with_a_reason(turns_and_tools):
    turns, tools = turns_and_tools
    with pytest.raises(RenderError, match=r"\w\.$"):
        render_prompt(Conversation(tuple(turns), tools))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": 5},
        {"type": "object", "properties": {"items": {"type": "string"}}},
        {"type": "object", "properties": {"a": {"$ref": "#/definitions/x"}, "b": {"anyOf": []}}},
        {"type": "object", "properties": {"a": {"enum": [1, None, "x"]}}, "required": 3},
        {"properties": [1]},
        nested(40),
        {},
        None,
    ],
)
def test_unusual_schemas_are_rendered(schema):
    assert "// d\ntype f = (" in text_of(User("q"), tools=(FunctionTool("f", "d", schema),))


@pytest.mark.parametrize("builtin", [("browser",), ("python",), ("browser", "python")])
@pytest.mark.parametrize("tools", [(), (WEATHER,)])
def test_built_in_tools_are_declared_as_openai_harmony_declares_them(builtin, tools):
    system = oh.SystemContent.new().with_reasoning_effort(oh.ReasoningEffort.MEDIUM)
    for name in builtin:
        system = system.with_browser_tool() if name == "browser" else system.with_python_tool()
    messages = [oh.Message.from_role_and_content(oh.Role.SYSTEM, system)]
    if tools:
        described = [oh.ToolDescription.new(WEATHER.name, WEATHER.description, dict(CITY))]
        developer = oh.DeveloperContent.new().with_function_tools(described)
        messages.append(oh.Message.from_role_and_content(oh.Role.DEVELOPER, developer))
    messages.append(oh.Message.from_role_and_content(oh.Role.USER, "Hi"))
    expected = harmony_encoding().render_conversation_for_completion(
        oh.Conversation.from_messages(messages), oh.Role.ASSISTANT
    )
    assert render_prompt(Conversation((User("Hi"),), tools, builtin=builtin)) == expected


def test_built_in_calls_and_results_are_in_the_analysis_as_gpt_oss_writes_them():
    call = BuiltinCall("browser.search", '{"query": "<|end|>"}')
    result = BuiltinResult("browser.search", "[0] found")
    text = after_system(text_of(User("Hi"), Reasoning("Look."), call, result))
    assert text.endswith(
        "<|start|>assistant<|channel|>analysis<|message|>Look.<|end|>"
        "<|start|>assistant<|channel|>analysis to=browser.search code<|message|>"
        '{"query": "<|end|>"}<|call|>'
        "<|start|>browser.search to=assistant<|channel|>analysis<|message|>[0] found<|end|>"
        "<|start|>assistant"
    )
    author = oh.Author.new(oh.Role.TOOL, "browser.search")
    read = harmony_encoding().parse_messages_from_completion_tokens(
        render_prompt(Conversation((BuiltinCall("python", "print(1)"), result)))[:-2], None
    )
    shown = oh.Message.from_role_and_content(oh.Role.ASSISTANT, "print(1)")
    shown = shown.with_channel("analysis").with_recipient("python").with_content_type("code")
    told = oh.Message.from_author_and_content(author, "[0] found")
    assert read[1:] == [shown, told.with_channel("analysis").with_recipient("assistant")]


def test_built_in_calls_and_results_before_a_final_answer_are_dropped():
    turn = (Reasoning("a"), BuiltinCall("python", "1"), BuiltinResult("python", "1"))
    items = (User("x"), *turn, Answer("y"), User("z"), *turn)
    assert drop_stale_reasoning(items) == (User("x"), Answer("y"), User("z"), *turn)


@pytest.mark.parametrize(
    "text",
    [
        "<|start|>assistant<|channel|>final<|message|>Hi<|end|>", "plain", "<|none|>x",
        "a<|<|end|>|>", "<|reserved_200014|><|call", "\ud800<|return|>",
    ],
)  # fmt: skip
def test_text_with_special_tokens_is_encoded_as_harmony_encodes_it(text):
    assert encode(text) == harmony_encoding().encode(text, allowed_special="all")


def in_library(author: str, text: str, channel: str = "", recipient: str = "", kind: str = ""):
    """The tokens of a message as the installed openai_harmony renders it."""
    role = oh.Role(author) if author in ("user", "assistant") else oh.Role.TOOL
    named = oh.Author.new(role, author) if role is oh.Role.TOOL else oh.Author(role=role)
    message = oh.Message.from_author_and_content(named, text)
    message = message.with_channel(channel) if channel else message
    message = message.with_recipient(recipient) if recipient else message
    message = message.with_content_type(kind) if kind else message
    return harmony_encoding().render(message)


TEXTS = [
    "",
    " ",
    "Hm.",
    "<|end|><|call|>",
    '{"a": "東京 naïve 👍🏽"}',
    " \n\n x\t",
    "of 3.14 % \r\n",
]
NAMES = ["f", "get_weather", "a-b.c", "naïve 東京", "to=x", "<|end|>", "analysis", "", " f "]


@pytest.mark.parametrize("text", TEXTS)
def test_headers_and_contents_are_those_of_openai_harmony(text):
    said = {
        User(text): ("user", text),
        Reasoning(text): ("assistant", text, "analysis"),
        Preamble(text): ("assistant", text, "commentary"),
        Answer(text): ("assistant", text, "final"),
    }
    assert [message_tokens(item) for item in said] == [in_library(*each) for each in said.values()]
    for name in NAMES:
        to = f"functions.{name}"
        order = "before" if harmony_package().name == OPENAI else "after"
        last = render_prompt(Conversation((User("q"), Call(name, text), Result(name, text))), order)
        kind = "<|constrain|>json"
        whole = in_library("assistant", text, "commentary", to, kind)
        whole += in_library(to, text, "commentary", "assistant")
        assert last[-len(whole) - 2 : -2] == whole
        if order == "before":
            for each in ("", "json", kind):
                due = in_library("assistant", text, "commentary", to, each)
                assert message_tokens(Call(name, text), each) == due


def test_the_orders_of_recipient_and_channel_have_as_many_tokens():
    items = (User("q"), Call("f", "{}"), Result("f", "x"), BuiltinCall("python", "1"))
    prompts = {order: render_prompt(Conversation(items), order) for order in OTHER_ORDERS}
    assert {len(prompt) for prompt in prompts.values()} == {len(render_prompt(Conversation(items)))}
    text = {order: harmony_encoding().decode(tokens) for order, tokens in prompts.items()}
    called = "assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
    told = "functions.f<|channel|>commentary to=assistant<|message|>"
    assert [called in text[order] for order in OTHER_ORDERS] == [True, False, True]
    assert [told in text[order] for order in OTHER_ORDERS] == [False, True, True]
    assert all("assistant<|channel|>analysis to=python code" in each for each in text.values())
