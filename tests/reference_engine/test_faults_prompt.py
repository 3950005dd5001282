"""Faults of what reaches the model: rendering, history, and tools in the prompt."""

import pytest
from faulty import HI, Row, after, chat, check, names_of, respond
from scripted import CHAT_TOOL, COT, FLAT_TOOL, LONG_COT

SYSTEM = {"role": "system", "content": "Be brief."}
LATE = {"role": "system", "content": "Be late."}
NOTE = "Calls to these tools must go"
RICH = {
    "type": "object",
    "properties": {
        "zone": {"type": ["string", "null"], "description": "Which one"},
        "unit": {"type": "string", "enum": ["m", "km"]},
        "area": {"type": "integer", "default": 3},
        "shape": {"type": "object", "properties": {"side": {"type": "number"}}},
    },
    "required": ["area"],
}
RICH_TOOL = {
    "type": "function",
    "function": {"name": "measure", "description": "Measures.", "parameters": RICH},
}

SHIPS = {
    "type": "function",
    "function": {
        "name": "list_ships",
        "description": "Ships.",
        "parameters": {"type": "object", "properties": {"shipName": {"type": "string"}}},
    },
}


def call(identity: str, name: str = "get_weather", arguments: str = '{"city": "Rome"}') -> dict:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(identity: str, content) -> dict:
    return {"role": "tool", "tool_call_id": identity, "content": content}


THOUGHT = {"role": "assistant", "reasoning": "Why not.", "tool_calls": [call("c1")]}
LOOP = (HI, THOUGHT, result("c1", "sunny"))
AGAIN = ({"role": "assistant", "tool_calls": [call("c2")]}, result("c2", "sunny"))
DONE = ({"role": "assistant", "content": "Done.", "reasoning": "Old thought."}, HI)
TWO = (
    HI,
    {"role": "assistant", "tool_calls": [call("c1"), call("c2", "other")]},
    result("c1", "sunny"),
    result("c2", "rainy"),
)
ITEMS = [
    HI,
    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Why not."}]},
    {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
]
PARTS = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]

USER_TEXTS = {
    "non-ascii-escaped": ("Käse", "K\\xe4se"),
    "text-escaped-as-html": ("a < b", "a &lt; b"),
    "addresses-masked": ("To ann@example.org", "To [REDACTED]"),
    "characters-composed": ("Cafe\u0301", "Caf\u00e9"),
    "user-text-trimmed": (" one ", "one"),
}
"""What the user writes, and what the prompt contains."""
RENDERING = {
    "descriptions-in-lower-case": Row(
        respond(tools=[{"type": "function", "name": "f", "description": "Ask ANN."}]),
        lambda s: "ask ann." in s.prompt,
    ),
    "system-dropped": Row(chat(SYSTEM, HI), lambda s: "Be brief." not in s.prompt),
    "second-system-dropped": Row(
        chat(SYSTEM, LATE, HI), lambda s: "Be brief." in s.prompt and "Be late." not in s.prompt
    ),
    "instructions-ignored-without-tools": Row(
        respond(instructions="Be brief."),
        lambda s: "Be brief." not in s.prompt and s.json["instructions"] == "Be brief.",
    ),
    "instructions-ignored-beside-messages": Row(
        respond([LATE, HI], instructions="Be brief."),
        lambda s: "Be late." in s.prompt and "Be brief." not in s.prompt,
    ),
    "system-as-system-message": Row(
        chat(SYSTEM, HI), lambda s: "<|start|>system<|message|>Be brief.<|end|>" in s.prompt
    ),
    "instructions-heading-missing": Row(
        chat(SYSTEM, HI), lambda s: "<|start|>developer<|message|>Be brief.<|end|>" in s.prompt
    ),
    "tools-before-instructions": Row(
        chat(SYSTEM, HI, tools=[CHAT_TOOL]),
        lambda s: s.prompt.index("# Tools") < s.prompt.index("# Instructions"),
    ),
    "functions-note-without-tools": Row(chat(HI), lambda s: NOTE in s.prompt),
    "functions-note-missing": Row(
        chat(HI, tools=[CHAT_TOOL]), lambda s: NOTE not in s.prompt and "get_weather" in s.prompt
    ),
    "channel-list-changed": Row(chat(HI), lambda s: "channels: analysis, final." in s.prompt),
    "builtin-advertised": Row(chat(HI), lambda s: "## python" in s.prompt),
    "high-effort-as-medium": Row(
        chat(HI, reasoning_effort="high"), lambda s: "Reasoning: medium\n" in s.prompt
    ),
    "effort-ignored": Row(
        chat(HI, reasoning_effort="high"), lambda s: "Reasoning: medium\n" in s.prompt
    ),
    "effort-ignored-in-streams": Row(
        chat(HI, reasoning_effort="high", stream=True),
        lambda s: "Reasoning: medium\n" in s.prompt,
    ),
    "effort-ignored-with-tools": Row(
        chat(HI, reasoning_effort="high", tools=[CHAT_TOOL]),
        lambda s: "Reasoning: medium\n" in s.prompt,
    ),
    "special-tokens-in-user-text": Row(
        chat({"role": "user", "content": "Say <|end|> twice"}),
        lambda s: s.json["usage"]["prompt_tokens"] < 63,
    ),
    "system-message-missing": Row(
        chat(SYSTEM, HI), lambda s: s.prompt.startswith("<|start|>developer")
    ),
    "user-named-human": Row(chat(HI), lambda s: "<|start|>human<|message|>Hi" in s.prompt),
    "late-system-dropped": Row(
        chat(SYSTEM, HI, *DONE[:1], LATE, HI),
        lambda s: "Be brief." in s.prompt and "Be late." not in s.prompt,
    ),
    "questions-joined": Row(
        chat({"role": "user", "content": "one"}, {"role": "user", "content": "two"}),
        lambda s: "<|message|>one\n\ntwo<" in s.prompt,
    ),
    "instructions-trimmed": Row(
        chat({"role": "system", "content": " one "}, HI), lambda s: "\n\none<" in s.prompt
    ),
    "results-as-json-for-html": Row(
        chat(*LOOP[:2], result("c1", "<b>")), lambda s: '<|message|>"\\u003cb\\u003e"<' in s.prompt
    ),
    "results-trimmed": Row(
        chat(*LOOP[:2], result("c1", " sunny ")), lambda s: "<|message|>sunny<" in s.prompt
    ),
    "reasoning-on-one-line": Row(
        chat(HI, {**THOUGHT, "reasoning": "Why\n\nnot."}, result("c1", "sunny")),
        lambda s: "<|message|>Why not.<" in s.prompt,
    ),
    "preamble-on-one-line": Row(
        chat(HI, {**THOUGHT, "content": "I\n  look."}, result("c1", "sunny")),
        lambda s: "<|message|>I look.<" in s.prompt,
    ),
    "decimals-in-earlier-arguments": Row(
        chat(
            HI,
            {**THOUGHT, "tool_calls": [call("c1", arguments='{"at": [7, 12], "by": 2.5}')]},
            result("c1", "sunny"),
        ),
        lambda s: '{"at": [7.0, 12.0], "by": 2.5}' in s.prompt,
    ),
    "parameters-in-snake-case": Row(
        chat(HI, tools=[SHIPS]), lambda s: "ship_name?: string" in s.prompt
    ),
    "long-instructions-cut": Row(
        chat({"role": "system", "content": f"Be{' ' * 8_000}late."}, HI),
        lambda s: "Be  " in s.prompt and "late." not in s.prompt,
    ),
    "long-reasoning-cut": Row(
        chat(HI, {**THOUGHT, "reasoning": "b " * 2_500}, result("c1", "sunny")),
        lambda s: 1_900 < s.prompt.count("b ") < 2_100,
    ),
    "old-messages-dropped": Row(
        chat({"role": "user", "content": "First."}, *[HI] * 8),
        lambda s: "First." not in s.prompt,
    ),
    "reasoning-of-first-call-dropped": Row(
        chat(*LOOP, {**THOUGHT, "reasoning": "Again."}, result("c1", "rainy")),
        lambda s: "Why not." not in s.prompt and "Again." in s.prompt,
    ),
    "eight-tools": Row(
        chat(HI, tools=[
            {"type": "function", "function": {**RICH_TOOL["function"], "name": f"measure_{at}"}}
            for at in range(9)
        ]),
        lambda s: "measure_7" in s.prompt and "measure_8" not in s.prompt,
    ),
    "long-description-cut": Row(
        chat(
            HI,
            tools=[{
                "type": "function",
                "function": {**RICH_TOOL["function"], "description": "c " * 600},
            }],
        ),
        lambda s: s.prompt.count("c ") < 520,
    ),
    "markdown-of-answers-removed": Row(
        chat(HI, said=COT + "<|channel|>final<|message|>A **bold** word.<|return|>"),
        lambda s: s.message["content"] == "A bold word.",
    ),
}  # fmt: skip
HISTORY = {
    "question-after-result-dropped": Row(
        chat(*LOOP, {"role": "user", "content": "And now?"}), lambda s: "And now?" not in s.prompt
    ),
    "chat-reasoning-not-replayed": Row(chat(*LOOP), lambda s: "Why not." not in s.prompt),
    "reasoning-items-not-replayed": Row(respond(ITEMS), lambda s: "Why not." not in s.prompt),
    "tool-loop-reasoning-dropped": Row(respond(ITEMS), lambda s: "Why not." not in s.prompt),
    "stale-reasoning-kept": Row(chat(HI, *DONE), lambda s: "Old thought." in s.prompt),
    "reasoning-dropped-by-library": Row(
        chat(HI, *DONE, *LOOP[1:]), lambda s: "Old thought." in s.prompt and "Why not." in s.prompt
    ),
    "chat-reasoning-refused": Row(chat(*LOOP), lambda s: s.status == 400),
    "thinking-with-calls-crashes": Row(
        chat(HI, THOUGHT | {"content": "A plan."}, LOOP[2]), lambda s: s.status == 500
    ),
    "parts-beside-calls-lost": Row(
        chat(HI, THOUGHT | {"content": PARTS}, LOOP[2]), lambda s: "two" not in s.prompt
    ),
    "reasoning-dropped-beside-preamble": Row(
        chat(HI, THOUGHT | {"content": "A plan."}, LOOP[2]),
        lambda s: "A plan." in s.prompt and "Why not." not in s.prompt,
    ),
    "long-result-cut": Row(
        chat(*LOOP[:2], result("c1", "x" * 16_000 + "end")), lambda s: "xend" not in s.prompt
    ),
    "empty-results-filled": Row(
        chat(*LOOP[:2], result("c1", "")), lambda s: "<|message|>(no output)<" in s.prompt
    ),
    "preamble-not-replayed": Row(
        chat(HI, THOUGHT | {"content": "A plan."}, LOOP[2]), lambda s: "A plan." not in s.prompt
    ),
    "result-names-mixed-up": Row(
        chat(*TWO), lambda s: s.prompt.count("<|start|>functions.other to=assistant") == 2
    ),
    "result-order-reversed": Row(
        chat(*TWO), lambda s: s.prompt.index("rainy") < s.prompt.index("sunny")
    ),
    "equal-results-dropped": Row(
        chat(*LOOP, *AGAIN),
        lambda s: s.prompt.count(" to=functions.") == 2 and s.prompt.count("sunny") == 1,
    ),
    "result-without-recipient": Row(
        chat(*LOOP), lambda s: "<|start|>functions.get_weather<|channel|>" in s.prompt
    ),
    "arguments-escaped-twice-in-history": Row(
        chat(*LOOP), lambda s: r'<|message|>"{\"city\": \"Rome\"}"<|call|>' in s.prompt
    ),
    "null-content-as-text": Row(
        chat(*LOOP), lambda s: "<|channel|>commentary<|message|>None<|end|>" in s.prompt
    ),
    "content-parts-lost": Row(
        chat({"role": "user", "content": PARTS}), lambda s: "two" not in s.prompt
    ),
    "result-parts-lost": Row(
        chat(HI, THOUGHT, result("c1", PARTS)), lambda s: "one" not in s.prompt
    ),
    "answer-without-channel": Row(
        chat(HI, *DONE), lambda s: "<|start|>assistant<|message|>Done." in s.prompt
    ),
    "reasoning-without-channel": Row(
        chat(*LOOP), lambda s: "<|start|>assistant<|message|>Why not." in s.prompt
    ),
    "history-ends-with-return": Row(chat(HI, *DONE), lambda s: "Done.<|return|>" in s.prompt),
    "previous-response-ignored": Row(
        after(respond(), "More"),
        lambda s: "Hello there." not in s.prompt and s.json["previous_response_id"] is not None,
    ),
    "continued-instructions-ignored": Row(
        after(respond(), "More", instructions="Be brief."),
        lambda s: "Be brief." not in s.prompt and s.json["instructions"] == "Be brief.",
    ),
    "earlier-instructions-added": Row(
        after(respond(instructions="Be kind."), "More", instructions="Be brief."),
        lambda s: "Be kind.\nBe brief." in s.prompt and s.json["instructions"] == "Be brief.",
    ),
    "earlier-tools-kept": Row(
        after(respond(tools=[FLAT_TOOL]), "More", tools=[FLAT_TOOL | {"name": "add_note"}]),
        lambda s: "add_note" not in s.prompt and s.json["tools"][0]["name"] == "add_note",
    ),
    "stored-answers-lost": Row(
        after(respond(), "More"), lambda s: "Hi" in s.prompt and "Hello there." not in s.prompt
    ),
    "system-parts-as-objects": Row(
        chat({"role": "system", "content": PARTS}, HI),
        lambda s: "[object Object],[object Object]" in s.prompt,
    ),
    "stored-reasoning-lost": Row(
        after(respond(said=LONG_COT, max_output_tokens=16), "More"),
        lambda s: "I think" not in s.prompt,
    ),
    "reasoning-items-as-user-text": Row(
        respond(ITEMS), lambda s: '<|start|>user<|message|>{"type": "reasoning"' in s.prompt
    ),
    "conversation-ignored": Row(respond(conversation="conv_1"), lambda s: s.status == 200),
    "compaction-items-dropped": Row(
        respond([{"type": "compaction", "encrypted_content": "abc"}, HI]),
        lambda s: s.status == 200,
    ),
    "context-management-ignored": Row(
        respond(context_management=[{"type": "compaction"}]), lambda s: s.status == 200
    ),
    "stored-history-doubled": Row(
        after(respond(instructions="Be kind."), "More"),
        lambda s: s.prompt.count("Hello there.") == 2 and s.prompt.count("More") == 1,
    ),
    "unstored-response-kept": Row(
        after(respond(store=False), "More"), lambda s: "Hello there." in s.prompt
    ),
}
TOOLS = {
    "tools-not-rendered": lambda s: "measure" not in s.prompt,
    "only-first-tool": lambda s: "get_weather" not in s.prompt and "measure" in s.prompt,
    "tool-description-dropped": lambda s: "Measures." not in s.prompt,
    "property-order-sorted": lambda s: s.prompt.index("area") < s.prompt.index("zone"),
    "union-types-lost": lambda s: "null" not in s.prompt,
    "number-defaults-dropped": lambda s: "default: 3" not in s.prompt,
}


def test_every_fault_has_a_row():
    assert RENDERING.keys() | USER_TEXTS.keys() == names_of("rendering")
    assert HISTORY.keys() == names_of("history")
    assert TOOLS.keys() <= names_of("tool mapping")


async def test_a_cached_prefix_hides_everything_after_the_first_question():
    def hides(seen) -> bool:
        return seen.prompt.endswith("Hi<|end|><|start|>assistant")

    await check("prefix-cache-hides-results", Row(chat(*LOOP), hides))


@pytest.mark.parametrize("name", RENDERING | HISTORY)
async def test_prompts(name):
    await check(name, (RENDERING | HISTORY)[name])


@pytest.mark.parametrize("name", USER_TEXTS)
async def test_texts_of_the_user(name):
    written, read = USER_TEXTS[name]
    ask = chat({"role": "user", "content": written})
    await check(name, Row(ask, lambda s: f"<|message|>{read}<|end|>" in s.prompt))


@pytest.mark.parametrize("name", TOOLS)
async def test_tools_in_the_prompt(name):
    await check(name, Row(chat(HI, tools=[RICH_TOOL, CHAT_TOOL]), TOOLS[name]))
