"""The engine's logprobs of generated and given completions."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_model import random_transformer

from harmony.conversation import Conversation, User
from harmony.render import render_prompt, tokens_sha256
from reference_engine import scoring
from reference_engine.errors import SetupError
from reference_engine.scoring import answer_lines, score_completion
from reference_engine.server.settings import ServeSettings

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
RESPONSES = {"model": "m", "input": "Hi", "temperature": 0}


@pytest.fixture
def small(monkeypatch):
    model = random_transformer(num_local_experts=8, vocab_size=201088, max_position_embeddings=512)
    monkeypatch.setattr(scoring, "load", lambda _: model)
    return ServeSettings(dtype="float32", max_context=200)


def asked(settings, *questions):
    head, *answers = answer_lines([json.dumps(one).encode() for one in questions], settings)
    assert len(json.loads(head)["weights_sha256"]) == 64
    return [json.loads(line) for line in answers]


def test_scoring_gives_the_logprobs_of_generating(small):
    [free] = asked(small, {"id": "1", "api": "chat", "body": CHAT | {"max_tokens": 6}})
    ids = [token["id"] for token in free["tokens"]]
    assert len(ids) == 6
    led, other = asked(
        small,
        {"id": "2", "api": "chat", "body": CHAT, "completion": ids},
        {"id": "3", "api": "responses", "body": RESPONSES, "completion": ids},
    )
    assert (led["tokens"], led["prompt_tokens"]) == (other["tokens"], free["prompt_tokens"])
    for one, same in zip(free["tokens"], led["tokens"], strict=True):
        assert one["id"] == same["id"] == same["top"][0][0]
        assert one["logprob"] == pytest.approx(same["logprob"], abs=1e-4)


@pytest.mark.parametrize("scores", [2**27, 2**12, 0])
def test_the_logprobs_are_those_of_one_forward_pass(scores, monkeypatch):
    monkeypatch.setattr(scoring, "_MOST_SCORES", scores)
    model = random_transformer(num_local_experts=8)
    prompt, completion = list(range(140)), list(range(90))
    with torch.inference_mode():
        every = model(torch.tensor([prompt + completion])).log_softmax(-1)[0]
    found = score_completion(model, prompt, completion)
    expected = [float(every[139 + at, token]) for at, token in enumerate(completion)]
    assert [token.logprob for token in found] == pytest.approx(expected, abs=1e-4)


def test_scoring_accepts_an_empty_completion(small):
    [answer] = asked(small, {"id": "1", "api": "chat", "body": CHAT, "completion": []})
    assert (answer["id"], answer["tokens"]) == ("1", [])


BAD = {
    "no JSON": b"what",
    "a body that no server takes": b'{"id": "1", "api": "chat", "body": {"model": "m"}}',
    "a prompt that is too long": json.dumps(
        {
            "id": "1",
            "api": "chat",
            "body": CHAT | {"messages": [{"role": "user", "content": "x " * 300}]},
        }
    ).encode(),
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_invalid_scoring_requests_are_rejected(line, small):
    with pytest.raises(SetupError):
        list(answer_lines([line], small))


def test_a_raw_completion_is_scored_like_the_same_prompt_of_chat(small):
    prompt = render_prompt(Conversation((User("Hi"),)))
    raw = {"model": "m", "prompt": prompt, "temperature": 0, "max_tokens": 6, "logprobs": 20}
    chat, completed = asked(
        small,
        {"id": "1", "api": "chat", "body": CHAT | {"max_tokens": 6}},
        {"id": "2", "api": "harmony", "body": raw},
    )
    assert chat["tokens"] == completed["tokens"]
    assert chat["prompt_sha256"] == completed["prompt_sha256"] == tokens_sha256(prompt)


def test_faults_of_prompts_change_a_raw_completion(small):
    prompt = render_prompt(Conversation((User("Hi"),)))
    question = {"id": "1", "api": "harmony", "body": {"model": "m", "prompt": prompt}}
    [usual] = asked(small, question)
    [other] = asked(replace(small, faults=("user-named-human",)), question)
    assert usual["prompt_sha256"] != other["prompt_sha256"]
