"""Compares the kernels of decode with the model's own code; test_kernel_suite.py runs this."""

import copy
from array import array

import pytest
import torch
from tiny_model import packed_transformer

from reference_engine.generation import fused, ragged
from reference_engine.generation.forward import GatheredForward, Row
from reference_engine.kernels import interpreting
from reference_engine.kernels.block_triton import (
    add_and_normalize,
    choose_experts,
    rotate_and_write,
    router_scores,
)
from reference_engine.kernels.experts import PACKED_WEIGHTS
from reference_engine.kernels.routing import route
from reference_engine.kv_cache.cache import KVCache, KVPages
from reference_engine.model.division import divide
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import RMSNorm, rotate

DEVICE = "cpu" if interpreting() else "cuda"
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 2**-7}
"""Of single numbers; the interpreter cuts digits where a GPU rounds."""
STORED = ("blocks", "scales")
DTYPES = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


def normal(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))).to(
        DEVICE, dtype
    )


@pytest.mark.parametrize("count", [0, 1, 3])
@DTYPES
def test_parts_are_added_and_the_stream_normalized(dtype, count):
    norm = RMSNorm(96, 1e-5).to(DEVICE, dtype).requires_grad_(False)
    norm.scale.copy_(normal(96))
    stream, parts = 3 * normal(5, 96), normal(5, count, 96, dtype=dtype) if count else None
    expected = stream if parts is None else stream + parts.float().sum(1)
    found = add_and_normalize(stream, parts, norm.scale, norm.eps)
    assert found.dtype == dtype
    assert torch.allclose(stream, expected, atol=1e-6)
    tolerance = TOLERANCES[dtype]
    assert torch.allclose(found.float(), norm(expected).float(), atol=1e-6, rtol=tolerance)


def test_a_bfloat16_residual_stream_agrees_with_pytorch():
    stream, parts = normal(4, 64, dtype=torch.bfloat16), normal(4, 2, 64)
    expected = stream + parts.sum(1).to(torch.bfloat16)
    add_and_normalize(stream, parts, torch.ones(64, device=DEVICE), 1e-5)
    assert torch.allclose(stream.float(), expected.float(), atol=2**-6, rtol=2**-7)


@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(8, 1, 64), (6, 2, 24), (2, 2, 16)])
@DTYPES
def test_heads_are_rotated_and_written(dtype, heads, kv_heads, size):
    """Of three tokens, the last two belong to the same sequence."""
    qkv = normal(3, (heads + 2 * kv_heads) * size, dtype=dtype)
    angle = 100 * normal(3, size // 2)
    cos, sin = angle.cos(), angle.sin()
    tables = torch.tensor([[2, 0], [4, 1]], dtype=torch.int32, device=DEVICE)
    sequences, positions = torch.tensor([[0, 1, 1], [0, 7, 2]], dtype=torch.int32, device=DEVICE)
    pages = KVPages(*torch.zeros(2, 6, 4, kv_heads, size, dtype=dtype, device=DEVICE))
    found = rotate_and_write(qkv, cos, sin, pages, tables, sequences, positions)

    split = qkv.view(3, -1, size).split((heads, kv_heads, kv_heads), dim=1)
    turned = [rotate(x[None], cos[None, :, None], sin[None, :, None])[0] for x in split[:2]]
    keys, values = torch.zeros_like(pages.keys), torch.zeros_like(pages.values)
    keys[[2, 1, 4], [0, 3, 2]], values[[2, 1, 4], [0, 3, 2]] = turned[1], split[2]
    tolerance = TOLERANCES[dtype]
    assert torch.allclose(found.float(), turned[0].float(), atol=1e-6, rtol=tolerance)
    assert torch.allclose(pages.keys.float(), keys.float(), atol=1e-6, rtol=tolerance)
    assert torch.equal(pages.values, values)


@DTYPES
def test_scores_of_the_router(dtype):
    tokens, weight, bias = (normal(*size, dtype=dtype) for size in ((3, 96), (5, 96), (5,)))
    expected = tokens.double() @ weight.double().mT + bias.double()
    assert torch.allclose(router_scores(tokens, weight, bias).double(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "experts", "top", "block"),
    [(1, 32, 4, 16), (3, 5, 3, 16), (70, 12, 2, 4), (70, 2, 1, 64), (9, 128, 4, 16)],
    ids=["one token", "odd numbers", "more tokens than a chunk", "few experts", "gpt-oss-120b"],
)
@pytest.mark.parametrize(
    ("part", "dtype"),
    [("all", torch.float32), ("first", torch.bfloat16), ("last", torch.float32)],
)
def test_experts_are_chosen_and_sorted(dtype, part, tokens, experts, top, block):
    """With some of the experts local, only their slots are in tiles."""
    generator = torch.Generator().manual_seed(tokens)
    order = torch.stack([torch.randperm(experts, generator=generator) for _ in range(tokens)])
    scores = (order / 4).to(DEVICE, dtype)
    half = experts // 2
    local = {"all": range(experts), "first": range(half), "last": range(half, experts)}[part]
    routing = choose_experts(scores, top, block, local)
    best = scores.float().topk(top)
    weights = best.values.softmax(-1)
    assert torch.allclose(routing.weights, weights.flatten()[routing.slots], atol=1e-6)
    # `route` treats a single token in its own way; with a second one, it sorts the first one's.
    many = torch.cat((best.indices, best.indices.new_full((1, top), experts)))
    here = (many >= local.start) & (many < local.stop)
    many_weights = torch.cat((weights, weights.new_zeros(1, top)))
    own = torch.where(here, many - local.start, len(local))
    expected = route(own, many_weights, len(local), block)
    assert sorted(used_tiles(routing)) == used_tiles(expected)
    assert int(routing.tile_experts.max()) < len(local)
    assert sorted(routing.slots.tolist()) == list(range(tokens * top))


def used_tiles(routing):
    """The expert and the slots of each tile that is not idle."""
    tiles = (routing.tile_experts, routing.tile_rows, routing.tile_ends)
    return [
        (expert, routing.slots[first:end].tolist())
        for expert, first, end in torch.stack(tiles, dim=1).tolist()
        if first < end
    ]


@pytest.mark.filterwarnings("ignore:invalid value")
def test_equal_scores_choose_the_first_experts_and_nan_gives_nan():
    scores = torch.zeros(2, 5, device=DEVICE)
    scores[1] = float("nan")
    routing = choose_experts(scores, 2, 16, range(5))
    weights = routing.weights[routing.slots.argsort()]
    assert weights[:2].tolist() == [0.5, 0.5]
    assert weights[2:].isnan().all()
    assert routing.slots[routing.tile_rows[0] : routing.tile_ends[0]].tolist()[0] == 0
    assert int(routing.tile_experts.max()) < 5


FEW = pytest.mark.parametrize("few", [256, 8], ids=["few tokens", "many tokens"])


@FEW
@torch.inference_mode()
def test_fused_pass_agrees_with_the_model(monkeypatch, few):
    """The plain model reads the same prompts and decodes the same tokens.

    The prompts have 14 tokens. If these are many, PyTorch sorts them by expert.
    """
    monkeypatch.setattr(fused, "_MOST_SCORED", few)
    monkeypatch.setattr(fused, "_MOST_CHOSEN", few)
    streams = []
    for kernels, forward in (("torch", GatheredForward), ("triton", ragged.RaggedForward)):
        shape = {"num_local_experts": 4, "num_hidden_layers": 2, "sliding_window": 4}
        model = packed_transformer(kernels, torch.float32, **shape).to(DEVICE)
        assert ragged.has_fused_kernels(model) == (kernels == "triton")
        cache = KVCache(model.config, 8, torch.float32, torch.device(DEVICE))
        run = forward(model, cache)
        tables = [(array("i", [n]), array("i", [n + 1])) for n in (1, 5)]
        steps = [run([Row(range(7, 18), 0, *tables[0]), Row(range(3), 0, *tables[1])], 11)]
        steps += [
            run([Row([5 + at], 11 + at, *tables[0]), Row([9 + at], 3 + at, *tables[1])], 1)
            for at in range(2)
        ]
        streams.append(torch.cat(steps))
    plain, found = streams
    assert (found - plain).abs().max() <= 1e-5 * plain.abs().max()


@FEW
@torch.inference_mode()
def test_processes_together_add_what_one_adds(monkeypatch, few):
    """Each of two processes has half of the experts."""
    monkeypatch.setattr(fused, "_MOST_SCORED", few)
    monkeypatch.setattr(fused, "_MOST_CHOSEN", few)
    whole = packed_transformer("triton", torch.float32, num_local_experts=8).to(DEVICE)
    tokens = normal(14, whole.config.hidden_size)
    added = torch.zeros_like(tokens)
    for rank in range(2):
        model, shard = copy.deepcopy(whole), Shard(rank, 2)
        divide(model, shard)
        mlp = model.blocks[0].mlp
        for name in PACKED_WEIGHTS:
            parts = (mlp.get_buffer(f"{name}_{part}").chunk(2)[rank] for part in STORED)
            mlp.set_kernel_layout(name, *parts)
        added += fused.mixture_of_experts(mlp, tokens, shard).sum(1)
    expected = fused.mixture_of_experts(whole.blocks[0].mlp, tokens, UNSHARDED).sum(1)
    assert torch.allclose(added, expected, atol=1e-5 * float(expected.abs().max()))
