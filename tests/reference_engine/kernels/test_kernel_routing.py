"""Rows of a batch are sorted by expert into tiles."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.kernels.routing import most_tiles, route


@st.composite
def choices(draw):
    """(tokens, top) different experts per token, out of a few."""
    experts = draw(st.integers(1, 9))
    top = draw(st.integers(1, experts))
    token = st.permutations(range(experts)).map(lambda order: order[:top])
    return torch.tensor(draw(st.lists(token, min_size=1, max_size=20))), experts


@given(choices(), st.sampled_from([1, 2, 16]))
def test_tiles_contain_every_slot_once_with_its_expert(choice, block):
    chosen, experts = choice
    weights = torch.rand(chosen.shape, dtype=torch.float64)
    routing = route(chosen, weights, experts, block)
    seen = []
    tiles = (routing.tile_experts, routing.tile_rows, routing.tile_ends)
    for expert, first, end in torch.stack(tiles, dim=1).tolist():
        assert first <= end <= first + block
        slots = routing.slots[first:end]
        assert (chosen.flatten()[slots] == expert).all()
        seen += slots.tolist()
    assert sorted(seen) == list(range(chosen.numel()))
    assert torch.equal(routing.weights, weights.flatten()[routing.slots].float())


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.sampled_from([1, 4, 16]))
def test_there_are_enough_tiles_for_any_distribution(counts, block):
    needed = sum(-(-count // block) for count in counts)
    assert needed <= most_tiles(sum(counts), len(counts), block)
