"""Continuous batching: chooses the tokens of many sequences that the model processes in each step.

A step prefills a bounded number of prompt blocks, so that long prompts do not stall other
sequences, then decodes one token of every other sequence. Sequences join and leave between steps.

When pages run out, the newest sequence gives up its pages and restarts later. It then prefills its
prompt as before and feeds its generated tokens one by one, so that its continuation is identical
bit for bit. The oldest sequence always makes progress.

The scheduler plans and keeps count; it touches no tensor. `runner` executes its plans.
"""

from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from operator import attrgetter

from reference_engine.generation.forward import Row
from reference_engine.generation.sampling import Token
from reference_engine.generation.sequence import Sequence, Step
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK, BlockTable, blocks_of

HEADROOM = 4 * BLOCK  # further tokens for which pages must be available before a sequence may join


@dataclass
class Tally:
    """The scheduler's counters; `totals` describes them."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    generated_tokens: int = 0
    repeated_tokens: int = 0
    preemptions: int = 0

    def totals(self) -> dict[str, tuple[str, int]]:
        """Return the description and value of each metric by name."""
        return {
            "prompt_tokens": ("Prompt tokens prefilled.", self.prompt_tokens),
            "reused_prompt_tokens": ("Prompt tokens found in the cache.", self.reused_tokens),
            "generated_tokens": ("Tokens generated.", self.generated_tokens),
            "repeated_tokens": (
                "Generated tokens that were recomputed after a preemption.",
                self.repeated_tokens,
            ),
            "preemptions": ("Number of requests that were preempted.", self.preemptions),
        }


@dataclass
class Plan:
    """The work of a step; `new_blocks` has the hashes of the prompt blocks to prefill."""

    blocks_left: int
    prefill: list[tuple[Sequence, Row]] = field(default_factory=list)
    decode: list[tuple[Sequence, Row]] = field(default_factory=list)
    new_blocks: set[bytes] = field(default_factory=set)


class Scheduler:
    """Plans the steps of up to `max_batch` sequences of at most `max_context` tokens.

    A step prefills at most `prefill_chunk` prompt tokens, but at least one block.
    """

    def __init__(
        self,
        cache: KVCache,
        *,
        max_batch: int,
        max_context: int,
        prefill_chunk: int,
        headroom: int = HEADROOM,
    ) -> None:
        self.max_batch = max_batch
        self.max_context = max_context
        self.chunk = max(prefill_chunk // BLOCK, 1)  # blocks of prompts in a step
        self.tally = Tally()
        self._cache = cache
        self._headroom = headroom
        self._running: list[Sequence] = []
        self._preempted: list[Sequence] = []
        self._joined = 0

    @property
    def running(self) -> int:
        """The number of sequences that have pages."""
        return len(self._running)

    @property
    def preempted(self) -> int:
        """The number of sequences that gave up their pages and wait for new ones."""
        return len(self._preempted)

    @property
    def pages(self) -> dict[str, int]:
        """The number of pages that are in use, reusable without a user, and blank."""
        pool = self._cache.pool
        known = pool.idle
        return {"used": pool.used, "known": known, "blank": pool.available - known}

    def fits(self, sequence: Sequence) -> bool:
        """Return whether there are pages for the sequence's prompt and some headroom."""
        if self._preempted or len(self._running) >= self.max_batch:
            return False
        table = self._cache.table(sequence.hashes)
        shared = table.blocks_in_use((len(sequence.prompt) - 1) // BLOCK)
        return self._expected_pages(sequence) - shared <= self._unreserved_pages()

    def add(self, sequence: Sequence) -> None:
        """Add a sequence to the batch."""
        self._joined += 1
        sequence.order = self._joined
        self._start(sequence)

    def sequence(self, order: int) -> Sequence:
        """Return the sequence that joined as number `order`, if it has not been removed."""
        return next(s for s in (*self._running, *self._preempted) if s.order == order)

    def drop(self, sequence: Sequence) -> None:
        """Remove a sequence, and release its pages."""
        sequence.removed = True
        self._release(sequence)

    def plan(self) -> Plan:
        """Plan a step: the oldest sequences get pages first, all get prefill blocks in turn.

        The row of a sequence whose last token is launched, but not read, has no tokens.
        """
        self._resume()
        plan = Plan(self.chunk)
        for sequence in tuple(self._running):
            if sequence.table is None:  # Preempted for an older sequence in this loop.
                continue
            if sequence.in_prefill:
                self._reuse(sequence, sequence.table)
                self._plan_block(plan, sequence, sequence.table, sequence.cached, preempting=True)
            elif not sequence.is_full(self.max_context) and self._make_room(
                sequence, sequence.table, sequence.cached + 1
            ):
                row = _row(sequence, sequence.table, sequence.cached, 1)
                plan.decode.append((sequence, row))
        turns = deque(plan.prefill)
        while turns:
            sequence, row = turns.popleft()
            assert sequence.table is not None
            start = row.start + BLOCK
            if self._plan_block(plan, sequence, sequence.table, start, preempting=False):
                turns.append(plan.prefill[-1])
        return plan

    def _reuse(self, sequence: Sequence, table: BlockTable) -> None:
        """Share cached blocks of the prompt, but not its last token, whose logits are needed."""
        blocks = table.reuse((len(sequence.prompt) - 1) // BLOCK)
        sequence.cached += blocks * BLOCK
        self.tally.reused_tokens += blocks * BLOCK
        if not sequence.generated:
            sequence.reused = min(sequence.reused + blocks * BLOCK, sequence.cached)

    def _plan_block(
        self, plan: Plan, sequence: Sequence, table: BlockTable, start: int, *, preempting: bool
    ) -> bool:
        """Plan a block of a prompt, unless another sequence prefills the same one in this step."""
        end = min(start + BLOCK, len(sequence.prompt))
        if plan.blocks_left == 0 or start >= end:
            return False
        digest = table.hashes[start // BLOCK] if end - start == BLOCK else None
        if digest in plan.new_blocks:
            return False
        if preempting:
            if not self._make_room(sequence, table, end):
                return False
        elif table.missing(blocks_of(end)) > self._cache.pool.available:
            return False
        table.extend(blocks_of(end))
        plan.blocks_left -= 1
        plan.prefill.append((sequence, _row(sequence, table, start, end - start)))
        if digest is not None:
            plan.new_blocks.add(digest)
        return True

    def _make_room(self, sequence: Sequence, table: BlockTable, length: int) -> bool:
        """Allocate pages for `length` tokens, preempting newer sequences if necessary."""
        blocks = blocks_of(length)
        while table.missing(blocks) > self._cache.pool.available:
            newest = self._running[-1]
            if newest is sequence:
                return False
            self.tally.preemptions += 1
            self._release(newest)
            insort(self._preempted, newest, key=attrgetter("order"))
        table.extend(blocks)
        return True

    def advance(self, rows: list[tuple[Sequence, Row]]) -> list[int]:
        """Record that rows are cached; return those whose sequences gain a token."""
        ready: list[int] = []
        for at, (sequence, row) in enumerate(rows):
            assert sequence.table is not None
            in_prefill = sequence.in_prefill
            sequence.cached += len(row.tokens)
            if in_prefill:
                self.tally.prompt_tokens += len(row.tokens)
                if len(row.tokens) == BLOCK:
                    sequence.table.publish(row.start // BLOCK)
            else:
                self.tally.repeated_tokens += sequence.cached < len(sequence.tokens)
            if sequence.cached >= len(sequence.tokens):
                ready.append(at)
        for sequence, _ in rows:  # Later rows of the same sequence may publish pages first.
            assert sequence.table is not None
            sequence.table.trim(sequence.cached)
        return ready

    def gain(self, sequence: Sequence, token: Token | None) -> Step:
        """Add a drawn token to its sequence."""
        if token is None:  # The cached values may not be finite either, so they are not shared.
            if sequence.table is not None:
                sequence.table.withdraw()
            self.drop(sequence)
            return Step(sequence, None, finished=True)
        sequence.tokens.append(token.id)
        self.tally.generated_tokens += 1
        finished = token.id in sequence.params.stop_token_ids or (
            not sequence.launched and sequence.is_full(self.max_context)
        )
        if finished:
            self.drop(sequence)
        return Step(sequence, token, finished)

    def _expected_pages(self, sequence: Sequence) -> int:
        length = min(
            len(sequence.tokens) + self._headroom,
            len(sequence.prompt) + sequence.params.max_tokens,
            self.max_context,
        )
        return self._cache.layout.pages_for(length)

    def _unreserved_pages(self) -> int:
        """Return the available pages that the running sequences will not need soon."""
        reserved = sum(
            max(self._expected_pages(sequence) - sequence.table.page_count, 0)
            for sequence in self._running
            if sequence.table is not None
        )
        return self._cache.pool.available - reserved

    def _start(self, sequence: Sequence) -> None:
        sequence.table = self._cache.table(sequence.hashes)
        sequence.cached = 0
        insort(self._running, sequence, key=attrgetter("order"))

    def _resume(self) -> None:
        while self._preempted:
            first = self._preempted[0]
            if self._running and self._expected_pages(first) > self._unreserved_pages():
                return
            self._start(self._preempted.pop(0))

    def _release(self, sequence: Sequence) -> None:
        if sequence.table is not None:
            sequence.table.release()
            sequence.table = None
            self._running.remove(sequence)
        elif sequence in self._preempted:
            self._preempted.remove(sequence)


def _row(sequence: Sequence, table: BlockTable, start: int, count: int) -> Row:
    return Row(sequence.tokens[start : start + count], start, table.full, table.sliding)
