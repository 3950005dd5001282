"""Pack a bundle as a .tar.gz with reproducible bytes, and unpack it defensively."""

import gzip
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import IO, cast

from pydantic import ValidationError

from harness.errors import RunLogError, os_errors
from harness.integrity.records import Manifest
from harness.run.run_log import replacing

MANIFEST_FILE = "manifest.json"
MOST_FILES = 100
MOST_BYTES = 8 * 2**30  # size limit of an unpacked bundle

_NAME = re.compile(r"(?!\.)[\w.@+-]{1,200}/(?!\.)[\w.@+-]{1,200}")
_BLOCK = 1 << 20


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an unpacked bundle; None in any other folder. Raises RunLogError."""
    path = folder / MANIFEST_FILE
    if not path.exists():
        return None
    try:
        with os_errors(RunLogError, f"{path} cannot be read"):
            return Manifest.model_validate_json(path.read_bytes())
    except ValidationError:
        raise RunLogError(f"{path} is damaged or from another version of this tool.") from None


def pack(folder: Path, file: Path) -> None:
    """Pack the files of a folder, sorted, without times, owners or modes. Raises RunLogError."""
    with (
        replacing(file) as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path in sorted(folder.iterdir()):
            member = tarfile.TarInfo(f"{folder.name}/{path.name}")
            member.size = path.stat().st_size
            with path.open("rb") as content:
                archive.addfile(member, content)


def unpack(file: Path, parent: Path, most: int = MOST_BYTES) -> Path:
    """Unpack a bundle of at most `most` bytes into a new folder below `parent`, which is returned.

    Only regular files in that one folder are written. `tarfile.data_filter` would also accept
    links and nested folders, and has no size limit.

    Raises RunLogError if the file is not a bundle within the limit, or cannot be unpacked here.
    """
    try:
        with (
            gzip.open(file) as stream,
            tarfile.open(fileobj=cast("IO[bytes]", _Reader(stream)), mode="r:") as archive,
        ):
            folder = _unpack(archive, parent, most)
    except (tarfile.TarError, EOFError, ValueError, zlib.error, gzip.BadGzipFile):
        raise RunLogError(f"{file} is not a bundle, or is damaged.") from None
    except OSError as error:
        raise RunLogError(f"{file} cannot be unpacked: {error.strerror}.") from None
    except _RejectedError as error:
        raise RunLogError(f"{file} cannot be unpacked: {error}.") from None
    if folder is None or not (folder / MANIFEST_FILE).exists():
        raise RunLogError(f"{file} is not a bundle: it has no {MANIFEST_FILE}.")
    return folder


@contextmanager
def opened(run: Path) -> Iterator[Path]:
    """The folder of a run; a bundle is unpacked into a temporary one. Raises RunLogError."""
    if not run.is_file():
        yield run
        return
    with scratch_folder() as place:
        yield unpack(run, place)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that is deleted after the block; raises the errors of `kept_folder`."""
    place = kept_folder()
    try:
        yield place
    finally:
        shutil.rmtree(place)


def kept_folder() -> Path:
    """A new temporary folder that is kept. Raises RunLogError, for example on a full disk."""
    with os_errors(RunLogError, "No temporary folder can be created; free space or set TMPDIR"):
        return Path(mkdtemp(prefix="gpt-oss-verify-"))


class _RejectedError(Exception):
    """An archive has a member that bundles do not have."""


class _Reader:
    """Limits reads to one block, because the header of a member can claim any size."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > _BLOCK:
            raise _RejectedError("a header is too large")
        if size < 0:
            raise _RejectedError("a header has a negative size")
        return self._stream.read(size)


def _unpack(archive: tarfile.TarFile, parent: Path, most: int) -> Path | None:
    folder: Path | None = None
    size = 0
    for number, member in enumerate(archive, start=1):
        if not member.isreg() or member.size < 0 or not _NAME.fullmatch(member.name):
            raise _RejectedError(f"{member.name[:100]!r} is not a regular file of one folder")
        size += member.size
        if number > MOST_FILES or size > most:
            raise _RejectedError(f"it has more than {MOST_FILES} files or {most:,} bytes")
        name, _, file = member.name.partition("/")
        if folder is None:
            folder = parent / name
            if folder.exists():
                raise _RejectedError(f"{folder} already exists")
            folder.mkdir(parents=True)
        if folder.name != name or (folder / file).exists():
            raise _RejectedError(f"{member.name!r} occurs twice or is in a second folder")
        content = cast("IO[bytes]", archive.extractfile(member))
        with content, (folder / file).open("xb") as out:
            while block := content.read(_BLOCK):
                out.write(block)
    return folder
