"""The scheduler divides steps and pages of the cache among sequences."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import random_transformer

from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import SamplingParams, Token
from reference_engine.generation.scheduler import Scheduler
from reference_engine.generation.sequence import Sequence
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK

CONTEXT = 320
LEAST_PAGES = 8
"""The pages of a sequence of CONTEXT tokens: five full blocks and three window blocks."""
TEXT = torch.randint(0, 300, (CONTEXT,), generator=torch.Generator().manual_seed(0)).tolist()


@cache
def model():
    return random_transformer(num_hidden_layers=2, sliding_window=100)


def runner(pages: int, *, chunk: int = 128, **limits: int) -> Runner:
    kv = KVCache(model().config, pages, torch.float32, torch.device("cpu"))
    limits = {"max_batch": 8, **limits}
    return Runner(model(), kv, max_context=CONTEXT, prefill_chunk=chunk, **limits)


def sequence(length: int, offset: int, tokens: int, seed: int) -> Sequence:
    """Prompts with the same offset share a prefix."""
    prompt = (TEXT[offset:] + TEXT[:offset])[:length]
    return Sequence(tuple(prompt), SamplingParams(tokens, seed=seed, top_logprobs=1))


def run(made: Runner, waiting: list[Sequence], leaving: dict[int, int] | None = None):
    """Returns tokens by sequence while sequences join and leave, and checks the pages."""
    pool, waiting = made._cache.pool, list(waiting)
    leaves = {waiting[n]: steps for n, steps in (leaving or {}).items()}
    tokens = {given: [] for given in waiting}
    done: set[Sequence] = set()
    for step in range(5000):
        while waiting and made.scheduler.fits(waiting[0]):
            made.add(waiting.pop(0))
        for gone in [gone for gone, when in leaves.items() if when == step and gone not in waiting]:
            made.remove(gone)
            done.add(gone)
        if not waiting and not made.scheduler.running and not made.scheduler.preempted:
            break
        for gained in made.step():
            tokens[gained.sequence].append(gained.token)
            done |= {gained.sequence} if gained.finished else set()
        held = {
            page
            for running in made.scheduler._running
            for page in (*running.table.full, *running.table.sliding)
            if page != 0
        }
        assert len(held) == pool.used <= pool.size
    assert done == set(tokens)
    assert pool.used == 0
    return list(tokens.values())


def test_steps_are_planned_without_a_model() -> None:
    """The oldest sequence gets pages first; the other one restarts, and both finish."""
    kv = KVCache(model().config, LEAST_PAGES, torch.float32, torch.device("cpu"))
    limits = {"max_batch": 2, "max_context": CONTEXT, "prefill_chunk": 2 * BLOCK, "headroom": 0}
    scheduler = Scheduler(kv, **limits)
    first, second = sequence(2 * BLOCK, 0, 2 * BLOCK, 1), sequence(BLOCK, 150, 2 * BLOCK, 2)
    for each in (first, second):
        assert scheduler.fits(each)
        scheduler.add(each)
    plan = scheduler.plan()
    assert [row.start for _, row in plan.prefill] == [0, 0]  # a block of each, in turn
    while scheduler.running:
        for rows in (plan.prefill, plan.decode):
            gaining = [rows[at][0] for at in scheduler.advance(rows)]
            for each in gaining:
                scheduler.gain(each, Token(7))
        plan = scheduler.plan()
    assert scheduler.tally.preemptions > 0
    assert [each.generated for each in (first, second)] == [2 * BLOCK] * 2
    assert scheduler.pages["used"] == 0


@cache
def alone(*wish: int):
    return run(runner(100), [sequence(*wish)])[0]


wishes = st.tuples(
    st.integers(1, 250), st.sampled_from([0, 70]), st.integers(1, 70), st.integers(0, 2)
)


@settings(max_examples=6)
@given(
    asked=st.lists(wishes, min_size=1, max_size=6),
    pages=st.integers(LEAST_PAGES, LEAST_PAGES + 8),
    chunk=st.sampled_from([64, 256]),
    headroom=st.sampled_from([0, 0, 256]),
    leaving=st.dictionaries(st.integers(0, 5), st.integers(0, 60), max_size=2),
)
def test_pages_never_run_out_and_other_sequences_change_nothing(
    asked, pages, chunk, headroom, leaving
):
    """All sequences get the same tokens and logprobs as alone, to the last bit."""
    leaving = {n: step for n, step in leaving.items() if n < len(asked)}
    made = run(
        runner(pages, chunk=chunk, headroom=headroom),
        [sequence(*ask) for ask in asked],
        leaving,
    )
    for n, (wish, tokens) in enumerate(zip(asked, made, strict=True)):
        wanted = alone(*wish)
        assert tokens == (wanted[: len(tokens)] if n in leaving else wanted)


def test_the_newest_sequence_is_preempted_and_restarts():
    asked = [(60, 0, 120, 1), (60, 70, 120, 2), (60, 140, 120, 3)]
    made = runner(LEAST_PAGES + 3, headroom=0)
    assert run(made, [sequence(*ask) for ask in asked]) == [alone(*ask) for ask in asked]
    assert made.scheduler.tally.preemptions > 0
    assert made.scheduler.tally.generated_tokens == 360
    assert made.scheduler.tally.repeated_tokens > 0


def test_a_sequence_without_pages_waits():
    made = runner(LEAST_PAGES)
    first, second = sequence(300, 0, 20, 1), sequence(200, 70, 20, 2)
    assert made.scheduler.fits(first)
    made.add(first)
    assert not made.scheduler.fits(second)
    while made.scheduler.running:
        made.step()
    assert made.scheduler.fits(second)


def test_the_batch_size_is_limited():
    made = runner(100, max_batch=1)
    made.add(sequence(5, 0, 9, 1))
    assert not made.scheduler.fits(sequence(5, 0, 9, 2))


@pytest.mark.parametrize("chunk", [64, 192, 1000])
def test_long_prompts_are_prefilled_in_chunks_while_others_decode(chunk):
    made = runner(100, chunk=chunk)
    short, long = sequence(5, 70, 30, 1), sequence(300, 0, 2, 2)
    made.add(short)
    made.step()
    made.add(long)
    before, steps = made.scheduler.tally.prompt_tokens, 0
    while long.in_prefill:
        read = made.scheduler.tally.prompt_tokens
        assert [gained.sequence for gained in made.step()][-1] is short
        assert 0 < made.scheduler.tally.prompt_tokens - read <= max(chunk, BLOCK)
        steps += 1
    assert made.scheduler.tally.prompt_tokens - before == 300
    assert steps == -(-300 // min(chunk, 320))
