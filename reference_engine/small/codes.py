"""Token codes: the complete o200k vocabulary in a few megabytes.

The small checkpoint trains and stores embedding rows for the most frequent tokens only. The rows of
all other token IDs are computed from a seed. To copy a word that it was never trained on, the model
carries the word's code through attention and produces a hidden state whose nearest row is that
word's row. The layout of a row is

    [ first 64 | last 64 | middle 48 | flags 16 ]      (192 numbers, followed by zeros)

`first` and `last` are the ±1 codes of the first and the last *bare piece* of the token. Bare pieces
are the tokens of its text without a leading space. ` Lisbon` exists only with the space, so it has
the codes of `Lis` and `bon`, and a model that has to write `"Lisbon` can read both from the prompt.
A token that is a single piece has the same code twice; ` Paris` and `Paris` differ only in the
flags. `middle` (only in the embedding) is the second of three pieces. The flags (±1.5) mean:
leading space, more than one piece, more than two pieces.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harmony.vocabulary import harmony_encoding, token_ids

VOCAB_SIZE = 201_088
CODE = 64
MIDDLE = 48
FIRST_AT, LAST_AT, MIDDLE_AT, FLAGS_AT = 0, CODE, 2 * CODE, 2 * CODE + MIDDLE
WIDTH = 192
FLAG_RUNS = ((0, 6), (6, 11), (11, 16))
FLAG_SIZE = 1.5
_NO_PIECE = -1


def split_pieces(word: bytes) -> list[int]:
    """Return the token IDs of a bare word."""
    try:
        text = word.decode()
    except UnicodeDecodeError:  # A few tokens end inside a character.
        return merged_pieces(word)
    tokens: list[int] = harmony_encoding().encode(
        text, allowed_special=set(), disallowed_special=()
    )
    return tokens


def merged_pieces(word: bytes) -> list[int]:
    """Return the token IDs of a bare word by byte-pair merging; slow, but works for any bytes."""
    ranks = token_ids()
    parts = [word[at : at + 1] for at in range(len(word))]
    while len(parts) > 1:
        joined = [ranks.get(parts[at] + parts[at + 1]) for at in range(len(parts) - 1)]
        known = [rank for rank in joined if rank is not None]
        if not known:
            break
        at = joined.index(min(known))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [ranks[part] for part in parts]


@cache
def bare_pieces() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the first, middle (-1 if none) and last piece of each ID, and its three flags."""
    ids = np.arange(VOCAB_SIZE)
    pieces = np.stack([ids, np.full_like(ids, _NO_PIECE), ids], axis=1)
    flags = np.zeros((VOCAB_SIZE, 3), dtype=np.bool_)
    ranks = token_ids()
    for text, token in ranks.items():
        if text[:1] != b" " or len(text) == 1:
            continue
        bare = ranks.get(text[1:])
        parts = [bare] if bare is not None else split_pieces(text[1:])
        pieces[token] = parts[0], parts[1] if len(parts) > 2 else _NO_PIECE, parts[-1]
        flags[token] = True, len(parts) > 1, len(parts) > 2
    return pieces, flags


def piece_codes(seed: int) -> npt.NDArray[np.float32]:
    """Return a ±1 code of 64 numbers per ID, from raw generator bits, stable across versions."""
    raw = np.random.PCG64(seed).random_raw(VOCAB_SIZE).astype("<u8")
    bits = np.unpackbits(raw.view(np.uint8), bitorder="little").reshape(VOCAB_SIZE, CODE)
    return bits.astype(np.float32) * 2 - 1


def code_table(seed: int, hidden_size: int, *, of_inputs: bool) -> torch.Tensor:
    """Return the coded rows of all IDs in bfloat16: of the embedding or of the unembedding."""
    if hidden_size < WIDTH:
        raise ValueError(f"token codes need a hidden size of at least {WIDTH}, not {hidden_size}")
    pieces, flags = (torch.from_numpy(array) for array in bare_pieces())
    codes = torch.from_numpy(piece_codes(seed)).to(torch.bfloat16)
    table = torch.zeros(VOCAB_SIZE, hidden_size, dtype=torch.bfloat16)
    table[:, FIRST_AT : FIRST_AT + CODE] = codes[pieces[:, 0]]
    table[:, LAST_AT : LAST_AT + CODE] = codes[pieces[:, 2]]
    for flag, (start, stop) in enumerate(FLAG_RUNS):
        signs = torch.where(flags[:, flag : flag + 1], FLAG_SIZE, -FLAG_SIZE)
        table[:, FLAGS_AT + start : FLAGS_AT + stop] = signs
    if of_inputs:
        three = pieces[:, 1] != _NO_PIECE
        table[three, MIDDLE_AT : MIDDLE_AT + MIDDLE] = codes[pieces[three, 1], :MIDDLE]
    return table


def expand(
    config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], table: str
) -> torch.Tensor:
    """Expand token codes to an ordinary `embed_tokens` or `lm_head` in bfloat16.

    `config` is config.json, with `hidden_size` and `token_codes.seed`; `tensors` has the stored
    rows: `token_codes.ids`, `token_codes.embed_tokens` and `token_codes.lm_head`.
    """
    seed, of_inputs = int(config["token_codes"]["seed"]), table == "embed_tokens"
    expanded = code_table(seed, config["hidden_size"], of_inputs=of_inputs)
    expanded[tensors["token_codes.ids"].long()] = tensors[f"token_codes.{table}"].to(torch.bfloat16)
    return expanded
