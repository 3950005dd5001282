"""Converts between the two layouts: renames and splits tensors without changing a bit."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from reference_engine.checkpoint.export import write_tokenizer
from reference_engine.checkpoint.layouts import (
    Layout,
    Source,
    TensorPiece,
    config_file,
    pair_names,
    pair_shapes,
    pieces,
    portions,
    sources,
)
from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.checkpoint.writer import (
    SHARD_BYTES,
    Target,
    complete_folder,
    progress,
    write_json,
    write_weights,
)
from reference_engine.errors import SetupError
from reference_engine.model.config import VOCABULARY, ModelConfig


class Origin(Protocol):
    """Tensors in one layout, readable a few rows at a time."""

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        ...

    @property
    def layout(self) -> Layout:
        """The layout of the tensors."""
        ...

    def dtype(self, name: str) -> torch.dtype | None:
        """Return the dtype of a tensor, or None if it does not exist."""
        ...

    def rows(self, name: str, rows: range) -> AbstractContextManager[Tensor]:
        """Provide a range of rows, valid inside the `with` block."""
        ...


def plan(origin: Origin, layout: Layout) -> list[Target]:
    """Plan the tensors in `layout`. Raises SetupError if joined tensors have different dtypes."""
    wanted = sources(origin.config, layout)
    targets: list[Target] = []
    for parameter, source in sources(origin.config, origin.layout).items():
        pair = _pair(origin, source, wanted[parameter], layout)
        targets += pair or _plain(origin, source, wanted[parameter])
    return targets


def contents(origin: Origin, target: Target) -> Iterator[Tensor]:
    """Yield the rows of a target in order, in portions that are valid until the next one."""
    for piece in target.pieces:
        for portion in portions(piece.rows, target.nbytes // target.shape[0]):
            with origin.rows(piece.tensor, portion) as rows:
                yield rows.mT if target.swapped else rows


def _pair(origin: Origin, source: Source, wanted: Source, layout: Layout) -> list[Target]:
    """Return blocks and scales, which both layouts store identically, if `origin` has them."""
    if source.packed is None or wanted.packed is None:
        return []
    stored = pair_names(source.packed[0], origin.layout)
    if origin.dtype(stored[0]) is None:
        return []
    names, shapes = pair_names(wanted.packed[0], layout), pair_shapes(source.packed[1])
    return [
        Target(name, torch.uint8, shape, (TensorPiece(old, range(shape[0])),))
        for old, name, shape in zip(stored, names, shapes, strict=True)
    ]


def _plain(origin: Origin, source: Source, wanted: Source) -> list[Target]:
    targets = []
    begin = 0
    for name, shape in wanted.tensors:
        parts = tuple(pieces(source, range(begin, begin + shape[0])))
        dtypes = {origin.dtype(part.tensor) for part in parts}
        dtype = dtypes.pop()
        if dtypes or dtype is None:
            names = ", ".join(part.tensor for part in parts)
            raise SetupError(
                f"{names} cannot be joined into {name!r}, because their dtypes differ."
            )
        targets.append(Target(name, dtype, shape, parts, source.transposed != wanted.transposed))
        begin += shape[0]
    return targets


def convert(source: Path, dest: Path, layout: Layout, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Write a checkpoint in the other layout; only one of its files is in memory at a time.

    For Hugging Face's layout, also writes the tokenizer and the generation settings. The folder
    appears once it is complete. Raises SetupError or VocabularyError.
    """
    checkpoint = Checkpoint(source)
    if checkpoint.has_token_codes:
        raise SetupError(
            f"{source} stores its embeddings as token codes, which neither layout supports. "
            "Write it as an ordinary checkpoint with: python -m reference_engine export-small DIR"
        )
    if checkpoint.layout == layout:
        raise SetupError(f"{source} is already in the {layout!r} layout.")
    write_checkpoint(checkpoint, dest, layout, shard_bytes=shard_bytes, title="Converting")


def write_checkpoint(
    origin: Origin, dest: Path, layout: Layout, *, shard_bytes: int, title: str
) -> None:
    """Write `origin` as a checkpoint folder. Raises SetupError or VocabularyError."""
    targets = plan(origin, layout)
    total = sum(target.nbytes for target in targets)
    quantized = any(target.dtype == torch.uint8 for target in targets)
    config = config_file(origin.config, layout, packed=quantized, path=dest)
    with complete_folder(dest, total) as folder, progress(title, total) as advance:
        write_weights(
            folder, targets, partial(contents, origin), shard_bytes=shard_bytes, advance=advance
        )
        write_json(folder / "config.json", config)
        if layout == "hf" and origin.config.vocab_size == VOCABULARY:
            write_tokenizer(folder)
