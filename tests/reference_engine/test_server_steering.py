"""tool_choice: if the model starts a message that is not allowed, a header is prefilled."""

import pytest
from scripted import ANSWER, CALL, CHAT_TOOL, COT, FLAT_TOOL

from harmony.parse import CALL as CALL_TOKEN
from harmony.vocabulary import encode

MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}
OTHER_TOOL = {"type": "function", "function": {"name": "other_tool"}}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
OPEN_HEADER = "<|start|>assistant<|channel|>commentary to=functions"
FULL_HEADER = OPEN_HEADER + ".get_weather <|constrain|>json<|message|>"
FINAL_HEADER = "<|start|>assistant<|channel|>final<|message|>"


def ask(client, **fields) -> dict:
    reply = client.post("/chat/completions", json={"model": MODEL, "messages": [USER], **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


def calls(reply: dict) -> list[tuple[str, str]]:
    functions = [call["function"] for call in reply["choices"][0]["message"].get("tool_calls", [])]
    return [(function["name"], function["arguments"]) for function in functions]


def script(**continuations: str):
    """Say the text of the longest header that the prompt ends with."""

    def say(prompt: str, _) -> str:
        if prompt.endswith(FULL_HEADER):
            return continuations["full"]
        if prompt.endswith(OPEN_HEADER):
            return continuations["open"]
        if prompt.endswith(FINAL_HEADER):
            return continuations["final"]
        return continuations["start"]

    return say


ROME = '{"city": "Rome"}<|call|>'


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_model_that_calls_by_itself_is_not_steered(engine, client, choice):
    engine.script = lambda *_: CALL
    reply = ask(client, tools=[CHAT_TOOL], tool_choice=choice)
    assert calls(reply) == [("get_weather", '{"city": "Rome"}')]
    assert len(engine.prompts) == 1


@pytest.mark.parametrize("choice", ["required", NAMED])
@pytest.mark.parametrize(
    "said",
    [
        ANSWER,
        COT.removesuffix("<|start|>assistant").removesuffix("<|end|>") + "<|return|>",
        COT + " to=functions.wrong<|channel|>commentary<|message|>{}<|call|>",
        COT + "<|channel|>commentary to=python<|message|>{}<|call|>",
        COT.removesuffix("assistant") + "user<|message|>Hi",
    ],
)
def test_a_model_that_does_not_call_is_made_to_call(engine, client, choice, said):
    engine.script = script(start=said, full=ROME)
    reply = ask(client, tools=[CHAT_TOOL], tool_choice=choice)
    assert calls(reply) == [("get_weather", '{"city": "Rome"}')]
    assert reply["choices"][0]["message"]["reasoning"] == "I think."
    assert reply["choices"][0]["message"]["content"] is None
    assert reply["choices"][0]["finish_reason"] == "tool_calls"
    assert engine.prompts[-1].endswith("I think.<|end|>" + FULL_HEADER)
    tokens = encode(engine.prompts[-1][len(engine.prompts[0]) :] + ROME)
    assert tokens[-1] == CALL_TOKEN
    assert reply["usage"]["completion_tokens"] == len(tokens)


def test_a_model_that_answers_without_thinking_is_made_to_call(engine, client):
    engine.script = lambda prompt, _: (
        ROME if prompt.endswith("json<|message|>") else "<|channel|>final<|message|>No.<|return|>"
    )
    assert calls(ask(client, tools=[CHAT_TOOL], tool_choice="required"))
    assert engine.prompts[-1] == engine.prompts[0] + FULL_HEADER.removeprefix("<|start|>assistant")


def test_the_model_picks_among_several_functions(engine, client):
    engine.script = script(start=ANSWER, open=".other_tool <|constrain|>json<|message|>{}<|call|>")
    reply = ask(client, tools=[CHAT_TOOL, OTHER_TOOL], tool_choice="required")
    assert calls(reply) == [("other_tool", "{}")]


def test_sampling_uses_another_seed_after_each_header(engine, client):
    """The same random numbers would favor the tokens that were drawn before."""
    engine.script = script(start=ANSWER, open="!<|call|>", full=ROME)
    engine.params.clear()
    for _ in range(2):
        ask(client, tools=[CHAT_TOOL, OTHER_TOOL], tool_choice="required", seed=5)
    seeds = [params.seed for params in engine.params]
    assert seeds[:3] == seeds[3:]
    assert (seeds[0], len(set(seeds))) == (5, 3)


@pytest.mark.parametrize("picked", [".get_wether<|message|>{}<|call|>", "!<|call|>", " <|return|>"])
def test_a_function_that_is_not_offered_is_replaced_by_an_offered_one(engine, client, picked):
    engine.script = script(start=ANSWER, open=picked, full=ROME)
    reply = ask(client, tools=[CHAT_TOOL, OTHER_TOOL], tool_choice="required")
    assert calls(reply) == [("get_weather", '{"city": "Rome"}')]


@pytest.mark.parametrize("fields", [{"tools": [CHAT_TOOL], "tool_choice": "none"}, {}])
def test_tools_stay_in_the_prompt_but_are_not_called_with_tool_choice_none(engine, client, fields):
    engine.script = script(start=CALL, final="So be it.<|return|>")
    reply = ask(client, **fields)
    assert calls(reply) == []
    assert reply["choices"][0]["message"]["content"] == "So be it."
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert ("get_weather" in engine.prompts[0]) == ("tools" in fields)


def test_the_token_limit_applies_if_the_header_does_not_fit(engine, client):
    engine.script = script(start=ANSWER, full=ROME)
    for limit in range(1, 25):
        reply = ask(client, tools=[CHAT_TOOL], tool_choice="required", max_tokens=limit)
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["completion_tokens"] <= limit


def test_responses_are_also_steered(engine, client):
    engine.script = script(start=ANSWER, full=ROME)
    choice = {"type": "function", "name": "get_weather"}
    body = {"model": MODEL, "input": "Hi", "tools": [FLAT_TOOL], "tool_choice": choice}
    response = client.post("/responses", json=body).json()
    assert [item["type"] for item in response["output"]] == ["reasoning", "function_call"]
    assert (response["tool_choice"], response["status"]) == (choice, "completed")
