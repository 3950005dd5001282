"""Executes the plans of a scheduler: passes of the model, and the tokens that they draw.

With a recorded decoder, a step first launches the next token of each sequence and then reads the
tokens that the previous step launched. A sequence that stops has already been launched once more;
that token is ignored. Its pages can be reused immediately, because the device runs the steps in
order.

If the model has several processes, each has a runner, and all make the same decisions (`link`).

On a CPU, `threads` divides the rows of a step, so a forward pass can run in several threads at the
same time, with different sequences. Planning and keeping count stay in the caller's thread.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from reference_engine.generation.forward import Forward, GatheredForward, Row
from reference_engine.generation.graphs import (
    Decoder,
    GraphedForward,
    Launched,
    drawn_in,
    practice_table,
)
from reference_engine.generation.link import Link, digests
from reference_engine.generation.sampling import Draw, Sampler, SamplingParams, Token, sample
from reference_engine.generation.scheduler import HEADROOM, Scheduler
from reference_engine.generation.sequence import Sequence, Step
from reference_engine.generation.threads import PROMPT_TOKENS, PROMPT_WORK, RowThreads
from reference_engine.kv_cache.cache import KVCache
from reference_engine.kv_cache.pages import BLOCK
from reference_engine.model.transformer import Transformer

_Pass = tuple[list[tuple[Sequence, Row]], int]
"""Rows of up to n new tokens, and n."""


@dataclass(frozen=True)
class _Flight:
    """A launched decode step, and the row of each sequence that gains a token."""

    step: Launched
    places: dict[Sequence, int]


class Runner:
    """Runs sequences through a model, as its scheduler plans; see there for the sizes."""

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
        link: Link | None = None,
    ) -> None:
        self.scheduler = Scheduler(
            cache,
            max_batch=max_batch,
            max_context=max_context,
            prefill_chunk=prefill_chunk,
            headroom=headroom,
        )
        self._model = model
        self._cache = cache
        self._sampler = sampler
        self._forward = forward or GatheredForward(model, cache)
        self._link = link or Link()
        self._threads = RowThreads.of(model)
        self._decoder: Decoder | None = None
        if isinstance(forward, GraphedForward) and sampler is sample:
            self._decoder = forward.decoder(max_batch)
        self._flight: _Flight | None = None

    @torch.inference_mode()
    def prepare(self, progress: Callable[[int, int], None], *, largest: int | None = None) -> None:
        """Compile kernels and record decode steps, so that no request has to wait for them.

        Does nothing without a recorded decoder. Must be called before the first sequence is added.

        Args:
            progress: Called with the number of finished steps and the total after each one.
            largest: Number of decode steps to record, of those that need most memory, after the
                largest step with prompts; None for all steps.
        """
        if self._decoder is None:
            return
        chunk = self.scheduler.chunk
        smaller = [1 << n for n in reversed(range(chunk.bit_length()))]
        for count in [chunk, *smaller] if largest is None else [chunk]:
            self._prefill_practice(count)
        wanted = self._decoder.steps(self.scheduler.max_context)[:largest]
        for done, (count, context, top_p) in enumerate(wanted, 1):
            self._decoder.record(count, context, top_p=top_p)
            progress(done, len(wanted))

    @property
    def decode_steps(self) -> int:
        """The number of decode steps that `prepare` records."""
        return 0 if self._decoder is None else len(self._decoder.steps(self.scheduler.max_context))

    def _prefill_practice(self, blocks: int) -> None:
        """Run a step with this many blocks of prompts, and draw as many tokens as possible."""
        table = practice_table(self._cache, blocks)
        rows = [Row(range(BLOCK), BLOCK * block, table, table) for block in range(blocks)]
        stream = self._forward(rows, BLOCK)[: self.scheduler.max_batch]
        draw = Draw(SamplingParams(top_p=0.9), seed=0, step=0)
        self._sampler(self._model.unembedding.logits(stream), [draw] * len(stream))

    def add(self, sequence: Sequence) -> None:
        """Add a sequence to the batch."""
        self._link.joined(sequence)
        self.scheduler.add(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Remove a sequence, finished or not, and release its pages."""
        if not sequence.removed:
            self._link.left(sequence)
            self.scheduler.drop(sequence)

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """Advance the running sequences and remove those that finish.

        With a recorded decoder, the returned tokens are those that the previous step launched.
        """
        with self._link.step():
            return self._step()

    def _step(self) -> list[Step]:
        flight = self._flight
        steps: list[Step] = []
        if flight is not None and not flight.step.overlaps:
            steps, flight = self._read(flight), None
        plan = self.scheduler.plan()
        passes = [(plan.prefill, BLOCK)]
        if self._decoder is None:
            passes.append((plan.decode, 1))
        else:
            self._flight = self._launch(self._decoder, plan.decode)
        steps += self._read(flight)
        return steps + self._run([(rows, length) for rows, length in passes if rows])

    def _launch(self, decoder: Decoder, rows: list[tuple[Sequence, Row]]) -> _Flight | None:
        if not rows:
            return None
        rows = [(sequence, self._with_drawn(sequence, row)) for sequence, row in rows]
        step = decoder.launch([row for _, row in rows], [sequence.draw() for sequence, _ in rows])
        places = {rows[at][0]: at for at in self.scheduler.advance(rows)}
        for sequence in places:
            sequence.launched += 1
        return _Flight(step, places)

    def _read(self, flight: _Flight | None) -> list[Step]:
        """Wait for a launched step; sequences that were removed in the meantime gain no token."""
        if flight is None:
            return []
        tokens = self._link.tokens(flight.step.tokens, flight.step.digests)
        steps = []
        for sequence, place in flight.places.items():
            sequence.launched -= 1
            if not sequence.removed:
                steps.append(self.scheduler.gain(sequence, tokens[place]))
        return steps

    def _with_drawn(self, sequence: Sequence, row: Row) -> Row:
        """Return a row with the token that the previous step draws, if it has not been read."""
        if not sequence.launched:
            return row
        assert self._flight is not None
        return replace(row, tokens=[drawn_in(self._flight.places[sequence])])

    def _run(self, passes: list[_Pass]) -> list[Step]:
        """Run the passes and draw the tokens of the sequences that are ready."""
        ready: list[Sequence] = []
        streams: list[Tensor] = []
        for (rows, _), stream in zip(passes, self._streams(passes), strict=True):
            for at in self.scheduler.advance(rows):
                ready.append(rows[at][0])
                streams.append(stream[at : at + 1])
        if not ready:
            return []
        stream, draws = torch.cat(streams), [sequence.draw() for sequence in ready]
        if self._threads.count == 1:
            read = partial(self._sampler, self._model.unembedding.logits(stream), draws)
        else:
            read = partial(self._drawn, stream, draws)
        tokens = self._link.tokens(read, lambda: digests(stream).tolist())
        return [self.scheduler.gain(*gained) for gained in zip(ready, tokens, strict=True)]

    def _streams(self, passes: list[_Pass]) -> list[Tensor]:
        """Return the streams of each pass; one thread computes all rows of a sequence."""
        places: dict[Sequence, list[tuple[int, int]]] = {}
        amounts: dict[Sequence, int] = {}
        for number, (rows, length) in enumerate(passes):
            for at, (sequence, row) in enumerate(rows):
                places.setdefault(sequence, []).append((number, at))
                least = 1 if length == 1 else amounts.get(sequence, PROMPT_WORK)
                amounts[sequence] = least + len(row.tokens) // PROMPT_TOKENS
        sequences, work = list(places), list(amounts.values())

        def forward(share: list[int]) -> list[tuple[list[int], Tensor | None]]:
            mine = {place for each in share for place in places[sequences[each]]}
            made: list[tuple[list[int], Tensor | None]] = []
            for number, (rows, length) in enumerate(passes):
                chosen = [at for at in range(len(rows)) if (number, at) in mine]
                run = [rows[at][1] for at in chosen]
                made.append((chosen, self._forward(run, length) if run else None))
            return made

        made = [streams for _, streams in self._threads.divided("forward", work, forward)]
        return [_joined(parts) for parts in zip(*made, strict=True)]

    def _drawn(self, stream: Tensor, draws: list[Draw]) -> list[Token | None]:
        """Compute the logits and draw the tokens, a part of the rows in each thread."""

        def draw(share: list[int]) -> list[Token | None]:
            logits = self._model.unembedding.logits(stream[share])
            return self._sampler(logits, [draws[at] for at in share])

        made = self._threads.divided("draw", [1] * len(draws), draw)
        tokens = {
            at: token for share, drawn in made for at, token in zip(share, drawn, strict=True)
        }
        return [tokens[at] for at in range(len(draws))]

    def close(self) -> None:
        """End the runner's threads."""
        self._threads.close()


def _joined(parts: Iterable[tuple[list[int], Tensor | None]]) -> Tensor:
    """Return the streams of a pass from parts, each with the numbers of its rows."""
    made = [(rows, stream) for rows, stream in parts if stream is not None]
    if len(made) == 1:
        return made[0][1]
    whole = made[0][1].new_empty(sum(len(rows) for rows, _ in made), made[0][1].shape[1])
    for rows, stream in made:
        whole[rows] = stream
    return whole
