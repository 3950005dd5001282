"""Other engines with random weights of the same shape: their decode speed.

A peer that cannot be imported, or fails, is not measured; that is no failure of our engine.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from .engine import DECODED, PROMPT
from .measuring import Result, Setup, Task, not_measured
from .model import DEVIATION, SCALES, shape

if TYPE_CHECKING:
    from gpt_oss.triton.model import Cache, Transformer
    from transformers import GptOssForCausalLM


def transformers(setup: Setup) -> Iterator[Task]:
    """Tokens per second of `generate` in bfloat16, prefill included."""
    if find_spec("transformers") is None:
        yield Task("transformers", lambda: [not_measured("transformers", "not installed")])
        return
    model = _model(setup)
    for batch in (1, 8, 64) if setup.on_gpu else (1,):
        yield Task(f"transformers, batch {batch}", partial(_rate, model, batch, setup))


def _model(setup: Setup) -> GptOssForCausalLM:
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


def _rate(model: GptOssForCausalLM, batch: int, setup: Setup) -> Iterator[Result]:
    rows = torch.randint(0, model.config.vocab_size, (batch, PROMPT), device=setup.device)
    options = {"attention_mask": torch.ones_like(rows), "do_sample": False}
    model.generate(rows, max_new_tokens=2, **options)
    begin = time.perf_counter()
    made = model.generate(rows, min_new_tokens=DECODED, max_new_tokens=DECODED, **options).cpu()
    taken = time.perf_counter() - begin
    count = batch * (made.shape[1] - PROMPT)
    yield Result(f"transformers, batch {batch}", count / taken, "tokens/s")


def gpt_oss_triton(setup: Setup) -> Iterator[Task]:
    """Tokens per second of the decode graph of openai/gpt-oss's engine on `triton_kernels`."""
    yield Task("gpt_oss.triton", partial(_gpt_oss_triton, setup))


def _gpt_oss_triton(setup: Setup) -> Iterator[Result]:
    name = "gpt_oss.triton"
    if not setup.on_gpu:
        yield not_measured(name, "it needs a GPU")
        return
    try:
        model = openai_model(setup)
        for batch in (1, 8, 64):
            yield openai_rate(model, batch, setup)
    except ImportError as error:
        yield not_measured(name, f"cannot be imported: {_reason(error)}")
    except Exception as error:  # noqa: BLE001 - no failure of another engine ends the benchmark
        traceback.print_exc()
        yield not_measured(name, f"fails: {_reason(error)}")


def _reason(error: Exception) -> str:
    said = f"{type(error).__name__}: {error}".partition("\n")[0]
    return said[:200].replace("|", "/")


def openai_model(setup: Setup) -> Transformer:
    """OpenAI's model with random weights, in the layout that it chose for the experts."""
    from gpt_oss.torch.model import ModelConfig
    from gpt_oss.triton.model import Transformer

    config = shape(setup.shape)
    theirs = ModelConfig(
        num_hidden_layers=config.num_hidden_layers,
        num_experts=config.num_local_experts,
        experts_per_token=config.num_experts_per_tok,
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        head_dim=config.head_dim,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        sliding_window=config.sliding_window,
    )
    model = Transformer(theirs, device=torch.device(setup.device)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("norm.scale"):
            parameter.fill_(1)
        elif parameter.is_floating_point():
            parameter.normal_(0, DEVIATION)
        else:  # four bits per weight
            parameter.random_(0, 256)
    for block in model.block:
        for scales in (block.mlp.mlp1_weight_mx, block.mlp.mlp2_weight_mx):
            scales.storage.data.random_(*SCALES)
    return model


def openai_rate(model: Transformer, batch: int, setup: Setup) -> Result:
    """The decode speed, with one graph as in its TokenGenerator, but for several rows."""
    from gpt_oss.triton.model import Cache

    config = model.config
    prompt, decoded = (PROMPT, DECODED) if setup.on_gpu else (4, 3)
    context = prompt + decoded + 2  # with the runs before the first replay
    caches: list[Cache] = [
        Cache(
            batch,
            context,
            config.num_key_value_heads,
            config.head_dim,
            device=torch.device(setup.device),
        )
        for _ in range(config.num_hidden_layers)
    ]
    tokens = torch.randint(0, config.vocab_size, (batch, prompt), device=setup.device)
    model(tokens.int(), caches)
    given = torch.zeros(batch, 1, dtype=torch.int32, device=setup.device)

    def step() -> None:
        given.copy_(model(given, caches)[:, -1:].argmax(-1))

    step()
    replay = _recorded(step) if setup.on_gpu else step
    begin = time.perf_counter()
    for _ in range(decoded):
        replay()
        given.tolist()  # Their engine reads every token before the next step.
    taken = time.perf_counter() - begin
    name = f"gpt_oss.triton, batch {batch}"
    return Result(name, batch * decoded / taken, "tokens/s", note="greedy, prefill excluded")


def _recorded(step: Callable[[], None]) -> Callable[[], None]:
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
