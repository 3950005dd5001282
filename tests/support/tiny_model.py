"""Small random gpt-oss models: ours, Hugging Face's, and their checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reference_engine.kernels.experts import combine_few_experts, pack_experts
from reference_engine.model import mxfp4
from reference_engine.model.config import Kernels, ModelConfig
from reference_engine.model.transformer import Transformer

if TYPE_CHECKING:
    from transformers import GptOssForCausalLM

TINY = {
    "vocab_size": 300,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "intermediate_size": 32,
    "sliding_window": 4,
}
ROPE = {
    "rope_type": "yarn",
    "rope_theta": 150000.0,
    "factor": 8.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
}


def tiny_config(**changes: Any) -> ModelConfig:
    return ModelConfig(**{**TINY, **changes})


def random_transformer(dtype: torch.dtype = torch.float32, **changes: Any) -> Transformer:
    """Our model with random weights that vary enough for different outputs."""
    model = Transformer(tiny_config(**changes)).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        parameter.normal_(0, 0.15, generator=generator)
        if name.endswith("scale"):
            parameter.add_(1)
    combine_few_experts(model)
    return model.to(dtype).eval()


def packed_transformer(kernels: Kernels, dtype: torch.dtype, **changes: Any) -> Transformer:
    """`random_transformer` with its experts rounded to MXFP4."""
    plain = random_transformer(**changes)
    model = Transformer(plain.config, kernels=kernels).requires_grad_(False)
    pack_experts(model)
    model.load_state_dict(plain.state_dict(), strict=False)
    for block, other in zip(model.block, plain.block, strict=True):
        experts = other.mlp
        for name, weight in (
            ("mlp1_weight", experts.mlp1_weight),
            ("mlp2_weight", experts.mlp2_weight.mT),
        ):
            block.mlp.set_kernel_layout(name, *mxfp4.kernel_layout(*mxfp4.encode(weight)))
    return model.to(dtype).eval()


def hugging_face_model(*, initial_context: int = 64, **changes: Any) -> GptOssForCausalLM:
    """Transformers' model with random weights, sinks and biases included."""
    from transformers import GptOssConfig, GptOssForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    rope = {**ROPE, "original_max_position_embeddings": initial_context}
    config = GptOssConfig(
        **{**TINY, **changes}, max_position_embeddings=8 * initial_context, rope_parameters=rope
    )
    torch.manual_seed(0)
    model = GptOssForCausalLM(config).requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.normal_(0, 1.0 if "sinks" in name else 0.15)
        if "norm" in name:
            parameter.add_(1)
    return model.eval()


def hf_checkpoint(folder: Path, **changes: Any) -> dict[str, Tensor]:
    """Writes a Hugging Face checkpoint with plain experts; returns its tensors."""
    hugging_face_model(**changes).save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def original_checkpoint(folder: Path, hf: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Writes the tensors of a Hugging Face checkpoint in OpenAI's layout, experts in MXFP4."""
    folder.mkdir()
    tensors = {
        "embedding.weight": hf["model.embed_tokens.weight"],
        "norm.scale": hf["model.norm.weight"],
        "unembedding.weight": hf["lm_head.weight"],
    }
    for n in range(config["num_hidden_layers"]):
        layer, block = f"model.layers.{n}", f"block.{n}"
        attention = f"{layer}.self_attn"
        for kind in ("weight", "bias"):
            tensors[f"{block}.attn.qkv.{kind}"] = torch.cat(
                [hf[f"{attention}.{part}_proj.{kind}"] for part in "qkv"]
            )
            tensors[f"{block}.attn.out.{kind}"] = hf[f"{attention}.o_proj.{kind}"]
            tensors[f"{block}.mlp.gate.{kind}"] = hf[f"{layer}.mlp.router.{kind}"]
        tensors[f"{block}.attn.sinks"] = hf[f"{attention}.sinks"]
        tensors[f"{block}.attn.norm.scale"] = hf[f"{layer}.input_layernorm.weight"]
        tensors[f"{block}.mlp.norm.scale"] = hf[f"{layer}.post_attention_layernorm.weight"]
        for ours, theirs in (("mlp1", "gate_up_proj"), ("mlp2", "down_proj")):
            stem = f"{block}.mlp.{ours}"
            blocks, scales = mxfp4.encode(hf[f"{layer}.mlp.experts.{theirs}"].mT)
            tensors |= {f"{stem}_weight.blocks": blocks, f"{stem}_weight.scales": scales}
            tensors[f"{stem}_bias"] = hf[f"{layer}.mlp.experts.{theirs}_bias"]
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "a.safetensors"
    )
    keys = {"num_local_experts": "num_experts", "num_experts_per_tok": "experts_per_token"}
    raw = {keys.get(key, key): value for key, value in config.items()}
    raw |= {"rope_theta": 150000.0, "rope_scaling_factor": 8.0, "initial_context_length": 64}
    raw |= {"rope_ntk_alpha": 1.0, "rope_ntk_beta": 32.0, "swiglu_limit": 7.0}
    (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
