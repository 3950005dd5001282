"""Faults in the model's numbers, and faults of sampling."""

import asyncio
import math

import pytest
import torch
from faulty import Row, after, check, names_of, respond
from scripted import started
from tiny_model import random_transformer

from harmony.parse import CONSTRAIN, MESSAGE
from reference_engine.faults.catalogue import CATALOGUE, read_plan
from reference_engine.faults.fault import Fault, activated
from reference_engine.faults.hooks import LOGITS, MODEL
from reference_engine.faults.layers.numerics import staged
from reference_engine.faults.server import AdjustedParams, FaultyEngine, adjusted_sample
from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.generation.sampling import Draw, sample
from reference_engine.model.logits import AllLogits

LAYERS = ("numerics", "models")
MODEL_FAULTS = [name for name in sorted(names_of(*LAYERS)) if CATALOGUE[name].at(MODEL)]
PROMPT = torch.randint(0, 300, (1, 100), generator=torch.Generator().manual_seed(2))
# The effect of another order of additions: `test_expert_stages_without_faults_equal_the_experts`.
NOISE = 2e-6


def model():
    """Return a tiny model with a window of 4 and with experts whose activations reach the clamp."""
    transformer = random_transformer(num_local_experts=8, max_position_embeddings=512)
    for block in transformer.block:
        block.mlp.mlp1_weight.mul_(5)
    return transformer


def logprobs(transformer, tokens=PROMPT):
    with torch.inference_mode():
        return transformer(tokens).log_softmax(-1)


def damaged(*names):
    return read_plan(names).damage(model())


def generated(transformer, sampler=sample, wrap=lambda engine: engine, **params):
    """Return the tokens that the engine generates greedily, with their log probabilities."""
    settings = {"max_tokens": 3, "temperature": 0.0, "top_logprobs": 0} | params

    async def run(engine):
        tokens = wrap(engine).generate(PROMPT[0].tolist(), SamplingParams(**settings))
        return [(token.id, token.logprob) async for token in tokens]

    with started(Engine(transformer, max_batch=2, max_context=200, sampler=sampler)) as engine:
        return asyncio.run(run(engine))


@pytest.fixture(scope="module")
def healthy():
    return logprobs(model())


def test_every_fault_has_a_row():
    assert {*MODEL_FAULTS, "prefix-of-another-prompt"} == names_of(*LAYERS)


@pytest.mark.parametrize("name", MODEL_FAULTS)
def test_a_damaged_model_differs_by_more_than_noise(name, healthy):
    assert (logprobs(damaged(name)) - healthy).abs().mean() > 50 * NOISE


@pytest.mark.parametrize("name", sorted({*MODEL_FAULTS} - {"expert-of-another-token"}))
def test_the_engine_runs_the_damaged_model(name):
    """Whose expert a token takes from another depends on the tokens of the pass."""
    transformer = damaged(name)
    drawn = generated(transformer)
    whole = torch.cat((PROMPT, torch.tensor([[token for token, _ in drawn]])), dim=1)
    expected = logprobs(transformer, whole)[0, PROMPT.shape[1] - 1 : -1]
    assert [token for token, _ in drawn] == expected.argmax(-1).tolist()
    found = torch.tensor([logprob for _, logprob in drawn])
    assert torch.allclose(found, expected.max(-1).values, atol=1e-4)


def test_expert_stages_without_faults_equal_the_experts(healthy):
    transformer = model()
    assert len([staged(block.mlp) for block in transformer.block]) == 3
    assert (logprobs(transformer) - healthy).abs().mean() < NOISE


def test_faults_of_the_same_part_are_combined(healthy):
    both = logprobs(damaged("swiglu-without-plus-one", "expert-bias-unweighted"))
    for name in ("swiglu-without-plus-one", "expert-bias-unweighted"):
        assert (both - logprobs(damaged(name))).abs().mean() > 1e-3


def test_fault_hooks_without_faults_change_no_bit():
    plain = generated(model(), temperature=1.0, seed=5)
    assert generated(model(), adjusted_sample, FaultyEngine, temperature=1.0, seed=5) == plain


def test_sampling_uses_the_adjusted_logits():
    first = generated(model())[0][0]
    unlikely = Fault("unlikely", "", "", "", (), True, 1, (), {"logits": _without(first)})
    with activated([unlikely]):
        drawn = generated(model(), adjusted_sample, FaultyEngine)
    assert drawn[0][0] != first


def _without(token):
    def change(logits, _):
        return logits.index_fill(0, torch.tensor([token]), -math.inf)

    return change


SCORES = torch.tensor([2.0, -1.0, 5.0, 4.9]).repeat(50_010)
ADJUSTED = {
    "repetition-penalty": lambda new: (
        new[0] == pytest.approx(2 / 1.1) and new[1] == pytest.approx(-1.1) and new[2] == 5
    ),
    "constrain-token-masked": lambda new: not new[CONSTRAIN].isfinite() and new[2] == 5,
    "token-zero-up-to-limit": lambda new: new.argmax() == 0,
    "answers-that-loop": lambda new: new.argmax() == 3,
    "ok:numeric-noise": lambda new: 0 < (new - SCORES).abs().max() < 0.05,
}


DRAWN = {
    "token-zero-up-to-limit": [7, MESSAGE],
    "answers-that-loop": [MESSAGE, 9, 3, 4, 5, 6],
}
"""The tokens before the next one, of defects that depend on them."""


def test_every_fault_of_the_logits_has_a_row():
    assert ADJUSTED.keys() == {name for name, fault in CATALOGUE.items() if fault.at(LOGITS)}


@pytest.mark.parametrize("name", ADJUSTED)
def test_logits(name):
    before = SCORES.clone()
    assert ADJUSTED[name](CATALOGUE[name].at(LOGITS)(SCORES, DRAWN.get(name, [0, 1])))
    assert torch.equal(SCORES, before)


async def test_the_cached_prefix_of_another_prompt_is_used():
    long = {"role": "user", "content": "This is the secret of the first: " + "1 2 3 4 " * 30}
    other = {"role": "user", "content": "And this one is quite another: " + "5 6 7 8 " * 30}
    ask = after(respond([long]), [other])
    ask.body.pop("previous_response_id")
    row = Row(ask, lambda s: "secret" in s.prompt and "5 6 7 8" in s.prompt)
    await check("prefix-of-another-prompt", row)


def test_the_sampler_sees_the_tokens_drawn_before():
    seen = []

    def note(logits, tokens):
        seen.append(list(tokens))
        return logits

    params = AdjustedParams(max_tokens=9, temperature=0.0, adjusters=[note], tokens=[7])
    for step in range(2):
        adjusted_sample(AllLogits(torch.tensor([[0.0, 1.0]])), [Draw(params, 0, step)])
    assert seen == [[7], [7, 1]]
