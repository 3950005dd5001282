"""Compares the attention kernel with plain PyTorch in float64; test_kernel_suite.py runs this."""

import pytest
import torch
from bfloat16_rounding import mean_ratio
from plain_attention import paged_attention as plain_attention

from reference_engine.kernels import interpreting
from reference_engine.kernels.attention_triton import paged_attention

DEVICE = "cpu" if interpreting() else "cuda"
BOUNDS = {torch.float32: 1e-6, torch.bfloat16: 2**-8}
MEANS = {torch.float32: 1e-6, torch.bfloat16: 1e-3}
"""Of found / exact: numbers that are cut instead of rounded are 0.4% too small on average."""

# (heads, kv_heads, head_dim), page size, new tokens and context lengths of each sequence.
BATCHES = {
    "decode, groups of eight": ((8, 1, 64), 16, (1, 1, 1), (1, 16, 40)),
    "decode, groups of four": ((8, 2, 64), 4, (1, 1), (5, 33)),
    "prompt, no grouping": ((2, 2, 64), 16, (21,), (21,)),
    "chunk after a past, beside decoding": ((8, 1, 64), 4, (1, 5, 9), (70, 40, 9)),
    "chunks beside the end of a block": ((8, 1, 16), 16, (20, 20, 20), (146, 147, 160)),
    "a sequence without new tokens": ((4, 1, 64), 64, (7, 0, 1), (30, 20, 65)),
    "heads and groups of odd sizes": ((6, 2, 24), 3, (3, 1), (10, 8)),
}


def batch(shape, page_size, new, lengths, dtype=torch.float32, seed=0):
    """Arguments up to the sinks, with pages in random order and -1 for unused table entries."""
    heads, kv_heads, size = shape
    generator = torch.Generator().manual_seed(seed)
    counts = [-(-length // page_size) for length in lengths]
    order = torch.randperm(sum(counts) + 2, generator=generator).int()
    tables = torch.full((len(lengths), max(counts) + 1), -1, dtype=torch.int32)
    for sequence, (count, used) in enumerate(zip(counts, order.split([*counts, 2]), strict=False)):
        tables[sequence, :count] = used

    def random(*shape):
        return torch.randn(*shape, generator=generator).to(DEVICE, dtype)

    pages = (len(order), page_size, kv_heads, size)
    return (
        random(sum(new), heads, size),
        random(*pages),
        random(*pages),
        tables.to(DEVICE),
        torch.tensor([0, *new]).cumsum(0).int().to(DEVICE),
        torch.tensor(lengths).int().to(DEVICE),
        random(heads),
    )


def exact(arguments, window, scale):
    doubled = [x.double() if x.is_floating_point() else x for x in arguments]
    return plain_attention(*doubled, window, scale)


def check(arguments, window, **settings):
    query, _, values, *_ = arguments
    scale = query.shape[-1] ** -0.5
    found = paged_attention(*arguments, window, scale, **settings)
    assert found.dtype == query.dtype
    right = exact(arguments, window, scale)
    assert (found - right).abs().max() <= BOUNDS[query.dtype] * values.abs().max()
    assert abs(mean_ratio(found, right) - 1) <= MEANS[query.dtype]


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("shape", BATCHES.values(), ids=BATCHES)
def test_agrees_with_float64(shape, window):
    check(batch(*shape), window)


@pytest.mark.parametrize("splits", [1, 4])
@pytest.mark.parametrize("name", [name for name in BATCHES if "chunk" in name])
def test_agrees_in_bfloat16(name, splits):
    check(batch(*BATCHES[name], torch.bfloat16), None, splits=splits)


def test_a_mask_that_hides_nothing_changes_no_bit():
    """The first token of each tile decides which blocks of keys have a mask; keys are not split."""
    query, keys, values, tables, _, lengths, sinks = batch(
        (8, 1, 16), 16, (30, 30, 30), (146, 147, 160), torch.bfloat16
    )

    def attention(query):
        starts = torch.arange(4, dtype=torch.int32, device=DEVICE) * query.shape[1]
        given = (query.flatten(0, 1), keys, values, tables, starts, lengths, sinks)
        return paged_attention(*given, None, 0.25, splits=1).view_as(query)

    query = query.unflatten(0, (3, 30))
    assert torch.equal(attention(query)[:, 10:], attention(query[:, 10:]))


@pytest.mark.parametrize(("window", "splits"), [(None, 4), (40, 4), (None, 3), (None, 40)])
def test_split_keys_are_combined(window, splits):
    """Parts of unequal length, empty ones, and more parts than are combined at a time."""
    check(batch((4, 1, 16), 16, (1, 2), (100, 3)), window, splits=splits)


def test_many_sequences_of_different_lengths():
    new = (1, 7, 1, 1, 3, 1, 20, 1, 2)
    check(batch((8, 1, 16), 16, new, tuple(30 + at + each for at, each in enumerate(new))), None)


@pytest.mark.parametrize("window", [1, 31, 32, 33, 128])
def test_window_edges_agree_with_float64(window):
    """Windows around the size of a key block, of one token, and longer than all sequences."""
    check(batch((4, 1, 16), 8, (2,), (67,)), window)


def test_pages_before_the_window_are_not_read():
    query, keys, values, tables, *rest = batch((4, 1, 16), 8, (1,), (67,))
    tables[0, :4] = 2**30  # The window of 30 begins at position 37.
    healthy = batch((4, 1, 16), 8, (1,), (67,))
    found = paged_attention(query, keys, values, tables, *rest, 30, 0.25)
    assert torch.equal(found, paged_attention(*healthy, 30, 0.25))


@pytest.mark.parametrize("splits", [1, 4])
def test_without_sinks_attention_is_a_plain_softmax(splits):
    """The fault that drops the sinks sets them to minus infinity."""
    *arguments, sinks = batch((4, 1, 16), 16, (1, 3), (40, 3))
    check((*arguments, torch.full_like(sinks, float("-inf"))), 5, splits=splits)


def test_large_scores_do_not_overflow():
    query, *rest = batch((4, 1, 16), 16, (3,), (40,))
    check((query * 100, *rest), None)
