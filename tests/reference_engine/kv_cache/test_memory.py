"""The size of the KV cache on a GPU, from the free memory and that of the largest steps."""

import pytest
import torch
from tiny_model import random_transformer

from reference_engine.errors import SetupError
from reference_engine.generation import setup
from reference_engine.generation.graphs import GraphedForward, record_calls
from reference_engine.kv_cache.cache import page_bytes
from reference_engine.kv_cache.memory import Memory

pytestmark = pytest.mark.usefixtures("plain_attention")


def frees(monkeypatch, *sizes):
    """The free bytes of a GPU that later calls report."""
    left = iter(sizes)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (next(left), 0))


@pytest.mark.parametrize(("needed", "expected"), [(300, 350), (1200, 0)])
def test_the_largest_steps_keep_their_memory(monkeypatch, needed, expected):
    frees(monkeypatch, 1000)
    assert Memory(gpu_share=0.5).bytes_on(torch.device("cuda"), lambda: needed) == expected


def test_a_chosen_size_needs_no_measurement():
    assert Memory(bytes=77).bytes_on(torch.device("cuda"), lambda: 1 // 0) == 77


def test_every_graph_keeps_its_memory(monkeypatch):
    """The largest steps run on a small cache; the memory of most graphs is extrapolated."""
    model, recorded = random_transformer(num_hidden_layers=2), []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    held = page_bytes(model.config, torch.float32) * 9
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (-100_000 * len(recorded), 0))

    def record(run):
        recorded.append(run)
        return record_calls(run)

    monkeypatch.setattr(setup, "forward_for", lambda *given: GraphedForward(*given, record))
    found = setup.working_memory(model, 64, 4096, 256)
    graphs = 8 * 2 * 2  # 1, 2, 4, 8, 16, 32, 48, 64 rows; two widths; with and without a top_p
    assert len(recorded) == 8
    assert found == 100_000 * graphs - held


def test_too_little_memory_names_the_options(monkeypatch):
    def record(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(setup, "forward_for", lambda *given: GraphedForward(*given, record))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    frees(monkeypatch, 9)
    with pytest.raises(SetupError, match="--max-batch or --prefill-chunk"):
        setup.working_memory(random_transformer(num_hidden_layers=2), 5, 4096, 256)
