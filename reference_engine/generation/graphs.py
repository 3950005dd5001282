"""Decode steps that are recorded once and replayed: on a GPU as CUDA graphs.

A recorded step computes everything from the new tokens to the drawn ones: model, unembedding and
sampling. Its results stay on the device as the input of the next step, which can therefore be
launched before the host has read the tokens:

    host      launch 1   launch 2   read 1   launch 3   read 2   ...
    device               step 1     step 2              step 3   ...
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reference_engine.generation.forward import Forward, GatheredForward, Row
from reference_engine.generation.link import digests
from reference_engine.generation.ragged import RaggedBatch, RaggedForward, width_for, width_of
from reference_engine.generation.sampling import (
    CANDIDATES,
    Draw,
    SamplingParams,
    Token,
    draw_tokens,
    is_nucleus,
    read_tokens,
)
from reference_engine.kernels.experts import PackedMixtureOfExperts, SmallMixtureOfExperts
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK, blocks_of
from reference_engine.model.logits import AllLogits, ChunkSums, chunk_sums
from reference_engine.model.transformer import Transformer

Replay = Callable[[], object]
Record = Callable[[Callable[[], None]], Replay]
"""Runs a computation once, and records it. Its inputs and results must keep their addresses."""


def forward_for(model: Transformer, cache: KVCache) -> Forward:
    """Return the forward pass for the model's device and kernels."""
    if model.kernels == "torch":
        return GatheredForward(model, cache)
    # Launches can be recorded if they depend only on shapes.
    fixed = PackedMixtureOfExperts | SmallMixtureOfExperts
    if cache.layers[0].keys.is_cuda and all(isinstance(each.mlp, fixed) for each in model.blocks):
        return GraphedForward(model, cache, record_graphs())
    return RaggedForward(model, cache)


class GraphedForward(RaggedForward):
    """A forward pass whose decode steps can be recorded, on a GPU by `record_graphs`."""

    def __init__(self, model: Transformer, cache: KVCache, record: Record) -> None:
        super().__init__(model, cache)
        self._record = record

    def decoder(self, rows: int) -> Decoder:
        """Return a decoder for batches of at most `rows` sequences."""
        return Decoder(self._model, self._cache, self._record, rows)


class Decoder:
    """Launches recorded decode steps, by rows, table width, and whether a row is a nucleus draw."""

    def __init__(self, model: Transformer, cache: KVCache, record: Record, rows: int) -> None:
        self._model = model
        self._cache = cache
        self._record = record
        self._recorded: dict[tuple[int, int, bool], tuple[RaggedBatch, Replay]] = {}
        most, device = bucket(rows), model.unembedding.weight.device
        self._logits = torch.empty(most, model.config.vocab_size, device=device)
        self._drawn = torch.zeros(most, dtype=torch.int64, device=device)
        self._before = torch.zeros_like(self._drawn)
        self._first_stage = _first_stage(model)
        self._digests = torch.zeros_like(self._drawn) if model.shard.ranks > 1 else None

    def launch(self, rows: Sequence[Row], draws: Sequence[Draw]) -> Launched:
        """Launch a step for rows with one token each.

        A row's token may be `drawn_in(n)`: the token that the previous step draws in its row n.
        """
        torch.clamp(self._drawn, min=0, out=self._before)  # A failed row has no token.
        batch, replay = self._step(rows, draws)
        batch.fill(rows, draws)
        replay()
        return Launched.of(self._logits, self._drawn, self._digests, draws)

    def steps(self, context: int) -> list[tuple[int, int, float]]:
        """Return the steps to record, the largest first: rows, tokens of each row, and top_p.

        Their number is bounded: with 256 rows and 131,072 tokens of context, there are 88.
        """
        rows = sorted({bucket(count) for count in range(1, len(self._drawn) + 1)}, reverse=True)
        widest = width_of(blocks_of(context))
        widths = sorted({width_of(blocks) for blocks in range(1, widest + 1)}, reverse=True)
        return [
            (count, min(BLOCK * width, context), top_p)
            for count in rows
            for width in widths
            for top_p in (0.9, 1)
        ]

    def record(self, count: int, context: int, *, top_p: float) -> None:
        """Record the step of `count` rows with `context` tokens each; overwrite pages.

        All rows are long, so the kernels are tuned for the contexts in which speed matters.
        """
        table = practice_table(self._cache, blocks_of(context))
        rows = [Row([token], context - 1, table, table) for token in range(count)]
        self._step(rows, [Draw(SamplingParams(top_p=top_p), seed=0, step=0)] * count)

    def _step(self, rows: Sequence[Row], draws: Sequence[Draw]) -> tuple[RaggedBatch, Replay]:
        """Return the step for these rows; record it first if necessary."""
        key = (bucket(len(rows)), width_for(rows), is_nucleus(draws))
        if key not in self._recorded:
            count, width, nucleus = key
            batch = RaggedBatch(self._cache, count, count, width)
            batch.fill(rows, draws)
            self._recorded[key] = batch, self._record(partial(self.run, batch, nucleus))
        return self._recorded[key]

    def run(self, batch: RaggedBatch, nucleus: bool) -> None:
        """Run the step that `launch` records, with the rows in `batch`."""
        given, count = batch.tokens, len(batch.tokens)
        earlier = self._before[(~given).clamp(min=0)]
        normalized = batch.run(self._model, torch.where(given < 0, earlier, given))
        if self._digests is not None:
            self._digests[:count].copy_(digests(normalized))
        logits = self._logits[:count].copy_(self._model.unembedding(normalized))
        candidates = CANDIDATES if nucleus else 0
        drawn = draw_tokens(AllLogits(logits, self._first_stage), batch.settings, candidates)
        self._drawn[:count].copy_(drawn)


def practice_table(cache: KVCache, blocks: int) -> array[int]:
    """Return a page table of this many blocks before any sequence has pages."""
    return array("i", [1 + block % cache.pool.size for block in range(blocks)])


def drawn_in(row: int) -> int:
    """Return the placeholder for a token that the previous step has not drawn yet, by its row."""
    return ~row


@dataclass(frozen=True)
class Launched:
    """A step that was launched; the next one overwrites its `logits`."""

    draws: Sequence[Draw]  # the settings of each row
    overlaps: bool
    """Whether the next step may be launched before `tokens` is called. This is the case if the
    logits are not needed: no row has a top_p, a top_k, logprobs, penalties or a constraint."""
    _logits: Tensor
    _drawn: Tensor
    _digests: Tensor | None  # of several processes
    _copied: torch.cuda.Event | None

    @classmethod
    def of(
        cls, logits: Tensor, drawn: Tensor, digests: Tensor | None, draws: Sequence[Draw]
    ) -> Launched:
        """Start the copy of the drawn tokens and of the digests to the host."""
        count = len(draws)
        host = _to_host(drawn[:count])
        compared = None if digests is None else _to_host(digests[:count])
        copied = torch.cuda.current_stream().record_event() if drawn.is_cuda else None
        read = any(
            d.params.top_logprobs is not None or d.constraint is not None or d.params.penalizes
            for d in draws
        )
        overlaps = not (read or is_nucleus(draws))
        return cls(draws, overlaps, logits[:count], host, compared, copied)

    def tokens(self) -> list[Token | None]:
        """Wait for the step and return its tokens; None for rows without finite logits."""
        self._wait()
        return read_tokens(AllLogits(self._logits), self._drawn, self.draws)

    def digests(self) -> list[int]:
        """Wait for the step; return the digest of each row's stream, then the drawn tokens.

        There are none if the model has a single process.
        """
        self._wait()
        return [] if self._digests is None else [*self._digests.tolist(), *self._drawn.tolist()]

    def _wait(self) -> None:
        if self._copied is not None:
            self._copied.synchronize()


def _to_host(numbers: Tensor) -> Tensor:
    host = torch.empty_like(numbers, device="cpu", pin_memory=numbers.is_cuda)
    return host.copy_(numbers, non_blocking=True)


def record_graphs() -> Record:
    """Record CUDA graphs, which share the memory of their intermediate results."""
    memory = torch.cuda.graph_pool_handle()

    def record(run: Callable[[], None]) -> Replay:
        run()  # This run autotunes the kernels, which must not happen while recording.
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=memory):
            run()
        return graph.replay

    return record


def record_calls(run: Callable[[], None]) -> Replay:
    """Do the same as `record_graphs` without a graph, for tests on a CPU."""
    run()
    return run


def bucket(rows: int) -> int:
    """Return the padded row count: a power of two up to 8, a multiple of 16 up to 64, then of 64.

    Every bucket needs graphs, and padding costs little: its rows are short and share their experts.
    """
    if rows <= 8:
        return 1 << (rows - 1).bit_length()
    multiple = 16 if rows <= 64 else 64
    return -(-rows // multiple) * multiple


def _first_stage(model: Transformer) -> ChunkSums:
    """Return the implementation that the model's kernels select."""
    if model.kernels == "torch":
        return chunk_sums
    from reference_engine.kernels import chunk_sums_triton

    return chunk_sums_triton.chunk_sums
