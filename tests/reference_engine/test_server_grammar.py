"""Formatted answers and strict calls follow their schema, whatever the model wants to write."""

import json
from dataclasses import replace
from typing import Literal

import openai
import pytest
import torch
from faulty import HI, JSON_HI, chat, send
from pydantic import BaseModel
from scripted import CALL, CALL_OF, CHAT_TOOL, COT, running, sdk_client

from harmony.conversation import AnswerFormat, Conversation, FunctionTool
from harmony.vocabulary import bytes_of, encode
from reference_engine.generation.sampling import Draw, sample
from reference_engine.model.config import VOCABULARY
from reference_engine.model.logits import AllLogits
from reference_engine.server.grammar import ReplyGrammar, rules_for

FINAL = "<|channel|>final<|message|>"
PROSE = COT + FINAL + "I would rather write prose.<|return|>"
ENDS = [encode(text)[0] for text in ("<|return|>", "<|call|>", '"', "}", "]", ",", "1")]
"""What the model writes if it must not write what it wants, the first one first."""


class Unwilling:
    """A model that wants to write one text in every answer, with the sampler of the engine."""

    max_context = 4096

    def __init__(self, text=PROSE):
        self.wanted = encode(text)

    async def generate(self, prompt, params):
        constraint = params.grammar.start(prompt)
        params = replace(params, temperature=0)
        for step in range(params.max_tokens):
            logits = torch.zeros(1, VOCABULARY)
            logits[0, ENDS] = torch.arange(len(ENDS), 0, -1).float()
            logits[0, self.wanted[min(step, len(self.wanted) - 1)]] = 20.0
            [token] = sample(AllLogits(logits), [Draw(params, 0, step, constraint)])
            yield token
            if token.id in params.stop_token_ids:
                return


class City(BaseModel):
    city: str
    population: int


class Report(BaseModel):
    place: City
    kind: Literal["rain", "sun"]
    value: float | None
    subject: City | str
    days: list[City]


@pytest.fixture
def client():
    with sdk_client(Unwilling()) as each:
        yield each


def shape(model):
    schema = {"name": "s", "strict": True, "schema": model.model_json_schema()}
    return {"type": "json_schema", "json_schema": schema}


def test_the_sdk_parses_answers(client):
    asked = {"model": "gpt-oss-small", "messages": [HI], "response_format": Report}
    replies = [client.chat.completions.parse(**asked)]
    with client.chat.completions.stream(**asked) as stream:
        replies.append(stream.get_final_completion())
    asked = {"model": "gpt-oss-small", "input": "Hi", "text_format": Report}
    responses = [client.responses.parse(**asked)]
    with client.responses.stream(**asked) as stream:
        responses.append(stream.get_final_response())
    found = [reply.choices[0].message for reply in replies]
    assert [message.reasoning for message in found] == ["I think."] * 2
    for parsed in [*(m.parsed for m in found), *(r.output_parsed for r in responses)]:
        assert isinstance(parsed, Report)


def test_the_sdk_parses_calls_of_strict_functions():
    tool = openai.pydantic_function_tool(Report)
    asked = {"model": "gpt-oss-small", "messages": [HI], "tools": [tool]}
    text = CALL_OF.format("Report", "I would rather write prose.")
    with sdk_client(Unwilling(text)) as client:
        replies = [client.chat.completions.parse(**asked)]
        with client.chat.completions.stream(**asked) as stream:
            replies.append(stream.get_final_completion())
        response = client.responses.parse(
            model="gpt-oss-small", input="Hi", tools=[{**tool["function"], "type": "function"}]
        )
    for reply in replies:
        [choice] = reply.choices
        assert choice.finish_reason == "tool_calls"
        [call] = choice.message.tool_calls
        assert isinstance(call.function.parsed_arguments, Report)
    [call] = [item for item in response.output if item.type == "function_call"]
    assert Report.model_validate_json(call.arguments)


async def test_schemas_that_cannot_be_enforced_are_rejected():
    function = {"name": "f", "parameters": SCHEMA | {"not": {"type": "null"}}, "strict": True}
    with pytest.raises(openai.BadRequestError) as caught:
        await answered(chat(tools=[{"type": "function", "function": function}]))
    assert caught.value.param == "tools[0].function.strict"
    assert "not" in caught.value.message


async def test_json_object_format_produces_an_object():
    reply = await answered(chat(JSON_HI, response_format={"type": "json_object"}, n=2))
    documents = [json.loads(choice["message"]["content"]) for choice in reply["choices"]]
    assert [type(document) for document in documents] == [dict, dict]


async def answered(asked, text=PROSE):
    with running(Unwilling(text)) as url:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as each:
            body = {"model": "gpt-oss-small", **asked.body}
            return await each.post("/" + asked.path, cast_to=object, body=body)


async def test_a_token_limit_truncates_the_document():
    limit = len(encode(COT + FINAL)) + 3
    [choice] = (await answered(chat(response_format=shape(City), max_tokens=limit)))["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].startswith('{"city')


async def test_the_format_does_not_constrain_calls_and_other_messages():
    preamble = "<|channel|>commentary<|message|>Well.<|end|><|start|>assistant"
    asked = chat(response_format=shape(City), tools=[CHAT_TOOL])
    [choice] = (await answered(asked, COT + preamble + CALL))["choices"]
    assert choice["message"]["content"] == "Well."
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Rome"}'


async def test_the_format_applies_after_a_prefilled_header():
    asked = chat(response_format=shape(City), tools=[CHAT_TOOL], tool_choice="none")
    [choice] = (await answered(asked, COT + CALL))["choices"]
    assert City.model_validate_json(choice["message"]["content"])


async def test_logprobs_are_those_of_the_model():
    """The model assigns almost all probability to prose."""
    asked = chat(response_format=shape(City), logprobs=True, top_logprobs=1)
    [choice] = (await answered(asked))["choices"]
    first = choice["logprobs"]["content"][0]
    assert first["token"].startswith("{")
    assert first["logprob"] < -5
    assert first["top_logprobs"][0]["token"] == "I"


async def test_a_fault_that_ignores_the_format_does_not_enforce_it():
    asked = chat(HI, response_format=shape(City))
    assert (await send(asked)).params[-1].grammar
    assert not (await send(asked, "format-ignored")).params[-1].grammar


SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "integer"}}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


def constraint(schema, *, strict=True):
    return started(Conversation((), answer_format=AnswerFormat("x", schema, strict=strict)), FINAL)


def started(conversation, header):
    asked = "<|start|>user<|message|>Hi<|end|><|start|>assistant"
    return ReplyGrammar.of(conversation).start(encode(asked + header))


@pytest.mark.parametrize(
    ("kept", "refused"),
    [
        ('{"a":"x","b":[1,2]}<|return|>', ""),
        ('{"a": "Grüße 🎉 \\n\\u00e9", "b": [1, -2]}<|return|>', ""),
        ('{\n    "a": "x",\n    "b": [\n        1\n    ]\n}<|return|>', ""),
        ("", "```"),
        ("", "\n"),
        ("{", '"b'),
        ('{"a": "', "<|end|>"),
        ('{"a": "x", "b": [', "1."),
        ('{"a": "x", "b": []', "<|return|>"),
        ('{"a": "x", "b": []}', "<|end|>"),
        ('{"a": "x", "b": []}', "\n"),
    ],
)
def test_tokens_that_violate_the_schema_are_not_allowed(kept, refused):
    rule = constraint(SCHEMA)
    for token in encode(kept):
        assert rule.allowed()[token] or rule.allowed().sum() == 1
        assert rule.take(token)
    assert all(rule.take(token) for token in encode(refused)[:-1])
    for token in encode(refused)[-1:]:
        assert not rule.allowed()[token]
        assert not rule.take(token)


@pytest.mark.parametrize(
    ("kept", "refused"),
    [
        ('{"a": "x", "b": []}<|call|>', ""),
        ('{"a": "x", "b": []}', "<|return|>"),
        ('{"a": "x"', "<|call|>"),
        ("", "I"),
    ],
)
def test_arguments_of_strict_functions_follow_the_schema(kept, refused):
    tool = FunctionTool("f", parameters=SCHEMA, strict=True)
    header = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
    rule = started(Conversation((), (tool,)), header)
    for token in encode(kept):
        assert rule.allowed()[token] or rule.allowed().sum() == 1
        assert rule.take(token)
    for token in encode(refused):
        assert not rule.allowed()[token]
        assert not rule.take(token)


def test_functions_that_are_not_strict_are_not_constrained():
    strict, free = (FunctionTool(name, parameters=SCHEMA, strict=name == "f") for name in "fg")
    assert ReplyGrammar.of(Conversation((), (free,))) is None
    header = "<|channel|>commentary to=functions.g <|constrain|>json<|message|>"
    rule = started(Conversation((), (strict, free)), header)
    assert all(rule.take(token) for token in encode("prose<|call|>"))


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_strict_function_without_parameters_takes_none(parameters):
    tool = FunctionTool("f", parameters=parameters, strict=True)
    header = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
    rule = started(Conversation((), (tool,)), header)
    assert not rule.take(encode('{"')[0])
    assert all(rule.take(token) for token in encode("{}<|call|>"))


def test_names_of_special_tokens_are_text():
    rule = constraint({"const": "<|end|>"})
    written = ""
    while "<|return|>" not in written:
        token = int(rule.allowed().nonzero()[0, 0])
        assert rule.take(token)
        written += bytes_of(token).decode()
    assert written == '"<|end|>"<|return|>'


def test_only_strict_formats_need_a_grammar_of_every_keyword():
    schema = SCHEMA | {"not": {"type": "null"}}
    with pytest.raises(ValueError, match="not"):
        rules_for(schema, strict=True)
    assert not constraint(schema, strict=False).take(encode("```")[0])


def test_a_pattern_with_too_many_states_ends_the_answer():
    """Its text of a million letters is tokenized in pieces."""
    rule = constraint({"type": "string", "pattern": "^(a{1000}){1000}$"})
    assert rule.take(*encode('"'))
    assert rule.allowed().any()
    assert not rule.take(*encode("a"))
    assert [int(token) for token in rule.allowed().nonzero()] == encode("<|return|>")
