"""Hugging Face transformers behind our server, on the exported small checkpoint."""

import asyncio

import openai
import pytest
import torch
from scripted import running, started

from harmony.conversation import Conversation, User
from harmony.parse import STOP_TOKENS
from harmony.render import render_prompt
from reference_engine.backends.settings import BackendSettings
from reference_engine.checkpoint import load_model
from reference_engine.errors import SetupError
from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.generation.errors import (
    ContextOverflowError,
    EngineClosedError,
    QueueFullError,
)
from reference_engine.server.serve import open_engine
from reference_engine.server.settings import SMALL_CHECKPOINT, ServeSettings

pytest.importorskip("transformers")
from reference_engine.backends.in_process import InProcessEngine, load_transformers

SETTINGS = BackendSettings(name="transformers")
SHORT = render_prompt(Conversation((User("What is 17 + 25?"),)))
LONG = render_prompt(Conversation((User("What is 17 + 25? " + "Take your time. " * 150),)))
SEEDED = SamplingParams(24, seed=7, stop_token_ids=STOP_TOKENS, top_logprobs=3)


def test_the_bundled_checkpoint_is_rejected_with_advice():
    with pytest.raises(SetupError, match="python -m reference_engine export-small"):
        open_engine(ServeSettings(backend=SETTINGS))


@pytest.fixture(scope="module")
def model(exported):
    return load_transformers(exported, "cpu", None)


@pytest.fixture(scope="module")
def engine(model):
    with started(InProcessEngine(model, max_batch=4, max_context=1024)) as engine:
        yield engine


async def tokens_of(engine, prompt, params=SEEDED):
    return [token async for token in engine.generate(prompt, params)]


@pytest.mark.slow
async def test_transformers_generates_what_our_engine_generates(engine):
    """The same draws from the same distributions; a long prompt is read in pieces.

    A piece has 512 tokens, which both engines read in float32, without a kernel.
    """
    assert len(LONG) > 512
    model = load_model(SMALL_CHECKPOINT, "cpu", torch.float32)
    with started(Engine(model, max_context=1024)) as ours:
        for prompt in (SHORT, LONG):
            wanted, got = await tokens_of(ours, prompt), await tokens_of(engine, prompt)
            assert [token.id for token in got] == [token.id for token in wanted]
            for here, there in zip(got, wanted, strict=True):
                assert here.logprob == pytest.approx(there.logprob, abs=2e-3)
                assert here.top[0][0] == there.top[0][0]
                assert len(here.top) == 3


@pytest.mark.slow
def test_logits_are_not_rounded_to_bfloat16(exported):
    logits = load_transformers(exported, "cpu", "bfloat16").new_sequence()(SHORT)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, logits.bfloat16().float())


@pytest.mark.slow
async def test_streams_and_whole_replies_agree_in_both_apis(engine):
    user = {"role": "user", "content": "What is 17 + 25?"}
    with running(engine) as url:
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            asked = {"model": "gpt-oss-small", "messages": [user], "seed": 7, "logprobs": True}
            whole = await client.chat.completions.create(**asked)
            streamed = [
                chunk.choices[0]
                async for chunk in await client.chat.completions.create(**asked, stream=True)
                if chunk.choices
            ]
            reply = await client.responses.create(
                model="gpt-oss-small", input=[user], temperature=0, max_output_tokens=200
            )
    said = whole.choices[0]
    assert said.finish_reason == "stop"
    assert said.message.content
    assert said.logprobs.content
    assert said.message.content == "".join(chunk.delta.content or "" for chunk in streamed)
    assert reply.status == "completed"
    assert [item.type for item in reply.output] == ["reasoning", "message"]


@pytest.mark.slow
async def test_requests_are_served_in_turn_and_can_be_cancelled(model):
    engine = InProcessEngine(model, max_batch=2, max_context=256, max_queue=0)
    engine.start()
    first, second = (engine.generate(SHORT, SEEDED) for _ in range(2))
    assert await anext(first) == await anext(second)
    with pytest.raises(QueueFullError):
        await anext(engine.generate(SHORT, SEEDED))
    await first.aclose()
    assert await tokens_of(engine, SHORT, SamplingParams(1, temperature=0))
    with pytest.raises(ContextOverflowError):
        await anext(engine.generate(LONG, SEEDED))
    await asyncio.to_thread(engine.close)
    with pytest.raises(EngineClosedError):
        await anext(second)
