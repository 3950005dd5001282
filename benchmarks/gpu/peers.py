"""Hugging Face transformers with random weights of the same shape: its decode speed."""

import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from .engine import DECODED, PROMPT
from .measuring import Result, Setup, Task, not_measured
from .model import shape

if TYPE_CHECKING:
    from transformers import GptOssForCausalLM


def transformers(setup: Setup) -> Iterator[Task]:
    """Tokens per second of `generate` in bfloat16, prefill included."""
    if find_spec("transformers") is None:
        yield Task("transformers", lambda: [not_measured("transformers", "not installed")])
        return
    model = _model(setup)
    for batch in (1, 8, 64) if setup.on_gpu else (1,):
        yield Task(f"transformers, batch {batch}", partial(_rate, model, batch, setup))


def _model(setup: Setup) -> "GptOssForCausalLM":
    from transformers import GptOssConfig, GptOssForCausalLM

    config = shape(setup.shape)
    names = (
        "vocab_size hidden_size num_hidden_layers num_attention_heads num_key_value_heads "
        "head_dim num_local_experts num_experts_per_tok intermediate_size sliding_window"
    )
    theirs = GptOssConfig(**{name: getattr(config, name) for name in names.split()})
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(setup.device):
            return GptOssForCausalLM(theirs).eval()
    finally:
        torch.set_default_dtype(default)


def _rate(model: "GptOssForCausalLM", batch: int, setup: Setup) -> Iterator[Result]:
    rows = torch.randint(0, model.config.vocab_size, (batch, PROMPT), device=setup.device)
    options = {"attention_mask": torch.ones_like(rows), "do_sample": False}
    model.generate(rows, max_new_tokens=2, **options)
    begin = time.perf_counter()
    made = model.generate(rows, min_new_tokens=DECODED, max_new_tokens=DECODED, **options).cpu()
    taken = time.perf_counter() - begin
    count = batch * (made.shape[1] - PROMPT)
    yield Result(f"transformers, batch {batch}", count / taken, "tokens/s")
