"""The result of a row does not depend on the rows beside it, on other processors either."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny_model import tiny_config

from reference_engine.faults.layers.numerics import staged
from reference_engine.kernels.experts import SmallMixtureOfExperts
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.transformer import Linear, MixtureOfExperts, Unembedding

IMITATIONS = {
    "native": {},
    "AVX2": {
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
    },
    "SSE4.2": {
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
    },
}
"""Variables with which PyTorch's libraries use only the instructions of older processors."""
ROWS = 70
COUNTS = [1, 2, 3, 4, 6, 8, 12, 15, 16, 17, 24, 32, 40, 64]
SHAPES = [(192, 512), (192, 4), (64, 64), (256, 1000)]


def filled(module: torch.nn.Module, dtype: torch.dtype) -> torch.nn.Module:
    for parameter in module.requires_grad_(False).parameters():
        parameter.normal_(0, 0.1)
    return module.to(dtype)


def modules(dtype: torch.dtype) -> dict[str, tuple[torch.nn.Module, int]]:
    """Returns every kind of matrix product over tokens, and its number of inputs."""
    found = {}
    for inputs, outputs in SHAPES:
        for bias in (True, False):
            linear = filled(Linear(inputs, outputs, bias=bias), dtype)
            found[f"{inputs} to {outputs}, bias {bias}"] = (linear, inputs)
    config = tiny_config(hidden_size=192, vocab_size=3000)
    found["unembedding"] = (filled(Unembedding(config), dtype), 192)
    for experts in (4, 8):
        config = tiny_config(hidden_size=192, intermediate_size=512, num_local_experts=experts)
        kind = SmallMixtureOfExperts if experts == 4 else MixtureOfExperts
        found[f"{experts} experts"] = (filled(kind(config), dtype), 192)
    found["experts of a fault"] = (staged(filled(MixtureOfExperts(config), dtype)), 192)
    return found


def differing(dtype: torch.dtype) -> list[str]:
    """Returns the products and batches in which a row has other bits than among all rows."""
    torch.manual_seed(0)
    wrong = []
    for name, (module, inputs) in modules(dtype).items():
        rows = torch.randn(ROWS, 1, inputs).to(dtype)
        everything = module(rows)
        batches = {f"first {count}": torch.arange(count) for count in COUNTS}
        batches |= {f"row {at} alone": torch.tensor([at]) for at in (1, 15, 16, 69)}
        batches["reversed"] = torch.arange(ROWS).flip(0)
        batches["shuffled"] = torch.randperm(ROWS)
        for batch, order in batches.items():
            if not torch.equal(module(rows[order]), everything[order]):
                wrong.append(f"{dtype}, {name}, {batch}")
        blocks = torch.randn(3, BLOCK, inputs).to(dtype)
        if not torch.equal(module(blocks[1:2]), module(blocks)[1:2]):
            wrong.append(f"{dtype}, {name}, block of a prompt")
    return wrong


@pytest.mark.parametrize(
    ("imitated", "threads"), [("native", 1), ("AVX2", 1), ("AVX2", 2), ("SSE4.2", 1)]
)
def test_a_row_has_the_same_bits_in_every_batch(imitated, threads):
    """Each processor is imitated in a process of its own, because libraries look once."""
    environment = {
        **os.environ,
        **IMITATIONS[imitated],
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, str(Path(__file__))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-8)], ids=["fp32", "bf16"]
)
@pytest.mark.parametrize("count", [1, 15, 16, 17, 40])
def test_tiles_compute_the_plain_product(dtype, tolerance, count):
    torch.manual_seed(0)
    linear = filled(Linear(192, 1000), dtype)
    rows = torch.randn(count, 1, 192).to(dtype)
    exact = F.linear(rows.double(), linear.weight.double(), linear.bias.double())
    torch.testing.assert_close(linear(rows).double(), exact, rtol=tolerance, atol=1e-4)


if __name__ == "__main__":
    print(*differing(torch.float32), *differing(torch.bfloat16), sep="\n", end="")
