"""A start from which copying is learned in minutes: attention that already points somewhere.

A model that copies needs heads that carry token codes, a head that notes the previous token, and
heads that look for where the current token stood before (induction). Gradient descent finds them,
slowly. Here they are put in roughly, as an initial value that training is free to change:

- in every layer, key/value head 0 carries the code of a token's first piece and head 1 that of
  its last; of the query heads, 0 and 1 hand the first piece on to both places of the output,
  2 and 3 the last one;
- in layer 0, query head 2 looks one token back, by rotary phase alone, and writes what it sees
  into the `middle` place of the row;
- in the layers that see everything, query heads 0 and 2 look for tokens whose previous token
  (now in `middle`) ends like the current one. They compare in the slow rotary pairs, which hardly
  turn over a prompt.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reference_engine.small.codes import CODE, FIRST_AT, LAST_AT, MIDDLE, MIDDLE_AT
from training.net import Net

_NOISE = 0.3
_CARRY = 0.5
_WRITE = 0.25
_MATCH = 1.0
_LOOK_BACK = 5.0
_FAST_PAIRS = 8
_SLOW_PAIRS = 16
_PLACES = (FIRST_AT, LAST_AT)


@torch.no_grad()
def plant(net: Net) -> None:
    """Overwrite the attention matrices of a new network with the circuits above plus noise."""
    dim = net.shape.head_dim
    for matrix in (net.q_proj, net.k_proj, net.v_proj, net.o_proj):
        matrix.mul_(_NOISE)
    eye = torch.eye(CODE)
    for layer in range(net.shape.num_hidden_layers):
        for head, place in enumerate(_PLACES):
            net.v_proj[layer, head * dim : (head + 1) * dim, place : place + CODE] += _CARRY * eye
        for head in range(4):
            place = _PLACES[head % 2]
            net.o_proj[layer, place : place + CODE, head * dim : (head + 1) * dim] += _WRITE * eye
        if layer % 2:
            _match(net.q_proj[layer], LAST_AT, dim, heads=(0, 2))
            _match(net.k_proj[layer], MIDDLE_AT, dim, heads=(0, 1))
    head = 2
    columns = slice(head * dim, (head + 1) * dim)
    net.o_proj[0, :, columns] = 0
    net.o_proj[0, MIDDLE_AT : MIDDLE_AT + MIDDLE, columns] = 2 * torch.eye(CODE)[:MIDDLE]
    angles = net.frequencies[:_FAST_PAIRS]
    half = dim // 2
    net.q_bias[0, head * dim : head * dim + _FAST_PAIRS] = _LOOK_BACK * angles.cos()
    net.q_bias[0, head * dim + half : head * dim + half + _FAST_PAIRS] = -_LOOK_BACK * angles.sin()
    net.k_bias[0, dim : dim + _FAST_PAIRS] = _LOOK_BACK


def _match(matrix: Tensor, place: int, dim: int, heads: tuple[int, ...]) -> None:
    """Read the first numbers of a code into the slow rotary pairs of some heads."""
    half, slow = dim // 2, dim // 2 - _SLOW_PAIRS
    for head in heads:
        for part, start in enumerate((slow, half + slow)):
            rows = torch.arange(_SLOW_PAIRS) + head * dim + start
            matrix[rows, place + part * _SLOW_PAIRS + torch.arange(_SLOW_PAIRS)] += _MATCH
