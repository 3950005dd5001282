"""The kernels at the published shapes: error against float64, time, and share of the limits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, cast

import torch
from torch import Tensor
from triton import Config

from reference_engine.kernels import attention_triton, experts_triton
from reference_engine.kernels.experts import packed_experts
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.config import ModelConfig
from reference_engine.model.mxfp4 import PackedLinear
from tests.support import plain_attention

from .measuring import Limits, Result, Setup, Task, limits, replayed
from .model import random_linear, shape

EXPERT_BOUNDS = {torch.bfloat16: 2**-7, torch.float32: 4e-6}
ATTENTION_BOUNDS = {torch.bfloat16: 2**-8, torch.float32: 1e-6}
"""Largest error as a share of the largest result (experts) or of the largest attended value
(attention); see README.md."""
LAYERS = 8
"""Number of layers with separate weights or pages, which together exceed the caches of a GPU."""

Paged: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
"""The tensors of paged attention."""
Size: TypeAlias = tuple[int, int, int]
"""Sequences, new tokens of each, and their contexts."""


@dataclass(frozen=True)
class Work:
    """One kernel at one size on several layers, with the bytes and operations per layer."""

    name: str
    layers: list[Callable[[], Tensor]]
    moved: float
    operations: float


def errors(setup: Setup) -> Iterator[Task]:
    """The error of each kernel against the plain version in float64, in both number formats."""
    config = shape(setup.shape)
    for dtype in (torch.bfloat16, torch.float32):
        # Of 20b, 200 tokens fill half tiles of 64 rows, 300 whole ones, and 1,200 those of 128.
        for tokens in (1, 8, 64, 200, 300, 1200) if setup.on_gpu else (1, 8):
            name = f"experts, {tokens} tokens, {_number(dtype)}"
            yield Task(name, partial(_expert_error, name, config, tokens, dtype, setup))
        for window in (None, config.sliding_window):
            for size in _attention_sizes(setup):
                name = f"{_attention_name(*size, window)}, {_number(dtype)}"
                yield Task(
                    name, partial(_attention_error, name, config, size, window, dtype, setup)
                )


def speeds(setup: Setup) -> Iterator[Task]:
    """The time of each kernel in bfloat16, launched from a CUDA graph."""
    config, limit = shape(setup.shape), limits(setup)
    for tokens in (1, 8, 64, 256, 4096) if setup.on_gpu else (1,):
        work = partial(_expert_work, config, tokens, setup)
        yield Task(f"experts, {tokens} tokens", partial(_timed, work, limit, setup))
    for window in (None, config.sliding_window):
        sizes = ((1, 1), (8, 1), (64, 1), (1, 2048)) if setup.on_gpu else ((1, 1),)
        for sequences, new in sizes:
            size = (sequences, new, 8192 if setup.on_gpu else 100)
            work = partial(_attention_work, config, size, window, setup)
            yield Task(_attention_name(*size, window), partial(_timed, work, limit, setup))
    yield Task("chosen configurations", chosen)


def chosen() -> Iterator[Result]:
    """The configurations that Triton found to be the fastest, for a table in the kernels."""
    from reference_engine.kernels.attention_triton import attention_kernel
    from reference_engine.kernels.experts_triton import down_kernel, gate_up_kernel

    for kernel in (gate_up_kernel, down_kernel, attention_kernel):
        for key, found in kernel.cache.items():
            sizes = ", ".join(
                f"{name} {size}" for name, size in zip(kernel.keys, key, strict=False)
            )
            name = f"{kernel.base_fn.__name__}: {sizes}, {key[-1]}"
            yield Result(name, found.num_warps, "warps", note=described(found))


def described(choice: Config) -> str:
    """The sizes of blocks, warps and stages, and the maximum number of registers, if there is one.

    It follows from the others whether the kernel loads scales AHEAD.
    """
    blocks = "×".join(str(size) for name, size in choice.kwargs.items() if name != "AHEAD")
    most = f", at most {choice.maxnreg} registers" if choice.maxnreg else ""
    return f"{blocks}, {choice.num_warps} warps, {choice.num_stages} stages{most}"


def _timed(make: Callable[[], Work], limit: Limits, setup: Setup) -> Iterator[Result]:
    work = make()
    taken = replayed(work.layers, setup)
    share = limit.seconds(work.moved, work.operations) / taken
    yield Result(work.name, 1e6 * taken, "µs", share=share)


def expert_layer(
    config: ModelConfig, dtype: torch.dtype, generator: torch.Generator
) -> tuple[PackedLinear, PackedLinear]:
    """Random weights of the experts of a layer: gate and up, then down."""
    count, hidden, inner = config.num_local_experts, config.hidden_size, config.intermediate_size
    gate_up = random_linear(count, 2 * inner, hidden, dtype, generator)
    return gate_up, random_linear(count, hidden, inner, dtype, generator)


def routed(
    config: ModelConfig, tokens: int, dtype: torch.dtype, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Random tokens, their chosen experts, and the weights of these experts."""
    device = generator.device
    x = torch.randn(tokens, config.hidden_size, device=device, generator=generator).to(dtype)
    scores = torch.randn(tokens, config.num_local_experts, device=device, generator=generator)
    best = scores.topk(config.num_experts_per_tok)
    return x, best.indices, best.values.softmax(-1)


def _expert_error(
    name: str, config: ModelConfig, tokens: int, dtype: torch.dtype, setup: Setup
) -> Iterator[Result]:
    generator = torch.Generator(setup.device).manual_seed(tokens)
    x, chosen, weights = routed(config, tokens, dtype, generator)
    gate_up, down = expert_layer(config, dtype, generator)
    limit = config.swiglu_limit
    found = experts_triton.packed_experts(x, chosen, weights, gate_up, down, limit)
    gate_up, down = (replace(each, bias=each.bias.double()) for each in (gate_up, down))
    exact = packed_experts(x.double(), chosen, weights.double(), gate_up, down, limit)
    yield _compared(name, found, exact, exact.abs().max(), EXPERT_BOUNDS[dtype])


def _expert_work(config: ModelConfig, tokens: int, setup: Setup) -> Work:
    generator = torch.Generator(setup.device).manual_seed(tokens)
    run = experts_triton.packed_experts
    x, chosen, weights = routed(config, tokens, torch.bfloat16, generator)
    layers = [expert_layer(config, torch.bfloat16, generator) for _ in range(LAYERS)]
    stored = sum(part.nbytes for each in layers[0] for part in (each.blocks, each.scales))
    used = len(torch.unique(chosen))
    return Work(
        f"experts, {tokens} tokens, {used} experts",
        [partial(run, x, chosen, weights, *pair, config.swiglu_limit) for pair in layers],
        moved=stored * used / config.num_local_experts + 2 * x.nbytes,
        operations=2.0 * chosen.numel() * 3 * config.intermediate_size * config.hidden_size,
    )


def _attention_sizes(setup: Setup) -> tuple[Size, ...]:
    if not setup.on_gpu:
        return ((2, 1, 150), (1, 9, 150))
    return ((1, 1, 1000), (8, 1, 8192), (1, 128, 4000), (64, 1, 600), (64, 64, 2050))


def _paged(config: ModelConfig, size: Size, dtype: torch.dtype, setup: Setup) -> Paged:
    """Random arguments of paged attention with pages in random order, without window and scale."""
    sequences, new, context = size
    generator, device = torch.Generator(setup.device).manual_seed(context), setup.device

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, device=device, generator=generator).to(dtype)

    pages = -(-context // BLOCK)
    kept = (sequences * pages, BLOCK, config.num_key_value_heads, config.head_dim)
    order = torch.randperm(sequences * pages, device=device, generator=generator)
    return (
        normal(sequences * new, config.num_attention_heads, config.head_dim),
        normal(*kept),
        normal(*kept),
        order.int().view(sequences, pages),
        torch.arange(sequences + 1, device=device).int() * new,
        torch.full((sequences,), context, dtype=torch.int32, device=device),
        normal(config.num_attention_heads),
    )


def _attention_error(
    name: str,
    config: ModelConfig,
    size: Size,
    window: int | None,
    dtype: torch.dtype,
    setup: Setup,
) -> Iterator[Result]:
    given = _paged(config, size, dtype, setup)
    scale = config.head_dim**-0.5
    found = attention_triton.paged_attention(*given, window, scale)
    wide = cast("Paged", tuple(t.double() if t.is_floating_point() else t for t in given))
    exact = plain_attention.paged_attention(*wide, window, scale)
    yield _compared(name, found, exact, wide[2].abs().max(), ATTENTION_BOUNDS[dtype])


def _attention_work(config: ModelConfig, size: Size, window: int | None, setup: Setup) -> Work:
    sequences, new, context = size
    run, scale = attention_triton.paged_attention, config.head_dim**-0.5
    given = [
        _paged(config, (sequences, new, context + layer), torch.bfloat16, setup)
        for layer in range(LAYERS)
    ]
    seen = context - (new - 1) / 2 if window is None else min(window, context)
    read = context if window is None else min(window + new - 1, context)
    width, kv = config.head_dim, config.num_key_value_heads
    return Work(
        _attention_name(sequences, new, context, window),
        [partial(run, *each, window, scale) for each in given],
        moved=4.0 * sequences * read * kv * width + 2 * given[0][0].nbytes,
        operations=4.0 * sequences * new * seen * config.num_attention_heads * width,
    )


def _attention_name(sequences: int, new: int, context: int, window: int | None) -> str:
    kind = "full" if window is None else "window"
    return f"attention ({kind}), {sequences} × {new} new of {context}"


def _compared(name: str, found: Tensor, exact: Tensor, scale: Tensor, bound: float) -> Result:
    error = float((found - exact).abs().max() / scale)
    return Result(name, error, "", passed=error <= bound, note=f"at most {bound:.1e}")


def _number(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
