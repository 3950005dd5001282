"""The script of each process of test_parallel.py: runs its part of a model step by step."""

import sys
from pathlib import Path

import torch
from torch import Tensor

from reference_engine.checkpoint import load_model
from reference_engine.generation.forward import Row
from reference_engine.generation.ranks import Leader, process_group, run_follower
from reference_engine.generation.scheduler import BLOCK
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import blocks_of
from reference_engine.model.sharding import UNSHARDED, Shard
from reference_engine.model.transformer import Transformer

PROMPTS = ([*range(100)], [*range(200, 290)])
DECODED = 12


def logprobs(model: Transformer, leader: Leader) -> Tensor:
    """Returns logprobs of two prompts and further tokens, (steps, prompts, vocabulary)."""
    cache = KVCache(model.config, 32, model.unembedding.weight.dtype, torch.device("cpu"))
    forward = leader.forward(model, cache)
    tables = [cache.table([]) for _ in PROMPTS]
    out = []
    sequences = [[*prompt, *range(7, 7 + DECODED)] for prompt in PROMPTS]
    begins = [list(range(0, len(prompt), BLOCK)) for prompt in PROMPTS]
    steps = [
        [(start, min(start + BLOCK, len(prompt))) for start in begin]
        + [(len(prompt) + n, len(prompt) + n + 1) for n in range(DECODED)]
        for prompt, begin in zip(PROMPTS, begins, strict=True)
    ]
    for spans in zip(*steps, strict=True):
        rows = []
        for sequence, table, (start, end) in zip(sequences, tables, spans, strict=True):
            table.extend(blocks_of(end))
            rows.append(Row(sequence[start:end], start, table.full, table.sliding))
        length = BLOCK if spans[0][1] - spans[0][0] > 1 else 1
        out.append(model.unembedding(forward(rows, length)).float().log_softmax(-1))
    return torch.stack(out)


@torch.inference_mode()
def measured(
    checkpoint: str, dtype: torch.dtype, *, packed: bool, shard: Shard = UNSHARDED
) -> Tensor:
    """Returns the logprobs; empty on followers."""
    model = load_model(checkpoint, dtype=dtype, packed=packed, shard=shard)
    if shard.rank:
        run_follower(model)
        return torch.empty(0)
    leader = Leader(shard)
    try:
        return logprobs(model, leader)
    finally:
        leader.close()


def main() -> None:
    torch.set_num_threads(1)
    checkpoint, out = sys.argv[1:]
    with process_group("cpu") as shard:
        made = {
            f"{dtype} {packed}": measured(
                checkpoint, getattr(torch, dtype), packed=packed, shard=shard
            )
            for dtype in ("float32", "bfloat16")
            for packed in (False, True)
        }
    if not shard.rank:
        torch.save(made, Path(out))


if __name__ == "__main__":
    main()
