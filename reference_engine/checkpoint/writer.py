"""Writes checkpoint folders: shards of bounded size and an index, all or nothing."""

import json
import math
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from safetensors.torch import save_file
from torch import Tensor

from reference_engine.checkpoint.layouts import Shape, TensorPiece
from reference_engine.checkpoint.reader import INDEX
from reference_engine.errors import SetupError

Advance = Callable[[int], None]  # receives the number of bytes processed since the last call

SHARD_BYTES = 5_000_000_000  # default maximum size of a shard; a larger tensor gets its own shard
_OURS = ("*.json", "*.jinja", "*.safetensors")


@dataclass(frozen=True)
class Target:
    """A tensor to write."""

    name: str
    dtype: torch.dtype
    shape: Shape
    pieces: tuple[
        TensorPiece, ...
    ]  # rows of stored tensors that form the rows of this tensor, in order
    swapped: bool = False  # whether to swap the last two dimensions

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def complete_folder(path: Path, nbytes: int) -> Iterator[Path]:
    """Provide the folder `path`.partial, and rename it to `path` if the block succeeds.

    An error removes the partial folder; the next call removes one that a killed process left.
    Raises SetupError, also if the disk has less than `nbytes` free.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise SetupError(f"{path} exists and is not empty. Choose another folder.")
        _clear(partial)
        partial.mkdir(parents=True)
        try:
            if (free := shutil.disk_usage(partial).free) < nbytes:
                raise SetupError(
                    f"{partial} needs {nbytes / 1e9:.1f} GB, but its disk has only "
                    f"{free / 1e9:.1f} GB free. Free some space or choose a folder on another disk."
                )
            yield partial
            partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror or error}.") from None


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Yield a function that advances a bar of `total` bytes on stderr."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def write_json(path: Path, content: object, indent: int | None = 2) -> None:
    """Write a JSON file."""
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    path.write_text(text + "\n", encoding="utf-8")


def write_weights(
    folder: Path,
    targets: Sequence[Target],
    contents: Callable[[Target], Iterable[Tensor]],
    *,
    shard_bytes: int,
    advance: Advance,
) -> None:
    """Write tensors into shards, and their index; `contents` yields the rows of a tensor.

    One shard at a time is in memory.
    """
    by_name = {target.name: target for target in targets}
    split = split_state_dict_into_shards_factory(
        by_name,
        get_storage_size=lambda target: target.nbytes,
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=shard_bytes,
    )
    for file, names in split.filename_to_tensors.items():
        tensors = {}
        for name in names:
            target = by_name[name]
            tensors[name] = torch.empty(target.shape, dtype=target.dtype)
            at = 0
            for rows in contents(target):
                tensors[name][at : at + len(rows)] = rows
                at += len(rows)
                advance(rows.nbytes)
        save_file(tensors, folder / file, {"format": "pt"})
        (folder / file).chmod(0o644)  # safetensors gives other users no access
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        write_json(folder / INDEX, index)


def _clear(partial: Path) -> None:
    """Remove the partial folder of an earlier attempt, unless it contains other files."""
    if not partial.exists():
        return
    if not all(any(entry.match(kind) for kind in _OURS) for entry in partial.iterdir()):
        raise SetupError(
            f"{partial} contains files of another program. Move them or choose another folder."
        )
    shutil.rmtree(partial)
