"""Compares the PyTorch versions of the kernels, and the code that uses them, with the model."""

import pytest
import torch
from tiny_model import TINY, hf_checkpoint, original_checkpoint, packed_transformer

from reference_engine.checkpoint import load_model
from reference_engine.checkpoint.loading import default_dtype
from reference_engine.faults.catalogue import read_plan
from reference_engine.kernels import KernelsError, resolve_kernels
from reference_engine.kernels.experts import (
    PackedMixtureOfExperts,
    SmallMixtureOfExperts,
    expand_experts,
)
from reference_engine.model.transformer import MixtureOfExperts

TOKENS = torch.randint(0, 300, (1, 21), generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def test_packed_experts_agree_with_expanded_ones():
    model = packed_transformer("torch", torch.float32, num_local_experts=8)
    packed = model(TOKENS)
    expand_experts(model)
    assert all(type(block.mlp) is MixtureOfExperts for block in model.block)
    assert torch.allclose(packed, model(TOKENS), atol=1e-5)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A checkpoint with plain experts, and the same checkpoint with packed experts."""
    folder = tmp_path_factory.mktemp("checkpoints")
    original_checkpoint(folder / "packed", hf_checkpoint(folder), TINY)
    return folder, folder / "packed"


@torch.inference_mode()
def test_packed_loading_takes_a_quarter_of_the_memory_and_changes_nothing(stored):
    expanded = load_model(stored[1], dtype=torch.bfloat16)
    packed = load_model(stored[1], dtype=torch.bfloat16, packed=True)
    experts, plain = packed.block[0].mlp, expanded.block[0].mlp
    assert isinstance(experts, PackedMixtureOfExperts)
    held = sum(buffer.nbytes for buffer in experts.buffers())
    whole = plain.mlp1_weight.nbytes + plain.mlp2_weight.nbytes
    assert held / whole == pytest.approx(4.25 / 16)
    expand_experts(packed)
    for (name, one), (other_name, other) in zip(
        sorted(packed.named_parameters()), sorted(expanded.named_parameters()), strict=True
    ):
        assert name == other_name
        assert torch.equal(one, other)


def test_experts_that_are_not_mxfp4_cannot_stay_packed(stored):
    model = load_model(stored[0], dtype=torch.float32, packed=True)
    assert all(type(block.mlp) is SmallMixtureOfExperts for block in model.block)


@pytest.mark.parametrize("name", ["swiglu-without-plus-one", "fp4-nibbles-swapped"])
@torch.inference_mode()
def test_faults_affect_packed_experts(name, stored):
    def damaged(packed):
        model = load_model(stored[1], dtype=torch.float32, packed=packed)
        return read_plan([name]).damage(model)(TOKENS)

    assert torch.equal(damaged(packed=True), damaged(packed=False))


def test_kernels_are_chosen_by_device_and_installation(monkeypatch):
    assert resolve_kernels("auto", "cpu") == "torch"
    assert resolve_kernels("torch", "cuda") == "torch"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert resolve_kernels("auto", "cuda") == "torch"
    with pytest.raises(KernelsError, match="pip install triton"):
        resolve_kernels("triton", "cuda")


def test_triton_needs_a_gpu():
    pytest.importorskip("triton", reason="Triton is not installed")
    assert resolve_kernels("auto", "cuda") == "triton"
    with pytest.raises(KernelsError, match="need a CUDA device"):
        resolve_kernels("triton", "cpu")


def test_gpus_without_the_instructions_of_the_kernels(monkeypatch, caplog):
    """AMD's compiler ends the process; before sm_80, PyTorch emulates bfloat16."""
    pytest.importorskip("triton", reason="Triton is not installed")
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))
    assert default_dtype("cuda") == torch.float32
    assert resolve_kernels("auto", "cuda", torch.float32) == "triton"
    with pytest.raises(KernelsError, match="--dtype float32"):
        resolve_kernels("auto", "cuda", torch.bfloat16)
    monkeypatch.setattr("torch.version.hip", "7.2")
    assert default_dtype("cuda") == torch.bfloat16
    assert resolve_kernels("auto", "cuda", torch.bfloat16) == "torch"
    assert "this one is AMD's" in caplog.text
    with pytest.raises(KernelsError, match="AMD's, or use --kernels torch"):
        resolve_kernels("triton", "cuda")
