"""Many sequences in one batch: which tokens go through the model in each step.

A step reads a bounded number of blocks of prompts, so that long ones do not stall the others, then
takes every other sequence one token further. Sequences join and leave between steps. Where pages
run short, the sequence that came last gives up its own and starts again later: it reads its prompt
as before, then its own tokens one by one, so that what it goes on to say is the same to the last
bit. The sequence that came first always moves on. No threads in here; see `engine` for those.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from reference_engine.generation.forward import Forward, GatheredForward, Row, row_multiple
from reference_engine.generation.sampling import (
    Draw,
    Sampler,
    SamplingParams,
    Token,
    sample,
    seed_of,
)
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK, BlockTable, block_names, blocks_of
from reference_engine.model.transformer import Transformer


@dataclass
class Tally:
    """What has happened so far.

    Attributes:
        prompt_tokens: Tokens of prompts that were read.
        reused_tokens: Tokens of prompts that were found read already.
        generated_tokens: Tokens that were generated.
        repeated_tokens: Those of them that were read again after their pages were lost.
        preemptions: How often a sequence gave up its pages.
    """

    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    repeated_tokens: int = 0
    preemptions: int = 0

    def totals(self) -> dict[str, tuple[str, int]]:
        """The counts by the names of their metrics, each with what it says."""
        return {
            "prompt_tokens": ("Tokens of prompts that were read.", self.prompt_tokens),
            "reused_prompt_tokens": (
                "Tokens of prompts that were found read already.",
                self.reused_tokens,
            ),
            "generated_tokens": ("Tokens that were generated.", self.generated_tokens),
            "repeated_tokens": (
                "Generated tokens that were read again after their pages were lost.",
                self.repeated_tokens,
            ),
            "preemptions": ("How often a request gave up its pages.", self.preemptions),
        }


@dataclass(eq=False)
class Sequence:
    """A request on its way through the model.

    Attributes:
        seed: Of the draws.
        tokens: The prompt, then what was generated.
        names: The names of the prompt's full blocks, see `block_table`.
        cached: How many of the tokens the cache holds.
        order: Which of all sequences it was to join.
        table: Its pages, None while it waits for any.
    """

    prompt: tuple[int, ...]
    params: SamplingParams
    seed: int = field(init=False)
    tokens: list[int] = field(init=False)
    names: list[bytes] = field(init=False)
    cached: int = 0
    order: int = 0
    table: BlockTable | None = None

    def __post_init__(self) -> None:
        self.seed = seed_of(self.params)
        self.tokens = list(self.prompt)
        self.names = block_names(self.prompt)

    @property
    def reading(self) -> bool:
        """Whether part of the prompt has still to be read."""
        return self.cached < len(self.prompt)

    @property
    def generated(self) -> int:
        """How many tokens were generated."""
        return len(self.tokens) - len(self.prompt)


@dataclass(frozen=True)
class Step:
    """What one sequence gained in a step."""

    sequence: Sequence
    token: Token
    finished: bool


HEADROOM = 4 * BLOCK
"""Tokens beyond those it has for which a sequence must find pages before it may join."""


@dataclass
class _Plan:
    """What a step does; `reading` names the blocks that are read for the first time."""

    blocks_left: int
    read: list[tuple[Sequence, Row]] = field(default_factory=list)
    decode: list[tuple[Sequence, Row]] = field(default_factory=list)
    reading: set[bytes] = field(default_factory=set)


class Scheduler:
    """Runs up to `max_batch` sequences of at most `max_context` tokens through a model.

    `prefill_chunk` is how many tokens of prompts a step reads at most, and at least one block.
    """

    def __init__(
        self,
        model: Transformer,
        cache: KVCache,
        *,
        max_batch: int,
        max_context: int,
        prefill_chunk: int,
        headroom: int = HEADROOM,
        sampler: Sampler = sample,
        forward: Forward | None = None,
    ) -> None:
        self.max_context = max_context
        self.tally = Tally()
        self._model = model
        self._cache = cache
        self._sampler = sampler
        self._forward = forward or GatheredForward(model, cache)
        self._row_multiple = row_multiple(model.unembedding.weight)
        self._chunk = max(prefill_chunk // BLOCK, 1)
        self._max_batch = max_batch
        self._headroom = headroom
        self._running: list[Sequence] = []
        self._preempted: list[Sequence] = []
        self._joined = 0

    @property
    def running(self) -> int:
        """How many sequences hold pages."""
        return len(self._running)

    @property
    def preempted(self) -> int:
        """How many sequences wait for pages after they had some."""
        return len(self._preempted)

    @property
    def pages(self) -> dict[str, int]:
        """How many pages are in use, known though unused, and blank."""
        pool = self._cache.pool
        known = pool.idle
        return {"used": pool.used, "known": known, "blank": pool.available - known}

    def fits(self, sequence: Sequence) -> bool:
        """Whether the sequence can join now, with the pages for its prompt and some head-room."""
        if self._preempted or len(self._running) >= self._max_batch:
            return False
        table = self._cache.table(sequence.names)
        shared = table.shared((len(sequence.prompt) - 1) // BLOCK)
        return self._wanted(sequence) - shared <= self._unpromised()

    def add(self, sequence: Sequence) -> None:
        """Lets a sequence join."""
        self._joined += 1
        sequence.order = self._joined
        self._start(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Frees the pages of a sequence, finished or not."""
        if sequence.table is not None:
            sequence.table.release()
            sequence.table = None
            self._running.remove(sequence)
        elif sequence in self._preempted:
            self._preempted.remove(sequence)

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """Advances the running sequences; those that finish are removed."""
        self._resume()
        plan = self._planned()
        ready: list[Sequence] = []
        streams: list[Tensor] = []
        if plan.read:
            self._read(plan.read, ready, streams)
        if plan.decode:
            self._decode(plan.decode, ready, streams)
        return self._sample(ready, torch.cat(streams)) if ready else []

    def _wanted(self, sequence: Sequence) -> int:
        length = min(
            len(sequence.tokens) + self._headroom,
            len(sequence.prompt) + sequence.params.max_tokens,
            self.max_context,
        )
        return self._cache.layout.pages_for(length)

    def _unpromised(self) -> int:
        """Available pages that the running sequences will not want soon."""
        promised = sum(
            max(self._wanted(sequence) - sequence.table.held, 0)
            for sequence in self._running
            if sequence.table is not None
        )
        return self._cache.pool.available - promised

    def _start(self, sequence: Sequence) -> None:
        sequence.table = self._cache.table(sequence.names)
        sequence.cached = 0
        insort(self._running, sequence, key=lambda each: each.order)

    def _resume(self) -> None:
        while self._preempted:
            first = self._preempted[0]
            if self._running and self._wanted(first) > self._unpromised():
                return
            self._start(self._preempted.pop(0))

    def _preempt(self, sequence: Sequence) -> None:
        self.tally.preemptions += 1
        self.remove(sequence)
        insort(self._preempted, sequence, key=lambda each: each.order)

    def _planned(self) -> _Plan:
        """Pages go to those who came first; blocks of prompts to all in turn."""
        plan = _Plan(self._chunk)
        for sequence in tuple(self._running):
            if sequence.table is None:  # It lost its pages to one before it.
                continue
            if sequence.reading:
                self._adopt(sequence, sequence.table)
                self._plan_block(plan, sequence, sequence.table, sequence.cached, preempting=True)
            elif self._make_room(sequence, sequence.table, sequence.cached + 1):
                row = self._row(sequence, sequence.table, sequence.cached, 1)
                plan.decode.append((sequence, row))
        turns = deque(plan.read)
        while turns:
            sequence, row = turns.popleft()
            assert sequence.table is not None
            start = row.start + BLOCK
            if self._plan_block(plan, sequence, sequence.table, start, preempting=False):
                turns.append(plan.read[-1])
        return plan

    def _adopt(self, sequence: Sequence, table: BlockTable) -> None:
        """Takes over what has been read of the same prompt; its last token is left to be read."""
        blocks = table.adopt((len(sequence.prompt) - 1) // BLOCK)
        sequence.cached += blocks * BLOCK
        self.tally.reused_tokens += blocks * BLOCK

    def _plan_block(
        self, plan: _Plan, sequence: Sequence, table: BlockTable, start: int, *, preempting: bool
    ) -> bool:
        """Plans a block of a prompt, unless another sequence reads the same one in this step."""
        end = min(start + BLOCK, len(sequence.prompt))
        if plan.blocks_left == 0 or start >= end:
            return False
        name = table.names[start // BLOCK] if end - start == BLOCK else None
        if name in plan.reading:
            return False
        if preempting:
            if not self._make_room(sequence, table, end):
                return False
        elif table.missing(blocks_of(end)) > self._cache.pool.available:
            return False
        table.extend(blocks_of(end))
        plan.blocks_left -= 1
        plan.read.append((sequence, self._row(sequence, table, start, end - start)))
        if name is not None:
            plan.reading.add(name)
        return True

    def _make_room(self, sequence: Sequence, table: BlockTable, length: int) -> bool:
        """Takes the pages for so many tokens, if need be from those who came later."""
        blocks = blocks_of(length)
        while table.missing(blocks) > self._cache.pool.available:
            if self._running[-1] is sequence:
                return False
            self._preempt(self._running[-1])
        table.extend(blocks)
        return True

    @staticmethod
    def _row(sequence: Sequence, table: BlockTable, start: int, count: int) -> Row:
        return Row(sequence.tokens[start : start + count], start, table.full, table.near)

    def _read(
        self, rows: list[tuple[Sequence, Row]], ready: list[Sequence], streams: list[Tensor]
    ) -> None:
        """Reads blocks of prompts."""
        stream = self._forward([row for _, row in rows], BLOCK)
        for at, (sequence, row) in enumerate(rows):
            assert sequence.table is not None
            sequence.cached += len(row.tokens)
            self.tally.prompt_tokens += len(row.tokens)
            if len(row.tokens) == BLOCK:
                sequence.table.keep(row.start // BLOCK)
            self._advanced(sequence, stream[at : at + 1], ready, streams)
        for sequence, _ in rows:
            assert sequence.table is not None
            sequence.table.trim(sequence.cached)

    def _decode(
        self, rows: list[tuple[Sequence, Row]], ready: list[Sequence], streams: list[Tensor]
    ) -> None:
        """Takes sequences one token further."""
        stream = self._forward([row for _, row in rows], 1)
        for at, (sequence, _) in enumerate(rows):
            assert sequence.table is not None
            sequence.cached += 1
            self.tally.repeated_tokens += sequence.cached < len(sequence.tokens)
            sequence.table.trim(sequence.cached)
            self._advanced(sequence, stream[at : at + 1], ready, streams)

    @staticmethod
    def _advanced(
        sequence: Sequence, stream: Tensor, ready: list[Sequence], streams: list[Tensor]
    ) -> None:
        if sequence.cached == len(sequence.tokens):
            ready.append(sequence)
            streams.append(stream)

    def _sample(self, ready: list[Sequence], stream: Tensor) -> list[Step]:
        padding = -len(stream) % self._row_multiple
        logits = self._model.scores(F.pad(stream, (0, 0, 0, padding)))[: len(stream)]
        draws = [Draw(each.params, each.seed, each.generated) for each in ready]
        steps = []
        for sequence, token in zip(ready, self._sampler(logits, draws), strict=True):
            sequence.tokens.append(token.id)
            self.tally.generated_tokens += 1
            finished = (
                token.id in sequence.params.stop_token_ids
                or sequence.generated >= sequence.params.max_tokens
                or len(sequence.tokens) >= self.max_context
            )
            if finished:
                self.remove(sequence)
            steps.append(Step(sequence, token, finished))
        return steps
