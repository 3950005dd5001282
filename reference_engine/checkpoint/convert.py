"""From OpenAI's layout to Hugging Face's and back: names and cuts change, bits do not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from reference_engine.checkpoint.config_files import GENERATION_CONFIG, config_file
from reference_engine.checkpoint.errors import CheckpointError
from reference_engine.checkpoint.names import Layout
from reference_engine.checkpoint.plan import Origin, contents, plan
from reference_engine.checkpoint.reader import Checkpoint
from reference_engine.checkpoint.shapes import VOCABULARY
from reference_engine.checkpoint.writer import (
    SHARD_BYTES,
    complete_folder,
    write_json,
    write_weights,
)
from reference_engine.progress import progress


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
