"""Token rows and the sampled softmax over the vocabulary of 201,088."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_engine.small import codes
from training.fused import fused
from training.precision import COMPUTE

BESIDE_TRAINED = 2048
"""Number of sampled negative IDs in addition to those with trained rows."""
_CHUNK = 128


@cache
def look_alikes() -> npt.NDArray[np.int64]:
    """Returns the first and last bare piece of each ID, bare and with a leading space, (ids, 4).

    Their rows are the nearest to the ID's own row. The bare token replaces missing tokens.
    """
    pieces, flags = codes.bare_pieces()
    spaced = np.arange(codes.VOCAB_SIZE)
    twins = np.flatnonzero(flags[:, 0] & ~flags[:, 1])
    spaced[pieces[twins, 0]] = twins
    ends = pieces[:, [0, 2]]
    return np.concatenate((ends, spaced[ends]), axis=1)


class Rows(nn.Module):
    """The code tables and the trained deltas of the frequent tokens' rows."""

    def __init__(self, seed: int, hidden_size: int, ids: Sequence[int]) -> None:
        super().__init__()
        self.width = hidden_size
        self.embedding, self.unembedding = codes.code_tables(seed, hidden_size)
        self.ids = torch.tensor(sorted(ids), dtype=torch.long)
        self.row_of = torch.full((codes.VOCAB_SIZE,), len(ids), dtype=torch.long)
        self.row_of[self.ids] = torch.arange(len(ids))
        self.look_alikes = torch.from_numpy(look_alikes())
        self.embed_delta = nn.Parameter(torch.zeros(len(ids) + 1, hidden_size))
        self.unembed_delta = nn.Parameter(torch.zeros(len(ids), hidden_size))

    def embed(self, ids: Tensor) -> Tensor:
        """Returns float32 embeddings; all untrained IDs use the extra last delta row."""
        rows = self.row_of[ids]
        delta: Tensor = _RowsOf.apply(self.embed_delta, rows)  # type: ignore[no-untyped-call]
        return self.embedding[ids].float() + delta

    def candidates(self, targets: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the candidate rows, the correction of their logits, and the targets' positions.

        Trained ids, the ids of the batch and those that look like a target are always candidates (a
        random sample would contain `station` together with ` station` only once in a hundred
        times). The others are a uniform sample. Each of these represents several ids; the log of
        this number is added to its logit.
        """
        near = torch.unique(torch.cat((targets, seen, self.look_alikes[targets].flatten())))
        near = near[self.row_of[near] == len(self.ids)]
        drawn = torch.unique(torch.randint(codes.VOCAB_SIZE, (2 * BESIDE_TRAINED,)))
        drawn = drawn[torch.randperm(len(drawn))]
        place = torch.full((codes.VOCAB_SIZE,), -1, dtype=torch.long)
        always = torch.cat((self.ids, near))
        place[always] = torch.arange(len(always))
        drawn = drawn[place[drawn] < 0][: max(0, BESIDE_TRAINED - len(near))]
        rest = codes.VOCAB_SIZE - len(always)
        correction = torch.zeros(len(always) + len(drawn))
        correction[len(always) :] = torch.log(torch.tensor(rest / max(len(drawn), 1)))
        fixed = self.unembedding[torch.cat((always, drawn))].float()
        trained = fixed[: len(self.ids)] + self.unembed_delta
        return torch.cat((trained, fixed[len(self.ids) :])), correction, place[targets]

    def loss(self, states: Tensor, targets: Tensor, seen: Tensor) -> Tensor:
        """Returns the cross entropy of each target over the sampled candidates.

        Args:
            states: final states; rows after the last target are filler.
            targets: the ids to predict, (targets,).
            seen: ids in the batch.

        Returns:
            One loss per target, (targets,).
        """
        rows, correction, places = self.candidates(targets, seen)
        places = F.pad(places, (0, len(states) - len(targets)))
        out: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
            states, rows, correction, places
        )
        return out[: len(targets)]

    @torch.no_grad()
    def argmax(self, states: Tensor) -> Tensor:
        """Returns the most probable ID of each state over the whole vocabulary."""
        table = self.unembedding.clone()
        table[self.ids] = (table[self.ids].float() + self.unembed_delta).to(table.dtype)
        chunks = torch.split(states.to(torch.bfloat16), _CHUNK)
        return torch.cat([(chunk @ table.T).argmax(-1) for chunk in chunks])


class _RowsOf(torch.autograd.Function):
    """Looks up rows; one sparse product sums the gradients of equal rows."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(rows)
        ctx.count = table.shape[0]
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (rows,) = ctx.saved_tensors
        out = grad.new_zeros(ctx.count, grad.shape[1]).index_add_(0, rows, grad)
        out[-1] = 0
        return out, None


@fused
def _log_softmax(logits: Tensor, correction: Tensor) -> tuple[Tensor, Tensor]:
    shifted = logits + correction
    top = shifted.amax(-1, keepdim=True)
    total = torch.exp(shifted - top).sum(-1, keepdim=True)
    return top + torch.log(total), (torch.exp(shifted - top) / total).to(COMPUTE)


class _CrossEntropy(torch.autograd.Function):
    """Computes logits in float32 and their gradient in the format of other products.

    The target's own gradient, p - 1, is computed from the loss: as a difference of bfloat16
    numbers, it would vanish long before the model is certain.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        states: Tensor,
        rows: Tensor,
        correction: Tensor,
        places: Tensor,
    ) -> Tensor:
        logits = states.float() @ rows.T
        total, weights = _log_softmax(logits, correction)
        losses = total[:, 0] - logits.gather(1, places[:, None])[:, 0]
        ctx.save_for_backward(states, rows, weights, places, losses)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # noqa: ANN401
        states, rows, weights, places, losses = ctx.saved_tensors
        weights[torch.arange(len(places)), places] = torch.expm1(-losses).to(COMPUTE)
        weights *= grad[:, None].to(COMPUTE)
        return weights @ rows.to(COMPUTE), (weights.T @ states).float(), None, None
