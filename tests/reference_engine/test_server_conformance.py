"""Replies to OpenAI's client where other servers differ from OpenAI's API.

The decisions are listed in docs/reference-engine.md.
"""

import openai
import orjson
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from scripted import ANSWER, CALL, FLAT_TOOL, ScriptedEngine, running, sdk_client, started
from tiny_model import random_transformer

from harmony.vocabulary import encode
from reference_engine.generation.engine import Engine
from reference_engine.generation.errors import GenerationError, QueueFullError
from reference_engine.server.settings import AppSettings

MODEL = "gpt-oss-small"
USER = {"role": "user", "content": "Hi"}
REQUIRED = {"model", "messages", "input"}


@pytest.fixture(scope="module")
def served():
    engine = ScriptedEngine()
    with sdk_client(engine) as client:
        yield engine, client


@pytest.fixture
def client(served):
    engine, client = served
    engine.script = lambda *_: ANSWER
    return client


def chat(client, **fields):
    return client.chat.completions.create(**{"model": MODEL, "messages": [USER]} | fields)


def respond(client, **fields):
    return client.responses.create(**{"model": MODEL, "input": "Hi"} | fields)


def refused(create, client, **fields) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as caught:
        create(client, **fields)
    assert caught.value.param.rpartition(".")[2] in caught.value.message
    return caught.value


def test_every_reply_has_its_own_request_id(client):
    replies = [chat(client), respond(client), client.models.list()]
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("none")
    ids = {reply._request_id for reply in replies} | {caught.value.request_id}
    assert len(ids) == 4
    assert all(id_.startswith("req_") for id_ in ids)


@pytest.mark.parametrize(
    ("create", "parameters"),
    [
        (chat, CompletionCreateParamsNonStreaming),
        (respond, ResponseCreateParamsNonStreaming),
    ],
)
def test_null_is_accepted_for_every_optional_parameter(client, create, parameters):
    optional = parameters.__annotations__.keys() - REQUIRED
    assert len(optional) > 25
    create(client, extra_body=dict.fromkeys(optional))


@pytest.mark.parametrize("effort", ["xhigh", "max"])
def test_an_effort_of_other_models_is_refused(client, effort):
    error = refused(chat, client, reasoning_effort=effort)
    assert (error.code, error.param) == ("unsupported_value", "reasoning_effort")
    assert "low, medium, high" in error.message
    error = refused(respond, client, reasoning={"effort": effort})
    assert (error.code, error.param) == ("unsupported_value", "reasoning.effort")


@pytest.mark.parametrize(("effort", "used"), [("none", "medium"), ("minimal", "low")])
def test_an_effort_below_low_is_the_one_that_most_servers_use(client, engine, effort, used):
    chat(client, reasoning_effort=effort)
    assert f"Reasoning: {used}\n" in engine.prompts[-1]
    reply = respond(client, reasoning={"effort": effort})
    assert f"Reasoning: {used}\n" in engine.prompts[-1]
    assert reply.reasoning.effort == used


@pytest.mark.parametrize("verbosity", ["low", "high"])
def test_only_medium_verbosity_is_supported(client, verbosity):
    error = refused(chat, client, verbosity=verbosity)
    assert (error.code, error.param) == ("unsupported_value", "verbosity")
    error = refused(respond, client, text={"verbosity": verbosity})
    assert (error.code, error.param) == ("unsupported_value", "text.verbosity")
    chat(client, verbosity="medium")


@pytest.mark.parametrize(
    ("neutral", "other"),
    [
        ({"frequency_penalty": 0.3}, {"frequency_penalty": 2.5}),
        ({"presence_penalty": -1}, {"presence_penalty": -3}),
        ({"logit_bias": {"7": 0}}, {"logit_bias": {"7": 5}}),
    ],
)
def test_penalties_have_bounds_and_biases_are_neutral(client, neutral, other):
    chat(client, **neutral)
    assert next(iter(other)) in refused(chat, client, **other).param


@pytest.mark.parametrize(
    ("field", "neutral", "other"),
    [
        ("ignore_eos", False, True),
        ("min_tokens", 0, 8),
        ("min_p", 0.0, 0.1),
        ("repetition_penalty", 1.0, 1.1),
        ("skip_special_tokens", True, False),
        ("stop_token_ids", [], [200002]),
    ],
)
def test_fields_of_other_servers_are_accepted_with_their_neutral_values(
    client, field, neutral, other
):
    for ask in (chat, respond):
        ask(client, extra_body={field: neutral})
        assert field in refused(ask, client, extra_body={field: other}).param


# What load testers send beside the model and the prompt, recorded with their default settings.
LOAD_TESTERS = {
    "aiperf 0.13.0": ("chat", {"stream": True, "stream_options": {"include_usage": True}}),
    "aiperf 0.13.0, responses": ("responses", {"stream": True}),
    "inference-perf 0.7.0, ignore_eos: false": (
        "chat",
        {
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 30,
            "ignore_eos": False,
        },
    ),
}


@pytest.mark.parametrize("name", LOAD_TESTERS)
def test_the_requests_of_load_testers_are_answered(client, name):
    api, sends = LOAD_TESTERS[name]
    ask = chat if api == "chat" else respond
    extra = {key: value for key, value in sends.items() if key != "stream"}
    assert list(ask(client, stream=True, extra_body=extra))


def test_responses_repeats_its_penalties(client):
    reply = respond(client, extra_body={"frequency_penalty": 0.3, "presence_penalty": 1})
    assert (reply.to_dict()["frequency_penalty"], reply.to_dict()["presence_penalty"]) == (0.3, 1)


def test_up_to_four_stop_strings_are_allowed(client):
    chat(client, stop=list("wxyz"))
    assert refused(chat, client, stop=list("vwxyz")).param == "stop"
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=MODEL, prompt="Hi", stop=list("vwxyz"))


def test_stream_options_need_a_stream(client):
    assert refused(chat, client, stream_options={"include_usage": True}).param == "stream_options"
    options = {"include_obfuscation": False}
    assert refused(respond, client, stream_options=options).param == "stream_options"
    list(respond(client, stream_options=options, stream=True))


@pytest.mark.parametrize("ask", [chat, respond])
def test_obfuscated_deltas_have_few_sizes(client, ask):
    """A multiple of 64 bytes; without the option they have no such member."""
    for hides in (True, False):
        options = {"include_obfuscation": hides}
        events = [event.to_dict() for event in ask(client, stream_options=options, stream=True)]
        deltas = [event for event in events if "delta" in event or event.get("choices")]
        assert len(deltas) > 2
        assert {("obfuscation" in event) for event in deltas} == {hides}
        assert not any("obfuscation" in event for event in events if event not in deltas)
        assert ({len(orjson.dumps(event)) % 64 for event in deltas} == {0}) is hides


def test_json_mode_needs_the_word_json(client):
    wanted = {"type": "json_object"}
    assert refused(chat, client, response_format=wanted).param == "messages"
    assert refused(respond, client, text={"format": wanted}).param == "input"
    chat(client, response_format=wanted, messages=[{"role": "user", "content": "As json"}])
    respond(client, text={"format": wanted}, instructions="Answer in JSON.")


def test_the_tier_of_a_reply_is_the_one_that_served_it(client):
    assert chat(client, service_tier="flex").service_tier == "default"
    assert respond(client, service_tier="priority").service_tier == "default"
    assert refused(chat, client, service_tier="turbo").param == "service_tier"


def test_a_chat_completion_cannot_be_stored(client):
    chat(client, store=False)
    assert refused(chat, client, store=True).param == "store"


def test_the_first_chunk_has_a_role_and_an_empty_text(served, client):
    for script in (ANSWER, CALL):
        served[0].script = lambda *_, script=script: script
        first, *_ = chat(client, stream=True)
        assert first.choices[0].delta.to_dict() == {"role": "assistant", "content": ""}


def test_truncation_drops_the_oldest_turns(served, client):
    engine, _ = served
    old = {"role": "user", "content": "old " * 5000}
    turns = [old, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "new"}]
    fields = {"input": turns, "instructions": "Be brief."}
    with pytest.raises(openai.BadRequestError) as caught:
        respond(client, **fields, truncation="disabled")
    assert caught.value.code == "context_length_exceeded"
    assert respond(client, **fields, truncation="auto").truncation == "auto"
    assert "Be brief." in engine.prompts[-1]
    assert "new" in engine.prompts[-1]
    assert "old" not in engine.prompts[-1]
    with pytest.raises(openai.BadRequestError):
        respond(client, input=[old], truncation="auto")


class Failing(ScriptedEngine):
    """Fails after the first tokens."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def generate(self, prompt, params):
        async for token in super().generate(prompt, params):
            yield token
            if token.id in encode(" think"):
                raise self.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GenerationError("broken"), "server_error"),
        (QueueFullError("full"), "rate_limit_exceeded"),
    ],
)
def test_a_failed_response_names_the_cause(error, code):
    with sdk_client(Failing(error)) as client:
        *_, last = respond(client, stream=True)
    assert (last.type, last.response.error.code) == ("response.failed", code)


def test_cached_tokens_are_those_that_the_engine_reused():
    messages = [{"role": "user", "content": "word " * 200}]
    with (
        started(Engine(random_transformer(vocab_size=201_088))) as engine,
        sdk_client(engine) as client,
    ):
        fields = {"messages": messages, "max_tokens": 1}
        first, second = (chat(client, **fields).usage for _ in range(2))
        assert first.prompt_tokens_details.cached_tokens == 0
        reused = second.prompt_tokens_details.cached_tokens
        assert reused % 64 == 0
        assert 128 <= reused < second.prompt_tokens
        again = respond(client, input=messages, max_output_tokens=16).usage
        assert again.input_tokens_details.cached_tokens == reused


def test_stored_responses_are_lost_with_the_process_but_encoded_cot_is_not():
    """A second server stands for the first one after a restart."""
    question = {"role": "user", "content": "Weather?"}
    fields = {"input": [question], "tools": [FLAT_TOOL]}
    with sdk_client(ScriptedEngine(CALL)) as client:
        first = respond(client, **fields, include=["reasoning.encrypted_content"])
    thought, call = (item.to_dict() for item in first.output)
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    engine = ScriptedEngine()
    with running(engine, AppSettings()) as url, openai.OpenAI(base_url=url, api_key="x") as client:
        with pytest.raises(openai.BadRequestError) as caught:
            respond(client, input=[result], previous_response_id=first.id)
        assert caught.value.code == "previous_response_not_found"
        respond(client, input=[question, thought | {"content": []}, call, result])
        assert "I think." in engine.prompts[-1]
        bare = {"type": "reasoning", "id": thought["id"], "summary": []}
        respond(client, input=[question, bare, call, result])
        assert "I think." not in engine.prompts[-1]
