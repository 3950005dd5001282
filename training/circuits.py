"""Initial attention weights from which the model learns to copy in minutes.

A model that copies needs heads that carry token codes, a head that attends to the previous token,
and induction heads, which find the previous occurrence of the current token. Gradient descent finds
them slowly. This module sets approximate initial weights, which training can change:

- In every layer, key/value head 0 carries the code of a token's first piece and head 1 the code of
  its last piece. Query heads 0 and 1 write the first piece to both positions of the output, query
  heads 2 and 3 the last piece.
- In layer 0, query head 2 attends to the previous token through rotary phase only, and writes its
  code to the `middle` position of the row.
- In the layers with full attention, query heads 0 and 2 find tokens whose previous token (now in
  `middle`) ends like the current one. They compare in the slow rotary pairs, which hardly rotate
  over a prompt.
"""

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
    """Sets the attention matrices of a new network to the circuits above plus noise."""
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
    """Reads the first numbers of a code into the slow rotary pairs of some heads."""
    half, slow = dim // 2, dim // 2 - _SLOW_PAIRS
    for head in heads:
        for part, start in enumerate((slow, half + slow)):
            rows = torch.arange(_SLOW_PAIRS) + head * dim + start
            matrix[rows, place + part * _SLOW_PAIRS + torch.arange(_SLOW_PAIRS)] += _MATCH
