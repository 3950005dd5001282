"""The peer `gpt_oss.triton` of `benchmarks.gpu`, with a stand-in for the package gpt-oss.

The stand-in has the attributes of the package's model (openai/gpt-oss, gpt_oss/triton/model.py and
gpt_oss/torch/model.py). The package itself needs a GPU.
"""

import importlib.util
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)


@dataclass
class ModelConfig:
    num_hidden_layers: int
    num_experts: int
    experts_per_token: int
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    head_dim: int
    num_attention_heads: int
    num_key_value_heads: int
    sliding_window: int


class Cache:
    def __init__(self, batch_size, n_ctx, n_kv_heads, d_head=64, device=None):
        self.k = torch.zeros(batch_size, n_ctx, n_kv_heads, d_head)
        self.offset = 0

    def extend(self, rows, count):
        assert rows == len(self.k)
        self.offset += count
        assert self.offset <= self.k.shape[1]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.Module()
        self.norm.scale = nn.Parameter(torch.zeros(4))
        self.mlp = nn.Module()
        self.mlp.mlp1_weight = nn.Parameter(torch.zeros(8, dtype=torch.uint8), requires_grad=False)
        for name in ("mlp1_weight_mx", "mlp2_weight_mx"):
            scales = torch.zeros(64, dtype=torch.uint8)
            setattr(self.mlp, name, SimpleNamespace(storage=SimpleNamespace(data=scales)))


class Transformer(nn.Module):
    def __init__(self, config, device=None):
        super().__init__()
        self.config = config
        self.block = nn.ModuleList(Block() for _ in range(config.num_hidden_layers))
        self.embedding = nn.Embedding(config.vocab_size, 4)
        self.calls = []

    def forward(self, x, caches=None):
        assert x.dtype == torch.int32
        self.calls.append(tuple(x.shape))
        for cache in caches:
            cache.extend(*x.shape)
        return self.embedding(x) @ self.embedding.weight.mT


@pytest.fixture
def package(monkeypatch):
    for name, content in {
        "gpt_oss": {},
        "gpt_oss.torch": {},
        "gpt_oss.torch.model": {"ModelConfig": ModelConfig},
        "gpt_oss.triton": {},
        "gpt_oss.triton.model": {"Transformer": Transformer, "Cache": Cache},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)


@torch.inference_mode()
def test_random_weights_and_the_decode_speed(package):
    from benchmarks.gpu.measuring import Setup
    from benchmarks.gpu.peers import openai_model, openai_rate

    setup = Setup("cpu", "tiny")
    model = openai_model(setup)
    assert model.config.num_experts == 4
    for block in model.block:
        assert block.norm.scale.tolist() == [1] * 4
        scales = block.mlp.mlp1_weight_mx.storage.data
        assert 118 <= scales.min() < scales.max() <= 121
        assert block.mlp.mlp1_weight.unique().numel() > 1
    assert 0.015 < model.embedding.weight.std() < 0.025

    result = openai_rate(model, 2, setup)
    assert model.calls == [(2, 4), (2, 1), (2, 1), (2, 1), (2, 1)]
    assert result.name == "gpt_oss.triton, batch 2"
    assert result.value > 0


def test_a_peer_that_cannot_be_used_is_not_a_failure(monkeypatch):
    from benchmarks.gpu.measuring import Setup
    from benchmarks.gpu.peers import gpt_oss_triton

    def only(setup):
        (task,) = gpt_oss_triton(setup)
        (result,) = task.run()
        assert result.value is result.passed is None
        return result.note

    assert only(Setup("cpu", "tiny")) == "not measured: it needs a GPU"
    monkeypatch.setitem(sys.modules, "gpt_oss", None)
    note = only(Setup("cuda", "20b"))
    assert note.startswith("not measured: cannot be imported: ModuleNotFoundError: ")
