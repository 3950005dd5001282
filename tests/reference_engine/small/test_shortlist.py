"""Draws from the shortlist of the shipped checkpoint equal draws from the whole vocabulary."""

import asyncio
from dataclasses import replace

import pytest
import torch

from harmony.conversation import Conversation, FunctionTool, User
from harmony.parse import STOP_TOKENS
from harmony.render import render_prompt
from harness.run.cases import load_suite
from reference_engine.checkpoint import load_model
from reference_engine.faults.catalogue import read_plan
from reference_engine.generation.engine import Engine, SamplingParams, Token
from reference_engine.model.transformer import Transformer, UncachedContext
from reference_engine.small.export import SHIPPED

SUITE = load_suite()
TOOLS = tuple(FunctionTool(each.name, each.description, each.parameters) for each in SUITE.tools)
PROMPTS = [
    tuple(render_prompt(Conversation((User(case.prompt),), TOOLS))) for case in SUITE.cases[:9]
]
LIMIT = SamplingParams(max_tokens=40, stop_token_ids=frozenset(STOP_TOKENS))


@pytest.fixture(scope="module")
def model() -> Transformer:
    return load_model(SHIPPED, "cpu", torch.float32)


def replies(model: Transformer, params: SamplingParams, prompts: int = 5) -> list[list[Token]]:
    async def one(engine: Engine, seed: int) -> list[Token]:
        tokens = engine.generate(PROMPTS[seed], replace(params, seed=seed))
        return [token async for token in tokens]

    async def every() -> list[list[Token]]:
        engine = Engine(model)
        engine.start()
        try:
            return await asyncio.gather(*(one(engine, seed) for seed in range(prompts)))
        finally:
            engine.close()

    return asyncio.run(every())


def ids(made: list[list[Token]]) -> list[list[int]]:
    return [[token.id for token in reply] for reply in made]


def test_the_rest_of_the_vocabulary_is_improbable(model: Transformer) -> None:
    outside = []
    for prompt, reply in zip(PROMPTS, ids(replies(model, LIMIT)), strict=False):
        tokens = torch.tensor([[*prompt, *reply]])
        listed = torch.cat((model.shortlist.common, model.shortlist.own(prompt)))
        with torch.inference_mode():
            stream = model.stream(tokens, UncachedContext(model.config, tokens))
            logits = model.logits(stream[0, len(prompt) - 1 : -1])
        outside.append(1 - logits.double().softmax(-1)[:, listed].sum(-1))
    assert torch.cat(outside).mean() < 2e-6
    assert torch.cat(outside).max() < 1e-2


@pytest.mark.parametrize(
    "params",
    [LIMIT, replace(LIMIT, temperature=0), replace(LIMIT, top_p=0.9)],
    ids=["random", "greedy", "top_p"],
)
def test_requests_with_logprobs_get_the_same_tokens(
    model: Transformer, params: SamplingParams
) -> None:
    """Logprobs need the whole vocabulary."""
    assert ids(replies(model, params)) == ids(replies(model, replace(params, top_logprobs=1)))


def test_improbable_tokens_can_be_drawn_at_a_high_temperature(model: Transformer) -> None:
    hot = replace(LIMIT, temperature=2.0, max_tokens=60)
    made = ids(replies(model, hot, prompts=len(PROMPTS)))
    listed = set(model.shortlist.common.tolist())
    assert any(
        set(reply) - listed - set(prompt) for prompt, reply in zip(PROMPTS, made, strict=True)
    )


@pytest.mark.parametrize("fault", ["sinks-dropped", "unembedding-fp8"])
def test_a_damaged_model_has_no_shortlist(fault: str) -> None:
    model = load_model(SHIPPED, "cpu", torch.float32)
    assert read_plan([fault]).damage(model).shortlist is None
