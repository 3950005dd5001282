"""The logits of a checkpoint with token codes, from few additions and hardly any products.

A row of the unembedding is either stored or consists of the code of its first piece, the code of
its last piece, and flags (`codes`). For a stream h, the logit of a coded token is therefore

    (h.first + h.last) · code(piece)                        + h.flags · flags    with one piece,
    h.first · code(first piece) + h.last · code(last piece) + h.flags · flags    with several.

The first term is the same with and without a leading space, and tokens with several pieces have few
different first and last pieces. The numbers of a code are ±1. For each of its bytes, there are only
256 different sums of 8 numbers of the stream, which are computed once: a term is the sum of 8 of
them, instead of 64 products. Terms of tokens with several pieces are the sums of two.

All terms are thus sums of rows of a table, which has a column for each stream. Each column is
summed alone, so that its coded tokens have the same bits in every batch, on every processor.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_engine.model.logits import CHUNK
from reference_engine.model.products import product
from reference_engine.model.transformer import Unembedding
from reference_engine.small import codes

_BYTES = codes.CODE // 8
_SUMS = _BYTES << 8
"""Sums of the numbers of a stream: one for each byte of a code and each of its values."""
_AT_ONCE = {8: 256, torch.iinfo(torch.int64).max: 32}
"""Chunks of terms that are computed at a time, by the most streams; the CPU cache keeps them."""
_REACH = 43.0
"""A chunk whose best token is less probable than the best by a factor of e^43 is not summed: its
128 tokens have less than 2^-54 of the probability."""
_COPIED = 3  # times the sums that are needed: if these are less than all, their terms are copied
_WIDE = 32  # columns from which PyTorch finds the largest number of each quickly
_ROWS_AT_ONCE = 8  # of all logits
_STORED, _BARE, _SPACED, _TWO, _MORE = range(5)
"""The kinds of tokens: stored, one piece, one piece after a space, two pieces, more pieces."""

Ids = npt.NDArray[np.int64]  # tokens or pieces; -1 in unused places


@dataclass(frozen=True)
class _Block:
    """Some chunks of terms that are computed together."""

    rows: Tensor  # the rows of the table whose sums are the terms, without those of zeros
    bounds: Tensor  # (1 + terms,): where those of each term begin, and the end
    kinds: Tensor  # (chunks, 2): the kinds of tokens with these terms

    @classmethod
    def of(cls, rows: Tensor, kinds: Tensor, zeros: int) -> "_Block":
        """Return the block of terms with these rows, (terms, 8), without the row of zeros."""
        summed = rows != zeros
        return cls(rows[summed], F.pad(summed.sum(1).cumsum(0), (1, 0)).int(), kinds)


@dataclass(frozen=True)
class _Layout:
    """The chunks of the vocabulary, and the terms of a row, which are in chunks too."""

    terms: Tensor  # (chunks,): where the terms of a chunk are
    kinds: Tensor  # (chunks,): the kind of its tokens
    tokens: Tensor  # (chunks, CHUNK); 0 in unused places
    term_of: Tensor  # (vocabulary,): the number of the term of each token
    kind_of: Tensor  # (vocabulary,): the kind of each token
    rows: Tensor  # (terms, 8): the rows of the table whose sum is a term, and rows of zeros
    blocks: dict[int, list["_Block"]]  # the terms in blocks of so many chunks

    @classmethod
    def of(cls, runs: Sequence[tuple[int, int, Ids]], rows: Tensor, zeros: int) -> "_Layout":
        """Arrange runs of whole chunks: the kind of the tokens, their first term, the tokens.

        `rows` are those of each term, `zeros` the number of the row of zeros.
        """
        tokens = np.concatenate([run for _, _, run in runs])
        term = np.concatenate([start + np.arange(len(run)) for _, start, run in runs])
        kind = np.repeat([kind for kind, _, _ in runs], [len(run) for _, _, run in runs])
        used = tokens >= 0
        term_of, kind_of = (np.zeros(codes.VOCAB_SIZE, dtype=np.int64) for _ in range(2))
        term_of[tokens[used]], kind_of[tokens[used]] = term[used], kind[used]
        uses = np.zeros((len(rows) // CHUNK, 2), dtype=np.int64)
        for order, column in ((slice(None, None, -1), 0), (slice(None), 1)):
            uses[term[::CHUNK][order] // CHUNK, column] = kind[::CHUNK][order]
        blocks = {
            size: [
                _Block.of(*part, zeros)
                for part in zip(
                    torch.split(rows, size * CHUNK),
                    torch.split(torch.from_numpy(uses), size),
                    strict=True,
                )
            ]
            for size in _AT_ONCE.values()
        }
        return cls(
            torch.from_numpy(term[::CHUNK] // CHUNK),
            torch.from_numpy(kind[::CHUNK]),
            torch.from_numpy(tokens.clip(0).reshape(-1, CHUNK)),
            torch.from_numpy(term_of),
            torch.from_numpy(kind_of),
            rows,
            blocks,
        )


class CodedUnembedding(Unembedding):
    """The unembedding of a checkpoint with token codes, on a CPU; computed from the codes.

    Args:
        seed: The seed of the codes.
        ids: The stored tokens, (n,).
        rows: Their rows, (n, H); kept in float32, so that no step converts them.
    """

    def __init__(self, seed: int, ids: Tensor, rows: Tensor) -> None:
        nn.Module.__init__(self)  # Of the complete weight, only the stored rows exist.
        self.bias = None
        self.weight = nn.Parameter(rows[ids.argsort()].float(), requires_grad=False)
        pieces, flags = codes.bare_pieces()
        kinds = _BARE + flags.sum(1)
        kinds[ids.numpy()] = _STORED
        of_piece = np.full((2, codes.VOCAB_SIZE), -1)  # the tokens without and with a space
        for tokens, kind in zip(of_piece, (_BARE, _SPACED), strict=True):
            tokens[pieces[kinds == kind, 0]] = np.flatnonzero(kinds == kind)
        bare, spaced = of_piece >= 0
        stored = _padded(kinds == _STORED)
        single = [_padded(chosen) for chosen in (bare & spaced, bare & ~spaced, spaced & ~bare)]
        several = [_padded(kinds == kind) for kind in (_TWO, _MORE)]

        runs, start = [(_STORED, 0, stored)], len(stored)
        for run, of_run in zip(single, ((_BARE, _SPACED), (_BARE,), (_SPACED,)), strict=True):
            runs += [
                (kind, start, np.where(run < 0, -1, of_piece[kind - 1][run])) for kind in of_run
            ]
            start += len(run)
        for run, kind in zip(several, (_TWO, _MORE), strict=True):
            runs.append((kind, start, run))
            start += len(run)
        values = np.packbits(codes.piece_codes(seed) > 0, axis=1, bitorder="little").astype(
            np.int32
        )
        values += 256 * np.arange(_BYTES, dtype=np.int32)  # the rows of the sums of each piece
        ends = pieces[np.concatenate(several).clip(0)]
        firsts, first_of = np.unique(ends[:, 0], return_inverse=True)
        lasts, last_of = np.unique(ends[:, 2], return_inverse=True)
        self._firsts, self._lasts = (torch.from_numpy(values[which]) for which in (firsts, lasts))
        first_at = _SUMS + len(ids)
        last_at = first_at + len(firsts)
        self._constants_at = last_at + len(lasts)
        one, two = len(stored), start - sum(map(len, several))
        used = np.concatenate([stored, *single, *several])
        rows_of = np.full((start, _BYTES), self._constants_at, dtype=np.int32)  # of zeros
        rows_of[: len(ids), 0] = np.arange(_SUMS, first_at)
        rows_of[one:two] = values[used[one:two].clip(0)]
        rows_of[two:, 0], rows_of[two:, 1] = first_at + first_of, last_at + last_of
        rows_of[used < 0] = self._constants_at
        rows_of[used < 0, 0] += 1
        signs = torch.full((1 + _MORE, codes.WIDTH - codes.FLAGS_AT), -codes.FLAG_SIZE)
        for kind in range(_SPACED, 1 + _MORE):
            signs[kind, : codes.FLAG_RUNS[kind - _SPACED][1]] = codes.FLAG_SIZE
        signs[_STORED] = 0
        self._flags = signs
        self._layout = _Layout.of(runs, torch.from_numpy(rows_of), self._constants_at)
        self._memory = threading.local()

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized streams (..., H) to logits (..., vocabulary)."""
        return self.logits(x.flatten(0, -2)).of().view(*x.shape[:-1], -1)

    def logits(self, x: Tensor) -> "CodedLogits":
        """Return the logits of normalized streams (rows, H), valid until this thread's next call.

        Each thread has its own memory for them.
        """
        x = x.float()
        first, last = (x[:, at : at + codes.CODE].mT for at in (codes.FIRST_AT, codes.LAST_AT))
        table = self._table(len(x))
        first_at = _SUMS + len(self.weight)
        last_at = first_at + len(self._firsts)
        table[:_SUMS] = _byte_sums(first + last)
        table[_SUMS:first_at] = product(x, self.weight).mT
        table[first_at:last_at] = F.embedding_bag(self._firsts, _byte_sums(first), mode="sum")
        table[last_at : self._constants_at] = F.embedding_bag(
            self._lasts, _byte_sums(last), mode="sum"
        )
        table[self._constants_at] = 0
        table[self._constants_at + 1] = -torch.inf
        flags = product(x[:, codes.FLAGS_AT : codes.WIDTH], self._flags)
        return CodedLogits(self._layout, table, flags.mT.contiguous())

    def _table(self, columns: int) -> Tensor:
        """Return this thread's memory for the rows of which terms are sums, (rows, columns)."""
        size = (self._constants_at + 2) * columns
        kept: Tensor | None = getattr(self._memory, "kept", None)
        if kept is None or len(kept) < size:
            kept = self._memory.kept = torch.empty(size)
        return kept[:size].view(-1, columns)


def _byte_sums(x: Tensor) -> Tensor:
    """Return the sums of the numbers of each byte, (bytes * 256, columns), for each of its values.

    `x` is (CODE, columns). Where a bit is set, its number is added, and otherwise subtracted.
    """
    bits = x.reshape(_BYTES, 8, 1, -1).unbind(1)
    sums = torch.cat((-bits[0], bits[0]), dim=1)
    for bit in bits[1:]:
        sums = torch.cat((sums - bit, sums + bit), dim=1)
    return sums.flatten(0, 1)


@dataclass(frozen=True)
class CodedLogits:
    """The logits of some rows: the logit of a token is its term and its kind's flags.

    A term is the sum of some rows of `table`, (n, rows). `flags` are (kinds, rows).
    """

    layout: _Layout
    table: Tensor
    flags: Tensor

    @property
    def device(self) -> torch.device:
        """See `Logits`."""
        return self.table.device

    def chunk_sums(self, divisors: Tensor) -> tuple[Tensor, Tensor]:
        """See `Logits`."""
        best = torch.full_like(divisors, -torch.inf)
        divides = bool((divisors != 1).any())
        parts = []
        for block, terms in self._blocks(self.table):
            chunks = terms.view(-1, CHUNK, terms.shape[1])
            largest = _largest(chunks)
            logits = largest + self.flags[block.kinds].amax(1)
            best = torch.maximum(best, logits.amax(0))
            near = logits >= best - _REACH * divisors
            chunk, row = near.nonzero(as_tuple=True)
            if len(chunk) * _COPIED < near.numel():
                some = chunks[chunk, :, row].sub_(largest[chunk, row, None])
                powers = some.div_(divisors[row, None]).exp_()
                sums = torch.zeros_like(largest).index_put_((chunk, row), _folded(powers))
            else:
                chunks -= largest[:, None]
                if divides:
                    chunks /= divisors
                sums = _folded(chunks.exp_())
            parts.append((largest, sums))
        largest, sums = (torch.cat(part)[self.layout.terms] for part in zip(*parts, strict=True))
        largest += self.flags[self.layout.kinds]
        sums.masked_fill_(largest < best - _REACH * divisors, 0)
        return largest.mT.contiguous(), sums.mT.contiguous()

    def chunk(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """See `Logits`."""
        chunks, rows = chosen[:, 0], torch.arange(len(chosen))
        terms = self._terms(self.layout.rows.view(-1, CHUNK, _BYTES)[self.layout.terms[chunks]])
        logits = terms[rows, :, rows] + self.flags[self.layout.kinds[chunks], rows, None]
        return self.layout.tokens[chunks], logits

    def at(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """See `Logits`."""
        terms = self._terms(self.layout.rows[self.layout.term_of[tokens]][:, None])[:, 0]
        return terms.gather(1, rows[:, None])[:, 0] + self.flags[self.layout.kind_of[tokens], rows]

    def of(self, rows: Sequence[int] | None = None) -> Tensor:
        """See `Logits`."""
        table, flags = (x if rows is None else x[:, list(rows)] for x in (self.table, self.flags))
        logits = torch.empty(table.shape[1], codes.VOCAB_SIZE)
        for columns in torch.split(torch.arange(table.shape[1]), _ROWS_AT_ONCE):
            terms = torch.cat([terms for _, terms in self._blocks(table[:, columns])])
            some = terms.index_select(0, self.layout.term_of)
            logits[columns] = some.add_(flags[:, columns][self.layout.kind_of]).mT
        return logits

    def _blocks(self, table: Tensor) -> Iterator[tuple[_Block, Tensor]]:
        """Yield some chunks at a time with their terms, (terms, columns)."""
        size = next(size for most, size in _AT_ONCE.items() if table.shape[1] <= most)
        for block in self.layout.blocks[size]:
            rows, bounds = block.rows, block.bounds
            yield block, F.embedding_bag(rows, table, bounds, mode="sum", include_last_offset=True)

    def _terms(self, rows: Tensor) -> Tensor:
        """Return the terms that are sums of these rows: (n, m, 8) to (n, m, streams)."""
        terms = F.embedding_bag(rows.flatten(0, 1), self.table, mode="sum")
        return terms.view(*rows.shape[:2], -1)


def _largest(chunks: Tensor) -> Tensor:
    """Return the largest of each chunk, (chunks, CHUNK, columns) to (chunks, columns)."""
    if chunks.shape[2] >= _WIDE:
        return chunks.amax(1)
    return _folded(chunks, torch.maximum)


def _folded(x: Tensor, operation: Callable[[Tensor, Tensor], Tensor] = torch.add) -> Tensor:
    """Reduce the dimension 1, halving it each time: in the same order for all shapes."""
    while x.shape[1] > 1:
        x = operation(*x.chunk(2, dim=1))
    return x[:, 0]


def _padded(chosen: npt.NDArray[np.bool_]) -> Ids:
    """Return the chosen numbers, and unused places up to a whole number of chunks."""
    found = np.flatnonzero(chosen)
    return np.pad(found, (0, -len(found) % CHUNK), constant_values=-1)
