"""Raw completions over a real socket, with the openai client: the engine without conversion."""

import math

import openai
import pytest
from faulty import MODEL
from openai.types import Completion
from scripted import ANSWER, ScriptedEngine, sdk_client, serving

from harmony.parse import RETURN
from harmony.vocabulary import encode
from reference_engine.faults.server import faulty_parts
from reference_engine.server.settings import AppSettings

PROMPT = "<|start|>user<|message|>Hi<|end|><|start|>assistant"
IDS = encode(PROMPT)
SHOWN = ANSWER.removesuffix("<|return|>")
KEPT = {"skip_special_tokens": False, "return_token_ids": True}


@pytest.fixture(scope="module")
def served():
    engine = ScriptedEngine()
    with sdk_client(engine) as client:
        yield engine, client


@pytest.fixture
def ask(served):
    """Send a request; by default, with token ids and room for the whole answer."""
    create = served[1].completions.create

    def send(prompt=IDS, max_tokens=64, extra=None, **fields):
        return create(model=MODEL, prompt=prompt, max_tokens=max_tokens, extra_body=extra, **fields)

    return send


@pytest.mark.parametrize(
    "prompt", [PROMPT, IDS, [PROMPT], [IDS]], ids=["text", "ids", "text in list", "ids in list"]
)
def test_the_prompt_reaches_the_engine_unchanged(engine, ask, prompt):
    reply = ask(prompt, extra=KEPT)
    assert engine.prompts == [PROMPT]
    Completion.model_validate(reply.to_dict())
    (choice,) = reply.choices
    assert (choice.text, choice.finish_reason) == (SHOWN, "stop")
    assert choice.token_ids == encode(ANSWER)
    assert reply.usage.prompt_tokens == len(IDS)
    assert reply.usage.completion_tokens == len(encode(ANSWER))


def test_special_tokens_are_omitted_by_default(engine, ask):
    reply = ask()
    assert reply.choices[0].text == "analysisI think.assistantfinalHello there."
    assert "token_ids" not in reply.choices[0].to_dict()


def test_a_stream_adds_up_to_the_complete_reply(engine, ask):
    chunks = list(ask(extra=KEPT, logprobs=2, stream=True, stream_options={"include_usage": True}))
    whole = ask(extra=KEPT, logprobs=2)
    *pieces, usage = chunks
    assert (usage.choices, usage.usage) == ([], whole.usage)
    choices = [piece.choices[0] for piece in pieces]
    assert "".join(choice.text for choice in choices) == whole.choices[0].text
    assert [one for choice in choices for one in choice.token_ids] == whole.choices[0].token_ids
    joined = [value for choice in choices for value in choice.logprobs.token_logprobs]
    assert joined == whole.choices[0].logprobs.token_logprobs
    offsets = [value for choice in choices for value in choice.logprobs.text_offset]
    assert offsets == whole.choices[0].logprobs.text_offset
    assert [choice.finish_reason for choice in choices] == [None] * (len(choices) - 1) + ["stop"]


def test_logprobs_name_tokens_by_text_or_id(engine, ask):
    ids = encode(ANSWER)
    found = ask(extra=KEPT, logprobs=2).choices[0].logprobs
    assert "".join(found.tokens) == ANSWER
    assert found.token_logprobs == [-0.5] * len(ids)
    named = ask(extra=KEPT | {"return_tokens_as_token_ids": True}, logprobs=2).choices[0].logprobs
    assert named.tokens == [f"token_id:{one}" for one in ids]
    assert named.top_logprobs[0] == {f"token_id:{ids[0]}": -0.5, f"token_id:{ids[0] + 1}": -1.5}


def test_a_completion_ends_at_a_limit_stop_string_or_stop_token(engine, ask):
    cut = ask(max_tokens=3, extra=KEPT)
    assert (cut.choices[0].finish_reason, len(cut.choices[0].token_ids)) == ("length", 3)
    stopped = ask(stop="there", extra=KEPT).choices[0]
    assert (stopped.finish_reason, stopped.text.rpartition(">")[2]) == ("stop", "Hello ")
    own = ask(extra=KEPT | {"stop_token_ids": encode("<|end|>")}).choices[0]
    assert own.text == "<|channel|>analysis<|message|>I think."


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["Hi", "Ho"]}, "prompt"),
        ({"prompt": [201088]}, "prompt[0]"),
        ({"prompt": [[1, 201088]]}, "prompt[1]"),
        ({"prompt": "a" * 20_000}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": 21}, "logprobs"),
        ({"echo": True}, "echo"),
        ({"n": 2}, "n"),
        ({"extra": {"top_k": -2}}, "top_k"),
        ({"extra": {"messages": []}}, "messages"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_errors_of_wrong_requests_name_the_field(engine, ask, fields, named):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(**fields)
    assert refused.value.param == named
    assert engine.prompts == []


@pytest.mark.parametrize(("given", "meant"), [(20, 20), (0, 0), (-1, 0), (None, 0), (10**9, 10**9)])
def test_top_k_reaches_the_engine(engine, ask, given, meant):
    ask(extra={"top_k": given})
    assert engine.params[-1].top_k == meant


def test_a_prompt_without_room_for_an_answer_is_rejected(engine, ask):
    with pytest.raises(openai.BadRequestError) as refused:
        ask([1] * 4096)
    assert refused.value.code == "context_length_exceeded"


def test_only_faults_of_the_engine_affect_raw_completions():
    engine = ScriptedEngine()
    seen = []
    for given in ([], ["temperature-fixed", "effort-ignored", "finish-length-overwritten"]):
        app = faulty_parts(given).app(engine, AppSettings())
        with serving(app) as url, openai.OpenAI(base_url=url, api_key="-") as client:
            reply = client.completions.create(
                model=MODEL, prompt=IDS, temperature=0.3, max_tokens=3
            )
        seen.append((reply.choices[0].finish_reason, engine.prompts[-1]))
    assert seen == [("length", PROMPT)] * 2
    healthy, faulty = (params.temperature for params in engine.params)
    assert math.isclose(healthy, 0.3)
    assert not math.isclose(faulty, 0.3)


def test_an_ignored_stop_token_is_part_of_the_text(ask, engine):
    app = faulty_parts(["return-not-a-stop"]).app(engine, AppSettings())
    engine.script = lambda *_: [*encode(ANSWER), *encode("More"), RETURN]
    with serving(app) as url, openai.OpenAI(base_url=url, api_key="-") as client:
        reply = client.completions.create(
            model=MODEL, prompt=IDS, max_tokens=64, extra_body={"skip_special_tokens": False}
        )
    assert reply.choices[0].text.startswith(ANSWER + "More")
