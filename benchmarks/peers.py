"""Other engines that run gpt-oss in this process, with the weights of one of our models."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from reference_engine.checkpoint.layouts import Layout, config_file, sources
from reference_engine.model.transformer import Transformer

TOP = 20
"""Number of most probable tokens of each position whose log probabilities are compared."""


@dataclass(frozen=True)
class Peer:
    """An engine with the weights of our model.

    Attributes:
        name: Its name in tables.
        logits: Returns the logits (T, vocabulary) of a prompt's tokens (T,).
        generate: Samples a number of tokens after each prompt, in one batch; returns the total.
        batches: Whether it supports several prompts.
    """

    name: str
    logits: Callable[[Tensor], Tensor]
    generate: Callable[[list[list[int]], int], int]
    batches: bool = True


def installed_peers(model: Transformer) -> list[Peer]:
    """The engines whose packages are installed, each with the model's weights."""
    known = {"transformers": transformers_peer, "gpt_oss": openai_peer}
    return [make(model) for package, make in known.items() if find_spec(package)]


@torch.inference_mode()
def apart(model: Transformer, peer: Peer, prompt: list[int]) -> tuple[float, float]:
    """Median and maximum of |Δ log probability| over the `TOP` tokens of each position."""
    tokens = torch.tensor(prompt, device=model.embedding.weight.device)
    ours = model(tokens[None])[0].log_softmax(-1)
    theirs = peer.logits(tokens).float().log_softmax(-1)
    top = ours.topk(TOP).indices
    off = (ours.gather(1, top) - theirs.gather(1, top)).abs()
    return off.median().item(), off.max().item()


def transformers_peer(model: Transformer) -> Peer:
    """The same weights in Hugging Face's GptOssForCausalLM."""
    from transformers import GptOssConfig, GptOssForCausalLM

    c = model.config
    names = [name for name in c.__dataclass_fields__ if not name.startswith(("rope", "initial"))]
    rope = {
        "rope_type": "yarn",
        "rope_theta": c.rope_theta,
        "factor": c.rope_factor,
        "beta_fast": c.rope_beta_fast,
        "beta_slow": c.rope_beta_slow,
        "truncate": False,
        "original_max_position_embeddings": c.initial_context_length,
    }
    settings = {name: getattr(c, name) for name in names}
    config = GptOssConfig(**settings, rope_parameters=rope, eos_token_id=None, pad_token_id=0)
    with torch.device("meta"):
        twin = GptOssForCausalLM(config)
    twin.load_state_dict(_stored(model, "hf"), assign=True)
    twin.model.rotary_emb = type(twin.model.rotary_emb)(config)
    twin.eval()

    def generate(prompts: list[list[int]], tokens: int) -> int:
        rows = torch.tensor(prompts, device=twin.device)
        out = twin.generate(
            rows,
            attention_mask=torch.ones_like(rows),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=True,
            top_k=0,
        )
        return int(out[:, rows.shape[1] :].numel())

    return Peer("transformers", lambda tokens: twin(tokens[None]).logits[0], generate)


def openai_peer(model: Transformer) -> Peer:
    """The same weights in OpenAI's PyTorch model, from the package gpt-oss.

    It is written for bfloat16; here, it is converted to our model's dtype. It has no KV cache:
    every token processes the whole prompt again.
    """
    from gpt_oss.torch.model import ModelConfig, TokenGenerator
    from gpt_oss.torch.model import Transformer as OpenAITransformer

    weight = model.embedding.weight
    settings = config_file(model.config, "original", packed=False, path=Path())
    twin = OpenAITransformer(ModelConfig(**settings), device=weight.device).to(weight.dtype)
    twin.load_state_dict(_stored(model, "original"))
    holder: Any = SimpleNamespace(model=twin.eval(), device=weight.device)

    def generate(prompts: list[list[int]], tokens: int) -> int:
        (prompt,) = prompts
        return sum(1 for _ in TokenGenerator.generate(holder, prompt, [], max_tokens=tokens))

    return Peer("gpt_oss.torch", twin, generate, batches=False)


def _stored(model: Transformer, layout: Layout) -> dict[str, Tensor]:
    """The weights with the names and shapes of an unpacked checkpoint."""
    weights: dict[str, Tensor] = dict(model.named_parameters())
    if len(weights["unembedding.weight"]) < model.config.vocab_size:  # computed from token codes
        units = torch.eye(model.config.hidden_size, device=model.embedding.weight.device)
        rows = model.unembedding(units).mT.to(model.embedding.weight.dtype)
        weights["unembedding.weight"] = rows
    state = {}
    for name, source in sources(model.config, layout).items():
        parts = weights[name].detach().split([shape[0] for _, shape in source.tensors])
        for (stored, _), part in zip(source.tensors, parts, strict=True):
            state[stored] = part.mT.contiguous() if source.transposed else part
    return state
