"""The bytes and operations of a forward pass, checked by independent arithmetic."""

import pytest
import torch

from benchmarks.gpu.demands import active_experts, decode_step, prefill, sampling
from reference_engine.checkpoint.convert import plan
from reference_engine.checkpoint.synthetic import SyntheticWeights
from reference_engine.model.config import GPT_OSS_20B, GPT_OSS_120B

H200 = (4.8e12, 989e12)
"""Bytes and dense bfloat16 operations per second, from NVIDIA's data sheet."""


def test_active_experts_match_random_draws():
    generator = torch.Generator().manual_seed(0)
    for tokens in (1, 8, 64):
        draws = [
            torch.rand(tokens, 32, generator=generator).topk(4).indices.unique().numel()
            for _ in range(400)
        ]
        mean = sum(draws) / len(draws)
        assert active_experts(32, 4, tokens) == pytest.approx(mean, abs=0.3)
    assert active_experts(128, 4, 1) == pytest.approx(4)


@pytest.mark.parametrize("config", [GPT_OSS_20B, GPT_OSS_120B])
def test_a_large_batch_reads_the_checkpoint_without_the_embedding(config):
    """The demand ignores norms, biases and sinks, which are less than 0.5% of the bytes."""
    stored = sum(target.nbytes for target in plan(SyntheticWeights(config, 0), "hf"))
    embedding = 2 * config.vocab_size * config.hidden_size
    assert prefill(config, 100_000).moved == pytest.approx(stored - embedding, rel=5e-3)


def test_sampling_is_a_part_of_a_step():
    """64 rows of 201,088 logits in float32, written and read once."""
    assert sampling(GPT_OSS_20B, 64) == 2 * 64 * 201_088 * 4
    rows = torch.tensor([decode_step(GPT_OSS_20B, rows, 1).moved for rows in (1000, 1001)])
    keys = 4 * GPT_OSS_20B.num_hidden_layers * GPT_OSS_20B.num_key_value_heads * 64
    assert float(rows[1] - rows[0]) == pytest.approx(8 * 201_088 + keys, rel=0.01)


def test_operations_of_a_token_are_two_for_each_active_parameter():
    """The model card counts 3.6 (20b) and 5.1 billion (120b) active ones without the embedding.

    Arxiv 2508.10925, Table 1; the unembedding counts as active.
    """
    for config, active in ((GPT_OSS_20B, 3.61e9), (GPT_OSS_120B, 5.13e9)):
        assert decode_step(config, 1, 1).operations == pytest.approx(2 * active, rel=0.01)


def test_decode_at_batch_1_is_bound_by_memory_and_prefill_by_arithmetic():
    step, read = decode_step(GPT_OSS_20B, 1, 1024), prefill(GPT_OSS_20B, 16_384)
    assert step.seconds(*H200) == step.moved / H200[0]
    assert read.seconds(*H200) == read.operations / H200[1]
    assert 1 / step.seconds(*H200) == pytest.approx(1300, rel=0.1)
