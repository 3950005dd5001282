"""Writes checkpoint folders: shards of bounded size and an index, all or nothing."""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from reference_engine.checkpoint.files import DTYPES, INDEX
from reference_engine.checkpoint.layouts import Piece, Shape
from reference_engine.errors import SetupError

Advance = Callable[[int], None]  # receives the number of bytes processed since the last call

SHARD_BYTES = 5_000_000_000  # default maximum size of a shard; a larger tensor gets its own shard
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNMENT = 8
_OURS = ("*.json", "*.jinja", "*.safetensors")


@dataclass(frozen=True)
class Target:
    """A tensor to write."""

    name: str
    dtype: torch.dtype
    shape: Shape
    pieces: tuple[Piece, ...]  # rows of stored tensors that form the rows of this tensor, in order
    swapped: bool = False  # whether to swap the last two dimensions

    @property
    def nbytes(self) -> int:
        """The size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@contextmanager
def complete_folder(path: Path, nbytes: int) -> Iterator[Path]:
    """Provides the folder `path`.partial, and renames it to `path` if the block succeeds.

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
            _check_room(partial, nbytes)
            yield partial
            partial.replace(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror or error}.") from None


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Yields a function that advances a bar of `total` bytes on stderr."""
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
    """Writes a JSON file."""
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
    """Writes tensors into shards, and their index; `contents` yields the rows of a tensor."""
    shards = _shards(targets, shard_bytes)
    holders: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        single = len(shards) == 1
        name = "model" if single else f"model-{number:05}-of-{len(shards):05}"
        holders |= dict.fromkeys((target.name for target in shard), f"{name}.safetensors")
        with (folder / f"{name}.safetensors").open("wb") as file:
            _write_shard(file, shard, contents, advance)
            file.flush()
            os.fsync(file.fileno())
    if len(shards) > 1:
        total = sum(target.nbytes for target in targets)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(holders.items()))}
        write_json(folder / INDEX, index)


def _shards(targets: Sequence[Target], limit: int) -> list[list[Target]]:
    """Fills one shard after another. Wide dtypes come first in a shard, so that all are aligned."""
    shards: list[list[Target]] = [[]]
    room = limit
    for target in targets:
        if target.nbytes > room and shards[-1]:
            shards.append([])
            room = limit
        shards[-1].append(target)
        room -= target.nbytes
    return [sorted(shard, key=lambda target: -target.dtype.itemsize) for shard in shards]


def _write_shard(
    file: BinaryIO,
    shard: Sequence[Target],
    contents: Callable[[Target], Iterable[Tensor]],
    advance: Advance,
) -> None:
    file.write(_header(shard))
    for target in shard:
        for rows in contents(target):
            data = rows.contiguous().view(-1).view(torch.uint8).numpy().data
            file.write(data)
            advance(data.nbytes)


def _header(shard: Sequence[Target]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begin = 0
    for target in shard:
        header[target.name] = {
            "dtype": _NAMES[target.dtype],
            "shape": list(target.shape),
            "data_offsets": [begin, begin + target.nbytes],
        }
        begin += target.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _clear(partial: Path) -> None:
    """Removes the partial folder of an earlier attempt, unless it contains other files."""
    if not partial.exists():
        return
    if not all(any(entry.match(kind) for kind in _OURS) for entry in partial.iterdir()):
        raise SetupError(
            f"{partial} contains files of another program. Move them or choose another folder."
        )
    shutil.rmtree(partial)


def _check_room(folder: Path, nbytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise SetupError(
            f"{folder} needs {_gigabytes(nbytes)}, but its disk has only {_gigabytes(free)} free. "
            "Free some space or choose a folder on another disk."
        )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
