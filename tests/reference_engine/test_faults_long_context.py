"""Faults that show only in long prompts, with thresholds of a few hundred tokens."""

import asyncio

import pytest
import torch
from faulty import names_of
from scripted import started
from tiny_model import random_transformer

from harmony.conversation import Conversation, FunctionTool, User
from harmony.render import render_prompt
from harmony.vocabulary import harmony_encoding
from reference_engine.faults.catalogue import CATALOGUE, read_plan
from reference_engine.faults.hooks import INPUT
from reference_engine.faults.layers import long_context
from reference_engine.generation.engine import Engine, SamplingParams
from reference_engine.generation.graphs import forward_for

ENGINE = sorted(name for name in names_of("long context") if CATALOGUE[name].of_engine)
SEED = torch.Generator().manual_seed(4)
OTHER, LONG, SHORT = (torch.randint(300, (n,), generator=SEED).tolist() for n in (448, 450, 40))
SECOND_USE = {"positions-restarted-by-cache-hit"}
"""Faults that show when the prompt is in the cache."""


@pytest.fixture(autouse=True)
def short_thresholds(monkeypatch):
    for name, value in {"_POSITIONS": 256, "_DAMAGED": 2, "_CACHED": 192}.items():
        monkeypatch.setattr(long_context, name, value)
    monkeypatch.setattr(long_context, "_HEADS", type(long_context._HEADS)())


def logprobs(*faults):
    """Return the logprobs of the tokens that follow each prompt, in order."""
    plan = read_plan(faults)
    model = plan.damage(random_transformer(sliding_window=128, max_position_embeddings=1024))
    params = SamplingParams(max_tokens=3, temperature=0.0, top_logprobs=0)

    async def every(engine):
        return [
            [token.logprob async for token in engine.generate(prompt, params)]
            for prompt in (SHORT, OTHER, LONG, LONG)
        ]

    forward = plan.forward(forward_for)
    with started(Engine(model, max_batch=2, max_context=512, forward=forward)) as engine:
        return asyncio.run(every(engine))


@pytest.fixture(scope="module")
def healthy():
    return logprobs()


def test_the_healthy_engine_answers_a_cached_prompt_identically(healthy):
    assert healthy[2] == healthy[3]


@pytest.mark.parametrize("name", ENGINE)
def test_a_fault_changes_long_prompts_only(name, healthy):
    short, _, new, cached = (a != b for a, b in zip(logprobs(name), healthy, strict=True))
    assert not short
    assert new == (name not in SECOND_USE)
    assert cached


def change(name):
    return CATALOGUE[name].at(INPUT)


def prompt(text="one " * 400, effort="low", tool=None):
    tools = (FunctionTool(tool, "A tool.", None),) if tool else ()
    return render_prompt(Conversation((User(text),), tools=tools, effort=effort))


def test_a_faulty_cache_ignores_other_tools():
    cached = change("prefix-cache-ignores-tools")
    first = prompt(tool="first")
    assert cached(first) == first
    read = harmony_encoding().decode(cached(prompt(tool="second")))
    assert "first" in read
    assert "second" not in read
    assert cached(prompt("Hi", tool="second")) == prompt("Hi", tool="second")


def test_a_faulty_cache_ignores_another_effort():
    cached = change("prefix-cache-ignores-effort")
    assert cached(prompt()) == prompt()
    assert cached(prompt(effort="high")) == prompt()
    other = prompt(effort="high", tool="second")
    assert cached(other) == other


def test_every_fault_has_a_row():
    inputs = {"prefix-cache-ignores-tools", "prefix-cache-ignores-effort"}
    assert {*ENGINE} | inputs == names_of("long context")
