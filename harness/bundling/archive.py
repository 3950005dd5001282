"""The file of a bundle: a .tar.gz that is the same for the same content, and opened with care."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from harness.bundling.manifest import MANIFEST_FILE
from harness.errors import RunLogError

MOST_FILES = 100
MOST_BYTES = 8 * 2**30
"""No bundle may hold more, unpacked."""

_NAME = re.compile(r"(?!\.)[\w.@+-]{1,200}/(?!\.)[\w.@+-]{1,200}")
_BLOCK = 1 << 20


def pack(folder: Path, file: Path) -> None:
    """Pack the files of a folder, sorted, without times, owners or modes of this machine.

    Raises:
        RunLogError: A file cannot be read, or the bundle not be written.
    """
    draft = file.with_name(f"{file.name}.tmp")
    try:
        with (
            draft.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for path in sorted(folder.iterdir()):
                member = tarfile.TarInfo(f"{folder.name}/{path.name}")
                member.size = path.stat().st_size
                with path.open("rb") as content:
                    archive.addfile(member, content)
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RunLogError(f"{file} cannot be written: {error.strerror}.") from None


def unpack(file: Path, parent: Path, most: int = MOST_BYTES) -> Path:
    """Unpack a bundle below `parent`; the folder of its run, which must not be there yet.

    Nothing is written but plain files in that one folder, under names of letters, digits and dots.

    Raises:
        RunLogError: The file is no bundle, is damaged, holds something else or more than `most`
            bytes, or cannot be written here.
    """
    try:
        with (
            gzip.open(file) as stream,
            tarfile.open(fileobj=cast("IO[bytes]", _Reader(stream)), mode="r:") as archive,
        ):
            folder = _unpacked(archive, parent, most)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile):
        raise RunLogError(f"{file} is no bundle, or is damaged.") from None
    except OSError as error:
        raise RunLogError(f"{file} cannot be opened: {error.strerror}.") from None
    except _UnfitError as error:
        raise RunLogError(f"{file} is not opened: {error}.") from None
    if folder is None or not (folder / MANIFEST_FILE).exists():
        raise RunLogError(f"{file} is no bundle: it has no {MANIFEST_FILE}.")
    return folder


@contextmanager
def opened(run: Path) -> Iterator[Path]:
    """The folder of a run, which may be given as a bundle: that is opened for as long as needed.

    Raises:
        RunLogError: See `unpack`.
    """
    if not run.is_file():
        yield run
        return
    with TemporaryDirectory(prefix="gpt-oss-verify-") as place:
        yield unpack(run, Path(place))


class _UnfitError(Exception):
    """Something in an archive that no bundle has."""


class _Reader:
    """A stream that gives no more than a block at a time: a member's header may claim any size."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        if size > _BLOCK:
            raise _UnfitError("a header in it is too large")
        return self._stream.read(size)

    def seek(self, place: int) -> int:
        return self._stream.seek(place)

    def tell(self) -> int:
        return self._stream.tell()


def _unpacked(archive: tarfile.TarFile, parent: Path, most: int) -> Path | None:
    folder: Path | None = None
    left = most
    for number, member in enumerate(archive):
        if not member.isreg() or not _NAME.fullmatch(member.name):
            raise _UnfitError(f"{member.name[:100]!r} in it is no plain file of one folder")
        if number >= MOST_FILES:
            raise _UnfitError(f"it holds more than {MOST_FILES} files")
        left -= member.size
        if left < 0:
            raise _UnfitError(f"it holds more than {most:,} bytes")
        name, _, file = member.name.partition("/")
        if folder is None:
            folder = parent / name
            if folder.exists():
                raise _UnfitError(f"{folder} is there already")
            folder.mkdir(parents=True)
        if folder.name != name or (folder / file).exists():
            raise _UnfitError(f"{member.name!r} is in it twice, or in a second folder")
        _copy(archive, member, folder / file)
    return folder


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = archive.extractfile(member)
    if content is None:
        raise _UnfitError(f"{member.name!r} has no content")
    with content, path.open("xb") as out:
        while block := content.read(_BLOCK):
            out.write(block)
