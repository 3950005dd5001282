"""From OpenAI's layout to Hugging Face's and back: names and cuts change, bits do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from reference_engine.checkpoint.layouts import (
    GENERATION_CONFIG,
    CheckpointError,
    Layout,
    Piece,
    Source,
    config_file,
    pair_names,
    pair_shapes,
    pieces,
    portions,
    sources,
)
from reference_engine.checkpoint.progress import progress
from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.checkpoint.writer import (
    SHARD_BYTES,
    Target,
    complete_folder,
    write_json,
    write_weights,
)
from reference_engine.model.config import VOCABULARY, ModelConfig


class Origin(Protocol):
    """Tensors in one layout, lent a few rows at a time."""

    @property
    def config(self) -> ModelConfig:
        """The shape of the model."""
        ...

    @property
    def layout(self) -> Layout:
        """How the tensors are named and cut."""
        ...

    def dtype(self, name: str) -> torch.dtype | None:
        """The type of a tensor, None if there is no such tensor."""
        ...

    def rows(self, name: str, rows: range) -> AbstractContextManager[Tensor]:
        """Lends some rows of a tensor."""
        ...


def plan(origin: Origin, layout: Layout) -> list[Target]:
    """The tensors of a checkpoint in `layout` that holds what `origin` holds, bit for bit.

    Raises:
        CheckpointError: Tensors that have to become one are of different types.
    """
    wanted = sources(origin.config, layout)
    targets: list[Target] = []
    for parameter, source in sources(origin.config, origin.layout).items():
        pair = _pair(origin, source, wanted[parameter], layout)
        targets += pair or _plain(origin, source, wanted[parameter])
    return targets


def contents(origin: Origin, target: Target) -> Iterator[Tensor]:
    """The rows of a target in order, a bounded number of bytes at a time.

    Each tensor is lent until the next is asked for.
    """
    for piece in target.pieces:
        for portion in portions(piece.rows, target.nbytes // target.shape[0]):
            with origin.rows(piece.tensor, portion) as rows:
                yield rows.mT if target.swapped else rows


def _pair(origin: Origin, source: Source, wanted: Source, layout: Layout) -> list[Target]:
    """Blocks and scales, which both layouts store alike; nothing where `origin` has none."""
    if source.packed is None or wanted.packed is None:
        return []
    stored = pair_names(source.packed[0], origin.layout)
    if origin.dtype(stored[0]) is None:
        return []
    names, shapes = pair_names(wanted.packed[0], layout), pair_shapes(source.packed[1])
    return [
        Target(name, torch.uint8, shape, (Piece(old, range(shape[0])),))
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
            raise CheckpointError(
                f"{names} have to become the one tensor {name!r}, but are not of one type."
            )
        swapped = source.transposed != wanted.transposed
        targets.append(Target(name, dtype, shape, parts, swapped))
        begin += shape[0]
    return targets


def convert(source: Path, dest: Path, layout: Layout, *, shard_bytes: int = SHARD_BYTES) -> None:
    """Writes a checkpoint in the other layout, a few rows in memory at a time.

    In Hugging Face's layout, the tokenizer and the generation settings come with it.

    Args:
        source: A checkpoint in either layout.
        dest: The folder to make; it must not be there, or be empty. It appears when it is complete.
        layout: The layout to write.
        shard_bytes: Largest file of weights.

    Raises:
        CheckpointError: The source is none that can be converted, or `dest` cannot be written.
        VocabularyError: The vocabulary, which the tokenizer is made of, cannot be had.
    """
    with Checkpoint(source) as checkpoint:
        if checkpoint.has_token_codes:
            raise CheckpointError(
                f"{source} stores its token tables as codes, which neither layout has; "
                "'gpt-oss-verify export-small DIR' writes it as an ordinary checkpoint."
            )
        if checkpoint.layout == layout:
            raise CheckpointError(f"{source} is in the {layout!r} layout already.")
        write_checkpoint(checkpoint, dest, layout, shard_bytes=shard_bytes, title="Converting")


def write_checkpoint(
    origin: Origin, dest: Path, layout: Layout, *, shard_bytes: int, title: str
) -> None:
    """Writes what `origin` holds as a checkpoint folder, with a bar of progress on a terminal.

    Raises:
        CheckpointError: `dest` cannot be written.
        VocabularyError: The vocabulary, which the tokenizer is made of, cannot be had.
    """
    targets = plan(origin, layout)
    total = sum(target.nbytes for target in targets)
    quantised = any(target.dtype == torch.uint8 for target in targets)
    config = config_file(origin.config, layout, packed=quantised, path=dest)
    with complete_folder(dest, total) as folder, progress(title, total) as advance:
        write_weights(
            folder, targets, partial(contents, origin), shard_bytes=shard_bytes, advance=advance
        )
        write_json(folder / "config.json", config)
        if layout == "hf" and origin.config.vocab_size == VOCABULARY:
            _write_companions(folder)


def _write_companions(folder: Path) -> None:
    from reference_engine.small.tokenizer_files import write_tokenizer

    write_json(folder / "generation_config.json", GENERATION_CONFIG)
    write_tokenizer(folder)
