"""Tensor parallelism: the part of each layer in a process, and the sum of the parts.

Each of n processes has 1/n of the query heads with their key/value heads, 1/n of the experts, which
are not split, and 1/n of the unembedding's rows. Routers, norms and token embeddings are on all
processes. The outputs of attention and of the experts are summed over processes: one float32
all-reduce after each. The logits are gathered, so that all processes have all of them. A single
process makes no exchanges.

`division.divide` adds the exchanges to the modules of a complete model, so the model's
own code has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, distributed

from reference_engine.errors import SetupError
from reference_engine.model.config import ModelConfig


@dataclass(frozen=True)
class Cut:
    """The part of a parameter in one process."""

    rows: tuple[range, ...] | None = None  # ranges of the first dimension, in order; None for all
    columns: range | None = None  # range of the last dimension; None for all

    def of(self, whole: Tensor) -> Tensor:
        """Return the part of a tensor; a copy if only some rows are in it."""
        if self.rows is not None:
            # On meta tensors, `torch.cat` would import the whole compiler of PyTorch.
            lengths = [len(rows) for rows in self.rows]
            part = whole.new_empty(sum(lengths), *whole.shape[1:])
            for piece, rows in zip(part.split_with_sizes(lengths), self.rows, strict=True):
                piece.copy_(whole[rows.start : rows.stop])
            whole = part
        if self.columns is not None:
            whole = whole[..., self.columns.start : self.columns.stop]
        return whole


UNCUT = Cut()


@dataclass(frozen=True)
class Shard:
    """The part of process `rank` of `ranks` processes."""

    rank: int = 0
    ranks: int = 1

    def local_config(self, config: ModelConfig) -> ModelConfig:
        """Return the config with this process's heads. Raises SetupError if they do not divide."""
        for count, what in (
            (config.num_key_value_heads, "key/value heads"),
            (config.num_local_experts, "experts"),
            (config.vocab_size, "tokens of the vocabulary"),
        ):
            if count % self.ranks:
                raise SetupError(
                    f"{count} {what} cannot be divided evenly among {self.ranks} processes; "
                    "choose another --nproc-per-node."
                )
        return replace(
            config,
            num_attention_heads=config.num_attention_heads // self.ranks,
            num_key_value_heads=config.num_key_value_heads // self.ranks,
        )

    def part(self, count: int) -> range:
        """Return the local indices among `count` items; `count` is a multiple of `ranks`."""
        size = count // self.ranks
        return range(self.rank * size, (self.rank + 1) * size)

    def cut(self, parameter: str, config: ModelConfig) -> Cut:
        """Return the local part of a parameter of the complete model with shape `config`."""
        if self.ranks == 1:
            return UNCUT
        size = config.head_dim
        query, kv = config.num_attention_heads * size, config.num_key_value_heads * size
        if parameter == "unembedding.weight":
            return Cut(rows=(self.part(config.vocab_size),))
        kind = parameter.partition(".mlp.")[2] or parameter.partition(".attn.")[2]
        if kind in {"qkv.weight", "qkv.bias"}:
            local = self.part(kv)
            keys = range(query + local.start, query + local.stop)
            return Cut(rows=(self.part(query), keys, range(keys.start + kv, keys.stop + kv)))
        if kind == "sinks":
            return Cut(rows=(self.part(config.num_attention_heads),))
        if kind == "out.weight":
            return Cut(columns=self.part(query))
        if kind.startswith(("mlp1_", "mlp2_")):
            return Cut(rows=(self.part(config.num_local_experts),))
        return UNCUT

    def applies(self, parameter: str) -> bool:
        """Return False for the bias of a sum on all ranks but the first, which adds it once."""
        return self.rank == 0 or not parameter.endswith(".attn.out.bias")

    def local_experts(self, chosen: Tensor, weights: Tensor, experts: int) -> tuple[Tensor, Tensor]:
        """Renumber choices (tokens, top) among all `experts` as local expert indices.

        Experts of other processes get the index after the last local expert, which means "no
        expert", and the weight zero.
        """
        if self.ranks == 1:
            return chosen, weights
        local = self.part(experts)
        here = (chosen >= local.start) & (chosen < local.stop)
        return torch.where(here, chosen - local.start, len(local)), weights * here

    def sum(self, part: Tensor) -> Tensor:
        """Return the float32 sum of all processes' parts."""
        if self.ranks == 1:
            return part
        total = part.float().contiguous()
        distributed.all_reduce(total)
        return total

    def gather(self, part: Tensor) -> Tensor:
        """Return the last dimension of all processes' parts, in order."""
        if self.ranks == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.ranks)]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts, -1)

    def least(self, number: int, device: torch.device) -> int:
        """Return the smallest number of all processes; `device` is that of the model."""
        if self.ranks == 1:
            return number
        least = torch.tensor(number, device=device)
        distributed.all_reduce(least, distributed.ReduceOp.MIN)
        return int(least)


UNSHARDED = Shard()  # a single process with the complete model
