"""Ragged batches with plain attention agree with padded batches."""

import pytest
import torch
from tiny_model import random_transformer

from reference_engine.generation.forward import GatheredForward
from reference_engine.generation.ragged import RaggedForward
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import SamplingParams
from reference_engine.generation.sequence import Sequence
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BlockTable, Layout, PagePool, block_hashes

pytestmark = pytest.mark.usefixtures("plain_attention")
TEXT = torch.randint(0, 300, (400,), generator=torch.Generator().manual_seed(0)).tolist()


@pytest.mark.parametrize("window", [3, 100, 128])
@torch.inference_mode()
def test_ragged_batches_agree_with_padded_ones(window):
    model = random_transformer(num_hidden_layers=3, sliding_window=window)
    results = []
    for forward in (GatheredForward, RaggedForward):
        cache = KVCache(model.config, 40, torch.float32, torch.device("cpu"))
        made = Runner(
            model,
            cache,
            max_batch=4,
            max_context=400,
            prefill_chunk=192,
            forward=forward(model, cache),
        )
        for length in (300, 64, 1):
            params = SamplingParams(80, temperature=0, top_logprobs=0)
            made.add(Sequence(tuple(TEXT[:length]), params))
        gained = []
        while made.scheduler.running:
            gained += made.step()
        results.append(gained)
    plain, ragged = results
    assert [step.token.id for step in ragged] == [step.token.id for step in plain]
    for ours, theirs in zip(ragged, plain, strict=True):
        assert ours.token.logprob == pytest.approx(theirs.token.logprob, abs=1e-4)


def test_pages_before_the_window_are_reused():
    """A sequence of 2,048 blocks, the maximum context, with few pages for the window."""
    layout = Layout(full=True, window=128)
    pool = PagePool(2048 + layout.window_blocks)
    assert layout.longest(pool.size) == 131072
    table = BlockTable(pool, layout, [])
    for block in range(2048):
        table.trim(block * 64)
        table.extend(block + 1)
        assert pool.used <= block + 1 + layout.window_blocks
    table.trim(131071)
    assert pool.used == table.page_count == 2048 + 2
    table.release()
    assert pool.used == 0


@pytest.mark.parametrize(("full", "window"), [(True, None), (True, 128), (False, 128)])
def test_the_longest_sequence_of_a_memory_finds_its_pages(full, window):
    layout = Layout(full, window)
    for pages in range(1, 9):
        longest = layout.longest(pages)
        assert layout.pages_for(1000 if longest is None else longest) <= pages


def test_registered_pages_are_found_until_their_memory_is_needed():
    pool = PagePool(2)
    first, second = pool.allocate(), pool.allocate()
    pool.register(first, "a")
    pool.register(second, "b")
    pool.release(first)
    pool.release(second)
    pool.share(pool.find("a"))
    assert pool.in_use("a")
    assert not pool.in_use("b")
    assert pool.allocate() == second
    assert pool.find("b") is None
    with pytest.raises(IndexError, match="available"):
        pool.allocate()


def test_block_hashes_cover_all_tokens_before():
    names = block_hashes(TEXT[:200])
    assert len(names) == 3
    assert block_hashes(TEXT[:128]) == names[:2]
    assert block_hashes([TEXT[0] + 1, *TEXT[1:200]])[2] != names[2]
