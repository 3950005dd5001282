"""Faults of whole replies: parsing, calls, structured output."""

import asyncio

import httpx
import pytest
from faulty import HI, JSON_HI, MODEL, Row, chat, check, names_of, respond
from scripted import ANSWER, CALL, CHAT_TOOL, COT, FLAT_TOOL, ScriptedEngine
from test_faults_found import found_by_checks
from test_faults_prompt import TOOLS as PROMPT_TOOLS

from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

PLAN = "<|channel|>commentary<|message|>One moment.<|end|><|start|>assistant"
ARGUMENTS = '{"city": "Rome"}'
calling = chat(HI, said=CALL, tools=[CHAT_TOOL])
responding = respond(said=CALL, tools=[FLAT_TOOL])


LONG_COT = (
    "<|channel|>analysis<|message|>One two three four five six.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>Seven.<|return|>"
)
SCHEMA = {"name": "s", "schema": {"type": "object"}}
JSON_ANSWER = COT + '<|channel|>final<|message|>{"a": 1}<|return|>'
FORMAT = {"type": "json_schema", "json_schema": SCHEMA}
formatted = chat(HI, said=JSON_ANSWER, response_format=FORMAT)
RESULT = [
    {"role": "assistant", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]},
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]  # fmt: skip
HYPHENS = CALL.replace("get_weather", "get-the-weather")


def named(name: str) -> dict:
    return {"type": "function", "function": {"name": name}}


def crashes(status):
    return lambda s: s.status == status


PARSING = {
    "long-calls-fail": Row(
        chat(HI, said=CALL.replace("{", "{" + 160 * " "), tools=[CHAT_TOOL]),
        lambda s: s.status == 500,
    ),
    "word-lost": Row(
        chat(HI, said=LONG_COT),
        lambda s: s.message["reasoning"] == "One two three five six.",
    ),
    "text-escaped-for-html": Row(
        chat(HI, said=COT + "<|channel|>final<|message|>a < b<|return|>"),
        lambda s: s.message["content"] == "a &lt; b",
    ),
    "reasoning-missing-after-result": Row(
        chat(HI, *RESULT), lambda s: "reasoning" not in s.message
    ),
    "answer-repeated": Row(
        chat(HI), lambda s: s.message["content"] == "Hello there.\n\nHello there."
    ),
    "cot-in-content-after-result": Row(
        chat(HI, *RESULT, stream=True),
        lambda s: s.said().startswith("I think.") and not s.said("reasoning"),
    ),
    "calls-lost-after-five-results": Row(
        chat(HI, *(RESULT * 5), said=CALL, tools=[CHAT_TOOL]),
        lambda s: "tool_calls" not in s.message,
    ),
    "entities-in-arguments-decoded": Row(
        chat(HI, said=CALL.replace("Rome", "R &amp; B"), tools=[CHAT_TOOL]),
        lambda s: s.call["function"]["arguments"] == '{"city": "R & B"}',
    ),
    "arguments-in-snake-case": Row(
        chat(HI, said=CALL.replace("city", "cityName"), tools=[CHAT_TOOL]),
        lambda s: s.call["function"]["arguments"] == '{"city_name": "Rome"}',
    ),
    "long-answers-cut": Row(
        chat(HI, said=f"{COT}<|channel|>final<|message|>{'word ' * 30}<|return|>"),
        lambda s: s.message["content"] == "word " * 15,
    ),
    "preamble-lost": Row(
        chat(HI, said=COT + PLAN + CALL, tools=[CHAT_TOOL]),
        lambda s: s.message["content"] is None and s.call,
    ),
    "reasoning-with-notice": Row(
        chat(HI), lambda s: s.message["reasoning"] == "I think.\n[end of reasoning]"
    ),
}
STRUCTURED = {
    "structured-answers-in-ascii": Row(
        chat(HI, said=JSON_ANSWER.replace("1", '"Łódź"'), response_format=FORMAT),
        lambda s: s.message["content"] == '{"a": "d"}',
    ),
    "format-ignored": Row(formatted, lambda s: "# Response Formats" not in s.prompt),
    "format-ignored-in-streams": Row(
        chat(HI, said=JSON_ANSWER, response_format=FORMAT, stream=True),
        lambda s: "# Response Formats" not in s.prompt,
    ),
    "format-ignored-beside-tools": Row(
        chat(HI, said=JSON_ANSWER, response_format=FORMAT, tools=[CHAT_TOOL]),
        lambda s: "# Response Formats" not in s.prompt,
    ),
    "tools-ignored-beside-format": Row(
        chat(HI, said=JSON_ANSWER, response_format=FORMAT, tools=[CHAT_TOOL]),
        lambda s: "# Tools" not in s.prompt,
    ),
    "grammar-on-analysis": Row(formatted, lambda s: s.message["reasoning"] == "? ?????."),
    "grammar-on-later-replies": Row(
        chat(
            HI,
            {"role": "assistant", "content": "Hello."},
            HI,
            said=JSON_ANSWER,
            response_format=FORMAT,
        ),
        lambda s: not s.message["content"] and "reasoning" not in s.message,
    ),
    "schema-name-before-answer": Row(
        chat(HI, said=JSON_ANSWER, response_format=FORMAT, stream=True),
        lambda s: s.said() == 's{"a": 1}',
    ),
    "uncompiled-schemas-ignored": Row(
        chat(
            HI,
            said=ANSWER,
            response_format={
                "type": "json_schema",
                "json_schema": {
                    "name": "s",
                    "strict": True,
                    "schema": {"type": "string", "pattern": "(?=B)"},
                },
            },
        ),
        lambda s: s.status == 200,
    ),
    "json-object-empty": Row(
        chat(JSON_HI, said=JSON_ANSWER, response_format={"type": "json_object"}),
        lambda s: "additionalProperties" in s.prompt,
    ),
}
REWRITTEN = {
    "functions-deleted-in-arguments": ('{"city": "functions.Rome"}', ARGUMENTS),
    "markup-deleted-in-arguments": ('{"city": "<b>Rome"}', ARGUMENTS),
    "arguments-escaped-as-html": ('{"city": "R&B"}', '{"city": "R&amp;B"}'),
    "typography-replaced-in-arguments": ('{"city": "–Rome"}', '{"city": "-Rome"}'),
    "numbers-as-strings-in-arguments": ('{"city": 0.5}', '{"city": "0.5"}'),
    "fractions-in-32-bits-in-arguments": ('{"city": 0.1}', '{"city": 0.10000000149011612}'),
    "large-integers-rounded-in-arguments": (
        '{"city": 9007199254740993}',
        '{"city": 9007199254740992}',
    ),
    "days-as-times-in-arguments": ('{"city": "2026-04-05"}', '{"city": "2026-04-05T00:00:00Z"}'),
    "compatibility-replaced-in-arguments": ('{"city": "½"}', '{"city": "1⁄2"}'),
    "empty-arguments-dropped": ('{"city": "Rome", "day": ""}', ARGUMENTS),
    "backslashes-doubled-in-arguments": (r'{"city": "a\\b"}', r'{"city": "a\\\\b"}'),
    "digits-as-numbers-in-arguments": ('{"city": "007"}', '{"city": 7}'),
    "spaces-reduced-in-arguments": ('{"city": "R  ome"}', '{"city": "R ome"}'),
    "one-entry-lists-unwrapped": ('{"city": ["Rome"]}', ARGUMENTS),
    "line-breaks-raw-in-arguments": ('{"city": "Ro\\nme"}', '{"city": "Ro\nme"}'),
    "quotes-raw-in-arguments": ('{"city": "\\"Rome\\""}', '{"city": ""Rome""}'),
    "other-escapes-in-arguments": ('{"city": "Málaga"}', '{"city": "M\\xe1laga"}'),
    "lists-cut-in-arguments": ('{"city": [[1, 2], [3, 4]]}', '{"city": [[1, 2]]}'),
}
"""The arguments that the model writes, and those that the client receives."""
TOOLS = {
    "required-choice-ignored": Row(
        chat(HI, tools=[CHAT_TOOL], tool_choice="required", max_tokens=200),
        lambda s: s.message["content"] == "Hello there.",
    ),
    "required-choice-ignored-in-streams": Row(
        chat(HI, tools=[CHAT_TOOL], tool_choice="required", max_tokens=200, stream=True),
        lambda s: s.said() == "Hello there.",
    ),
    "none-choice-ignored": Row(
        chat(HI, said=CALL, tools=[CHAT_TOOL], tool_choice="none", max_tokens=200),
        lambda s: s.finish == "tool_calls",
    ),
    "none-choice-ignored-in-streams": Row(
        chat(HI, said=CALL, tools=[CHAT_TOOL], tool_choice="none", max_tokens=200, stream=True),
        lambda s: s.finishes == ["tool_calls"],
    ),
    "backslashes-lost-in-arguments": Row(
        chat(HI, said=CALL.replace("Rome", r"a\\b"), tools=[CHAT_TOOL]),
        lambda s: s.call["function"]["arguments"] == '{"city": "ab"}',
    ),
    "ends-of-arguments-trimmed": Row(
        chat(HI, said=CALL.replace("Rome", "Rome "), tools=[CHAT_TOOL]),
        lambda s: s.call["function"]["arguments"] == ARGUMENTS,
    ),
    "names-cut-at-40": Row(
        chat(HI, said=CALL.replace("get_weather", "get_" * 12), tools=[named("get_" * 12)]),
        lambda s: s.call["function"]["name"] == "get_" * 10,
    ),
    "property-named-items-crashes": Row(
        chat(
            HI,
            tools=[
                {"type": "function", "function": {"name": "f", "parameters": {
                    "type": "object", "properties": {"items": {"type": "string"}}
                }}}
            ],
        ),
        crashes(500),
    ),
    "namespaces-lost": Row(
        respond(
            said=CALL,
            tools=[{"type": "namespace", "name": "n", "description": "d", "tools": [FLAT_TOOL]}],
        ),
        lambda s: "namespace" not in s.output[-1],
    ),
    "call-ids-repeated": Row(calling, lambda s: s.call["id"] == "call_0"),
}  # fmt: skip


def test_every_fault_has_a_row_or_is_found_in_single_replies():
    tools = TOOLS.keys() | REWRITTEN.keys() | PROMPT_TOOLS.keys()
    rows = PARSING.keys() | {"parser-shared"} | STRUCTURED.keys() | tools
    layers = names_of("parsing", "structured output", "tool mapping")
    assert rows | (layers & {*found_by_checks()}) == layers


@pytest.mark.parametrize("name", PARSING | STRUCTURED | TOOLS)
async def test_replies(name):
    await check(name, (PARSING | STRUCTURED | TOOLS)[name])


@pytest.mark.parametrize("name", REWRITTEN)
async def test_arguments(name):
    written, received = REWRITTEN[name]
    ask = chat(HI, said=CALL.replace(ARGUMENTS, written), tools=[CHAT_TOOL])
    await check(name, Row(ask, lambda s: s.call["function"]["arguments"] == received))


async def test_a_content_filter_refuses_answers():
    refused = Row(chat(HI), lambda s: s.message["content"] is None and s.message["refusal"])
    await check("answers-sometimes-refused:1", refused)


async def test_faults_with_a_rate_change_some_replies():
    renamed = Row(chat(HI), lambda s: s.json["model"] == "gpt-oss-mini")
    await check("other-model-sometimes:1", renamed)
    masked = Row(chat(HI), lambda s: s.message["content"] == "Hello ***.")
    await check("words-sometimes-masked:1", masked)


async def test_a_crash_within_a_stream_becomes_its_last_event():
    ask = chat(HI, said=CALL, tools=[CHAT_TOOL], stream=True)
    row = Row(ask, lambda s: s.status == 200 and "error" in s.events[-1])
    await check("header-crash", row)


@pytest.mark.parametrize(("faults", "mixed_up"), [([], False), (["parser-shared"], True)])
async def test_a_shared_parser_mixes_up_requests_only_at_the_same_time(faults, mixed_up):
    def echo(prompt, _):
        word = prompt.split("user<|message|>")[1].split("<|end|>")[0]
        return ANSWER.replace("think", word).replace("there", word)

    engine = ScriptedEngine(echo)
    engine.pause = 0.001
    app = faulty_parts(faults).app(engine, AppSettings())
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server/v1/") as client:

        async def echoed(word: str) -> bool:
            body = {"model": MODEL, "messages": [{"role": "user", "content": word}]}
            reply = await client.post("chat/completions", json=body)
            return f'"Hello {word}."' in reply.text

        assert await echoed("alone")
        together = await asyncio.gather(*map(echoed, ["one", "two three", "four five six"]))
        assert all(together) is not mixed_up
