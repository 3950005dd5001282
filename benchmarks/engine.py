"""Tokens per second of the reference engine: alone, with 32 requests in flight, and beside
transformers' generate on the same weights and prompts.

    python benchmarks/engine.py [--checkpoint DIR] [--tokens N] [--requests N]

Without --checkpoint the shipped small one is used, or random weights of its shape. Times vary with
what else the machine does; the ratios are measured within one run and hardly do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

from reference_engine.checkpoint import load_model
from reference_engine.config import ModelConfig
from reference_engine.engine import Engine, SamplingParams
from reference_engine.model import Transformer, default_dtype

SHIPPED = Path(__file__).parents[1] / "reference_engine" / "small" / "checkpoint"
SHARED_PROMPT = 400
OWN_PROMPT = 24


@dataclass(frozen=True)
class Rate:
    """Tokens made, and the time it took."""

    name: str
    tokens: int
    wall: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Tokens per second of wall-clock time."""
        return self.tokens / self.wall


def timed(name: str, work: Callable[[], int]) -> Rate:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = work()
    return Rate(name, tokens, time.perf_counter() - wall, time.process_time() - cpu)


def random_model(dtype: torch.dtype) -> Transformer:
    config = ModelConfig(
        vocab_size=201088,
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        num_local_experts=4,
        num_experts_per_tok=2,
        intermediate_size=512,
    )
    torch.manual_seed(0)
    model = Transformer(config).requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.fill_(1) if name.endswith("scale") else parameter.normal_(0, 0.05)
    return model.to(dtype).eval()


def prompts(count: int, vocabulary: int) -> list[list[int]]:
    """Prompts that share most of their beginning, as those of the smoke test do."""
    generator = torch.Generator().manual_seed(1)

    def draw(size: int) -> list[int]:
        return torch.randint(0, vocabulary, (size,), generator=generator).tolist()

    shared = draw(SHARED_PROMPT)
    return [shared + draw(OWN_PROMPT) for _ in range(count)]


def run_engine(engine: Engine, batch: list[list[int]], tokens: int) -> int:
    """Generates exactly `tokens` for every prompt at once; returns how many came."""

    async def one(prompt: list[int], seed: int) -> int:
        params = SamplingParams(max_tokens=tokens, seed=seed)
        return sum([1 async for _ in engine.generate(prompt, params)])

    async def every() -> int:
        return sum(await asyncio.gather(*(one(prompt, n) for n, prompt in enumerate(batch))))

    return asyncio.run(every())


def measure_engine(model: Transformer, requests: int, tokens: int) -> tuple[Rate, Rate, Rate]:
    """Alone, in company, and the reading of prompts that share nothing."""
    engine = Engine(model, max_batch=requests)
    engine.start()
    try:
        batch = prompts(requests, model.config.vocab_size)
        run_engine(engine, batch[:2], 4)
        alone = timed("engine, alone", lambda: run_engine(engine, batch[:1], tokens))
        name = f"engine, {requests} in flight"
        together = timed(name, lambda: run_engine(engine, batch, tokens))
        fresh = [prompt[::-1] for prompt in batch]
        read = timed("engine, reading prompts", lambda: run_engine(engine, fresh, 1))
    finally:
        engine.close()
    return alone, together, Rate(read.name, sum(map(len, fresh)), read.wall, read.cpu)


def hugging_face(model: Transformer) -> torch.nn.Module:
    """The same weights in transformers' GptOssForCausalLM."""
    from transformers import GptOssConfig, GptOssForCausalLM

    from reference_engine.checkpoint.names import sources

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
    weights = dict(model.named_parameters())
    state = {}
    for name, source in sources(c, "hf").items():
        parts = weights[name].detach().split([shape[0] for _, shape in source.tensors])
        for (stored, _), part in zip(source.tensors, parts, strict=True):
            state[stored] = part.mT.contiguous() if source.transposed else part
    twin.load_state_dict(state, assign=True)
    twin.model.rotary_emb = type(twin.model.rotary_emb)(config)
    return twin.eval()


def measure_transformers(model: Transformer, requests: int, tokens: int) -> tuple[Rate, Rate]:
    """Transformers' generate, alone and with all prompts in one batch."""
    twin = hugging_face(model)
    batch = torch.tensor(prompts(requests, model.config.vocab_size))
    check = batch[:1, -32:]
    with torch.inference_mode():
        apart = (twin(check).logits.float() - model(check)).abs().mean()
    print(f"mean difference of the logits, transformers and engine: {apart:.3f}")

    def run(rows: torch.Tensor) -> int:
        out = twin.generate(
            rows,
            attention_mask=torch.ones_like(rows),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=True,
            top_k=0,
        )
        return int(out[:, rows.shape[1] :].numel())

    run(batch[:1, :8])
    alone = timed("transformers, alone", lambda: run(batch[:1]))
    return alone, timed(f"transformers, batch of {requests}", lambda: run(batch))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--tokens", type=int, default=64, help="tokens a request")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--without-transformers", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = getattr(torch, options.dtype) if options.dtype else default_dtype(options.device)
    folder = options.checkpoint or (SHIPPED if (SHIPPED / "config.json").exists() else None)
    model = load_model(folder, options.device, dtype) if folder else random_model(dtype)
    print(f"{folder or 'random weights'}, {dtype}, {options.device}, {options.threads} threads")

    alone, together, reading = measure_engine(model, options.requests, options.tokens)
    rates = [alone, together, reading]
    if not options.without_transformers:
        rates += measure_transformers(model, options.requests, options.tokens)
    print(f"{'':34}{'tokens/s':>10}{'tokens / CPU second':>22}")
    for rate in rates:
        print(f"{rate.name:34}{rate.per_second:10.0f}{rate.tokens / rate.cpu:22.0f}")
    print(f"batching: {together.per_second / alone.per_second:.1f} times the rate alone")
    for ours, theirs in zip(rates[:2], rates[3:], strict=False):
        print(f"{ours.name}: {ours.per_second / theirs.per_second:.1f} times transformers")


if __name__ == "__main__":
    main()
