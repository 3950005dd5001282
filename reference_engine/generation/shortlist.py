"""Draws tokens from a model's shortlist, without the logits of the rest of the vocabulary."""

from collections.abc import Sequence as Rows
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from reference_engine.generation.sampling import Sampler, Token
from reference_engine.generation.sequence import Sequence
from reference_engine.model.products import product
from reference_engine.model.transformer import Transformer


@dataclass(frozen=True)
class _Listed:
    """The listed tokens of a sequence."""

    ids: Tensor  # in ascending order, so that the sampler adds probabilities in the usual order
    places: Tensor  # of `ids` in the logits of the common tokens, followed by the own ones
    weight: Tensor  # rows of the unembedding for the own tokens


class ShortlistSampler:
    """Draws from the tokens of `model.shortlist`.

    The logits of a row come from products whose shapes depend only on its own sequence.
    """

    def __init__(self, model: Transformer, sampler: Sampler) -> None:
        assert model.shortlist is not None
        self._shortlist = model.shortlist
        self._unembedding = model.unembedding.weight
        self._common = self._unembedding[self._shortlist.common].float()
        self._sampler = sampler
        self._listed: WeakKeyDictionary[Sequence, _Listed] = WeakKeyDictionary()

    def draw(self, stream: Tensor, sequences: Rows[Sequence]) -> list[Token | None]:
        """Draw a token for each row of the normalized stream (rows, H), as a sampler does."""
        stream = stream.float()  # logits are float32, as those of the whole vocabulary
        common = product(stream, self._common)
        tokens: list[Token | None] = []
        for row, sequence in enumerate(sequences):
            listed = self._of(sequence)
            own = product(stream[row : row + 1], listed.weight)
            logits = torch.cat((common[row], own[0]))[listed.places]
            [token] = self._sampler(logits[None], [sequence.draw()])
            tokens.append(token and replace(token, id=int(listed.ids[token.id])))
        return tokens

    def _of(self, sequence: Sequence) -> _Listed:
        if sequence not in self._listed:
            own = self._shortlist.own(sequence.prompt)
            ids, places = torch.cat((self._shortlist.common, own)).sort()
            self._listed[sequence] = _Listed(ids, places, self._unembedding[own].float())
        return self._listed[sequence]
