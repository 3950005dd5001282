"""Creates a runner and its KV cache, whose size depends on the free memory of the device."""

from functools import partial
from typing import TypedDict, Unpack

import torch

from reference_engine.errors import SetupError
from reference_engine.generation.forward import MakeForward
from reference_engine.generation.graphs import forward_for
from reference_engine.generation.link import Link
from reference_engine.generation.runner import Runner
from reference_engine.generation.sampling import Sampler, sample
from reference_engine.kv_cache.cache import KVCache, page_bytes
from reference_engine.kv_cache.memory import Memory
from reference_engine.kv_cache.pages import blocks_of
from reference_engine.model.config import DEFAULT_CONTEXT
from reference_engine.model.transformer import Transformer

_DEFAULT_CHUNK = {"cpu": 512, "mps": 512, "cuda": 8192}
_LARGEST, _SAMPLED = 2, 6
"""Recorded decode steps that need most memory (with and without a top_p), and the number of further
ones that show how much memory each graph takes."""


class Sizes(TypedDict, total=False):
    """The sizes of a runner, each with a default; None is the default too."""

    max_batch: int  # maximum number of requests in a batch; by default 32
    max_context: int | None
    """Maximum number of tokens of a prompt and its continuation; the size of the cache may lower
    it."""
    prefill_chunk: int | None
    """Maximum number of prompt tokens between two decode steps; by default 512 on a CPU and 8,192
    on a GPU. More tokens fill the tiles of the experts better, and decode rows wait longer."""
    memory: Memory | None  # the size of the KV cache


def runner_for(
    model: Transformer,
    *,
    sampler: Sampler = sample,
    forward: MakeForward = forward_for,
    link: Link | None = None,
    **sizes: Unpack[Sizes],
) -> Runner:
    """Return a runner with its scheduler. Raises SetupError.

    If the model has several processes, all of them call this function at the same time with the
    same sizes. The process with the least memory determines the number of pages.

    Args:
        model: The loaded model.
        sampler: Draws the tokens.
        forward: Creates the forward pass.
        link: Connects the other processes of the model, if there are any.
        sizes: See `Sizes`.
    """
    config, weight = model.config, model.embedding.weight
    max_batch = sizes.get("max_batch", 32)
    chunk = sizes.get("prefill_chunk") or _DEFAULT_CHUNK[weight.device.type]
    context = sizes.get("max_context") or DEFAULT_CONTEXT
    working = partial(working_memory, model, max_batch, context, chunk)
    size = (sizes.get("memory") or Memory()).bytes_on(weight.device, working)
    pages = model.shard.least(size // page_bytes(config, weight.dtype), weight.device)
    cache = KVCache(config, pages, weight.dtype, weight.device)
    return Runner(
        model,
        cache,
        max_batch=max_batch,
        max_context=cache.longest_context(context),
        prefill_chunk=chunk,
        sampler=sampler,
        forward=forward(model, cache),
        link=link,
    )


def working_memory(model: Transformer, max_batch: int, max_context: int, chunk: int) -> int:
    """Return the bytes of GPU memory that the model needs besides weights and KV cache.

    The largest steps run on a cache that is as small as possible, and are measured. The other
    decode steps share the memory of their results, but each graph takes some for itself; this is
    measured for a few of them. Raises SetupError.
    """
    weight = model.unembedding.weight

    def free() -> int:
        torch.cuda.synchronize(weight.device)
        return torch.cuda.mem_get_info(weight.device)[0]

    before = free()
    cache = KVCache(model.config, 2 * blocks_of(chunk), weight.dtype, weight.device)
    runner = Runner(
        model,
        cache,
        max_batch=max_batch,
        max_context=min(max_context, model.config.max_position_embeddings),
        prefill_chunk=chunk,
        forward=forward_for(model, cache),
    )
    try:
        runner.prepare(lambda done, total: None, largest=_LARGEST)
        after_largest = free()
        runner.prepare(lambda done, total: None, largest=_LARGEST + _SAMPLED)
    except torch.OutOfMemoryError as error:
        raise SetupError(
            f"The GPU has too little memory for {max_batch} requests and {chunk} prompt tokens at "
            "a time. Choose a smaller --max-batch or --prefill-chunk."
        ) from error
    after = free()
    further = max(runner.decode_steps - _LARGEST - _SAMPLED, 0)
    graphs = max(after_largest - after, 0) * further // _SAMPLED
    held = page_bytes(model.config, weight.dtype) * (1 + cache.pool.size)
    del runner, cache
    torch.cuda.empty_cache()
    return max(before - after - held, 0) + graphs
