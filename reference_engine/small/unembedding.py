"""The logits of a checkpoint with token codes, from far fewer products than tokens.

A row of the unembedding is either stored or consists of the code of its first piece, the code of
its last piece, and flags (`codes`). For a stream h, the logit of a coded token is therefore

    (h.first + h.last) · code(piece)                        + h.flags · flags    with one piece,
    h.first · code(first piece) + h.last · code(last piece) + h.flags · flags    with several.

The first term is the same with and without a leading space, and tokens with several pieces have few
different first and last pieces. 92,000 products of 64 numbers for the pieces, 32,000 for the ends
of the other tokens and 8,600 of the whole width for stored rows replace 201,088 of the whole width.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from reference_engine.model.logits import CHUNK
from reference_engine.model.products import TILE, product, product_into
from reference_engine.model.transformer import Unembedding
from reference_engine.small import codes

_REACH = 50.0
"""Chunks whose best token is less probable than the best of all by a factor of e^50 are not summed:
a whole vocabulary of such tokens has less than 2^-54 of the probability."""
_AT_ONCE = 32 * CHUNK
"""Terms that are computed at a time: so many products stay in the CPU cache until the largest of
each chunk is found."""
_ADDED = 3232
"""Chunks of all rows together whose terms, those of tokens with several pieces, are added at a
time, so that the CPU cache keeps them (measured for 64 rows: 6.9 ms, and 8.0 for twice as many).
The number for each row is odd: rows must not lie a power of two apart, because the cache keeps few
such lines."""
_SUMS_AT_ONCE = 512  # chunks that are summed at a time, which the CPU cache keeps, too
_STORED, _BARE, _SPACED, _TWO, _MORE = range(5)
"""The kinds of tokens: stored, one piece, one piece after a space, two pieces, more pieces."""

Ids = npt.NDArray[np.int64]  # tokens or pieces; -1 in unused places


@dataclass(frozen=True)
class _Layout:
    """The chunks of the vocabulary, and the terms of a row, which are in chunks too."""

    terms: Tensor  # (chunks,): where the terms of a chunk are
    uses: Tensor  # (2, chunks of terms): the first and the last chunk with these terms
    kinds: Tensor  # (chunks,): the kind of its tokens
    tokens: Tensor  # (chunks, CHUNK); 0 in unused places
    places: Tensor  # (vocabulary,): the place of each token among all chunks

    @classmethod
    def of(cls, runs: Sequence[tuple[int, int, Ids]]) -> "_Layout":
        """Arrange runs of whole chunks: the kind of the tokens, their first term, the tokens."""
        tokens = np.concatenate([run for _, _, run in runs])
        sizes = [len(run) // CHUNK for _, _, run in runs]
        places = np.zeros(codes.VOCAB_SIZE, dtype=np.int64)
        places[tokens[tokens >= 0]] = np.flatnonzero(tokens >= 0)
        starts = [
            start // CHUNK + np.arange(n) for n, (_, start, _) in zip(sizes, runs, strict=True)
        ]
        terms = np.concatenate(starts)
        uses = np.zeros((2, 1 + terms.max()), dtype=np.int64)
        uses[0, terms[::-1]] = np.arange(len(terms))[::-1]
        uses[1, terms] = np.arange(len(terms))
        return cls(
            torch.from_numpy(terms),
            torch.from_numpy(uses),
            torch.from_numpy(np.repeat([kind for kind, _, _ in runs], sizes)),
            torch.from_numpy(tokens.clip(0).reshape(-1, CHUNK)),
            torch.from_numpy(places),
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
        self._layout = _Layout.of(runs)
        unused = np.flatnonzero(np.concatenate([stored, *single, *several]) < 0)
        self._unused = torch.from_numpy(unused)
        self._partly_used = torch.from_numpy(np.unique(unused // CHUNK))
        self._ends_at = start - sum(map(len, several))

        code = torch.from_numpy(codes.piece_codes(seed))
        self._pieces = code[np.concatenate(single).clip(0)]
        ends = pieces[np.concatenate(several).clip(0)]
        firsts, first_of = np.unique(ends[:, 0], return_inverse=True)
        lasts, last_of = np.unique(ends[:, 2], return_inverse=True)
        self._firsts, self._lasts = code[firsts], code[lasts]
        self._first_of, self._last_of = torch.from_numpy(first_of), torch.from_numpy(last_of)
        signs = torch.full((1 + _MORE, codes.WIDTH - codes.FLAGS_AT), -codes.FLAG_SIZE)
        for kind in range(_SPACED, 1 + _MORE):
            signs[kind, : codes.FLAG_RUNS[kind - _SPACED][1]] = codes.FLAG_SIZE
        signs[_STORED] = 0
        self._flags = signs
        self._memory = _Memory(start, len(firsts), len(lasts))

    def forward(self, x: Tensor) -> Tensor:
        """Map normalized streams (..., H) to logits (..., vocabulary)."""
        return self.logits(x.flatten(0, -2)).of().view(*x.shape[:-1], -1)

    def logits(self, x: Tensor) -> "CodedLogits":
        """Return the logits of normalized streams (rows, H), valid until this thread's next call.

        Each thread has its own memory for them.
        """
        x = x.float()
        first, last = x[:, : codes.CODE], x[:, codes.LAST_AT : codes.LAST_AT + codes.CODE]
        memory, of_firsts, of_lasts = self._memory.of(len(x))
        terms = memory[: len(x)].view(len(x), -1, CHUNK)
        largest = torch.empty(terms.shape[:2])
        ends_at = self._ends_at

        def find_largest(start: int, stop: int) -> None:
            chunks = slice(start // CHUNK, stop // CHUNK)
            torch.amax(terms[:, chunks], -1, out=largest[:, chunks])

        products = (
            (x, self.weight, memory, 0),
            (first + last, self._pieces, memory, ends_at - len(self._pieces)),
            (first, self._firsts, of_firsts, 0),
            (last, self._lasts, of_lasts, 0),
        )
        for inputs, weight, out, start in products:
            for at in range(0, len(weight), _AT_ONCE):
                stop = min(at + _AT_ONCE, len(weight))
                product_into(out[:, start + at : start + stop], inputs, weight[at:stop])
                if out is memory:
                    find_largest(start + at, start + stop)
        size = (_ADDED // len(x) | 1) * CHUNK
        for at in range(0, len(self._first_of), size):
            firsts = of_firsts[: len(x)].index_select(1, self._first_of[at : at + size])
            lasts = of_lasts[: len(x)].index_select(1, self._last_of[at : at + size])
            start, stop = ends_at + at, ends_at + at + firsts.shape[1]
            torch.add(firsts, lasts, out=memory[: len(x), start:stop])
            find_largest(start, stop)
        memory.index_fill_(1, self._unused, -torch.inf)
        largest[:, self._partly_used] = terms[:, self._partly_used].amax(-1)
        flags = product(x[:, codes.FLAGS_AT : codes.WIDTH], self._flags)
        return CodedLogits(self._layout, terms, largest, flags)


class _Memory(threading.local):
    """The largest terms and products of a thread: matrices of some widths, kept between calls."""

    def __init__(self, *widths: int) -> None:
        self._kept = [torch.empty(0, width) for width in widths]

    def of(self, rows: int) -> list[Tensor]:
        """Return the matrices with at least this many rows, a multiple of `TILE`."""
        if len(self._kept[0]) < rows:
            rows += -rows % TILE
            self._kept = [torch.empty(rows, kept.shape[1]) for kept in self._kept]
        return self._kept


@dataclass(frozen=True)
class CodedLogits:
    """The logits of some rows: the logit of a token is its term and its kind's flags.

    `terms` are (rows, chunks of terms, CHUNK), `largest` the largest of each chunk, and `flags`
    (rows, kinds).
    """

    layout: _Layout
    terms: Tensor
    largest: Tensor
    flags: Tensor

    @property
    def device(self) -> torch.device:
        """See `Logits`."""
        return self.terms.device

    def chunk_sums(self, divisors: Tensor) -> tuple[Tensor, Tensor]:
        """See `Logits`."""
        logits = self.largest[:, self.layout.terms] + self.flags[:, self.layout.kinds]
        first, last = self.layout.uses
        best = torch.maximum(logits[:, first], logits[:, last])
        near = best >= logits.amax(-1, keepdim=True) - _REACH * divisors[:, None]
        sums = torch.zeros_like(self.largest)
        for places in torch.split(near.flatten().nonzero()[:, 0], _SUMS_AT_ONCE):
            powers = self.terms.flatten(0, 1).index_select(0, places)
            powers -= self.largest.flatten()[places, None]
            powers /= divisors[places // near.shape[1], None]
            sums.view(-1).index_copy_(0, places, powers.exp_().sum(-1))
        return logits, sums[:, self.layout.terms]

    def chunk(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """See `Logits`."""
        chunks = chosen[:, 0]
        terms = self.terms[torch.arange(len(chunks)), self.layout.terms[chunks]]
        return self.layout.tokens[chunks], terms + self.flags.gather(1, self.layout.kinds[chosen])

    def at(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """See `Logits`."""
        places = self.layout.places[tokens]
        chunks = places // CHUNK
        terms = self.terms[rows, self.layout.terms[chunks], places % CHUNK]
        return terms + self.flags[rows, self.layout.kinds[chunks]]

    def of(self, rows: Sequence[int] | None = None) -> Tensor:
        """See `Logits`."""
        terms, flags = (x if rows is None else x[list(rows)] for x in (self.terms, self.flags))
        logits = terms[:, self.layout.terms] + flags[:, self.layout.kinds, None]
        return logits.flatten(1).index_select(1, self.layout.places)


def _padded(chosen: npt.NDArray[np.bool_]) -> Ids:
    """Return the chosen numbers, and unused places up to a whole number of chunks."""
    found = np.flatnonzero(chosen)
    return np.pad(found, (0, -len(found) % CHUNK), constant_values=-1)
