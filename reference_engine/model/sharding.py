"""Tensor parallelism: which part of each layer a process holds, and how the parts add up.

Each of n processes holds 1/n of the query heads with the key/value heads that they share, and 1/n
of the experts, whole; routers, norms and token tables are on all. What attention adds to the stream
and what experts add are sums over processes: one all-reduce after each, in float32. With one
process there is nothing to add, and the model is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, distributed

from reference_engine.model.config import ModelConfig


class ParallelError(Exception):
    """Processes that cannot work together, or no longer do; the message says why."""


@dataclass(frozen=True)
class Cut:
    """The part of a parameter that one process holds.

    Attributes:
        rows: Indices of the first dimension, one range after the other; all when None.
        columns: Indices of the last dimension; all when None.
    """

    rows: tuple[range, ...] | None = None
    columns: range | None = None


WHOLE = Cut()


@dataclass(frozen=True)
class Shard:
    """The part of process `rank` out of `ranks`."""

    rank: int = 0
    ranks: int = 1

    def heads_of(self, config: ModelConfig) -> ModelConfig:
        """The shape of a model with the heads of this process only.

        Raises:
            ParallelError: The model cannot be cut into that many parts.
        """
        for count, what in (
            (config.num_key_value_heads, "key/value heads"),
            (config.num_local_experts, "experts"),
        ):
            if count % self.ranks:
                raise ParallelError(
                    f"{count} {what} cannot be shared out evenly among {self.ranks} processes; "
                    "choose another --nproc-per-node."
                )
        return replace(
            config,
            num_attention_heads=config.num_attention_heads // self.ranks,
            num_key_value_heads=config.num_key_value_heads // self.ranks,
        )

    def part(self, count: int) -> range:
        """Which of `count` things are here; `count` is a multiple of `ranks`."""
        each = count // self.ranks
        return range(self.rank * each, (self.rank + 1) * each)

    def cut(self, parameter: str, config: ModelConfig) -> Cut:
        """The part of a parameter of the whole model, of shape `config`, that is held here."""
        if self.ranks == 1:
            return WHOLE
        size = config.head_dim
        query, kv = config.num_attention_heads * size, config.num_key_value_heads * size
        kind = parameter.partition(".mlp.")[2] or parameter.partition(".attn.")[2]
        if kind in {"qkv.weight", "qkv.bias"}:
            mine = self.part(kv)
            keys = range(query + mine.start, query + mine.stop)
            values = range(keys.start + kv, keys.stop + kv)
            return Cut(rows=(self.part(query), keys, values))
        if kind == "sinks":
            return Cut(rows=(self.part(config.num_attention_heads),))
        if kind == "out.weight":
            return Cut(columns=self.part(query))
        if kind.startswith(("mlp1_", "mlp2_")):
            return Cut(rows=(self.part(config.num_local_experts),))
        return WHOLE

    def adds(self, parameter: str) -> bool:
        """Whether a parameter counts here: a bias of a sum is added by the first process only."""
        return self.rank == 0 or not parameter.endswith(".attn.out.bias")

    def own(self, chosen: Tensor, weights: Tensor, experts: int) -> tuple[Tensor, Tensor]:
        """Choices among all `experts` (tokens, top), numbered as they are held here.

        Experts that are held elsewhere get the number after the last, which stands for none, and
        the weight zero.
        """
        if self.ranks == 1:
            return chosen, weights
        mine = self.part(experts)
        here = (chosen >= mine.start) & (chosen < mine.stop)
        return torch.where(here, chosen - mine.start, len(mine)), weights * here

    def sum(self, part: Tensor) -> Tensor:
        """The sum of all processes' parts, the same on each, in float32."""
        if self.ranks == 1:
            return part
        total = part.float().contiguous()
        distributed.all_reduce(total)
        return total


ALONE = Shard()
"""One process holds everything."""
