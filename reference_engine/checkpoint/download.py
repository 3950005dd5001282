"""Published checkpoints from the Hugging Face hub: only the files needed, each one's hash checked.

What is there already is not fetched again, and a file that was cut off goes on where it stopped:
huggingface_hub keeps the unfinished part under `.cache` in the folder.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
from dataclasses import dataclass
from pathlib import Path

from reference_engine.checkpoint.layouts import CheckpointError, Layout

REPOSITORIES = {"gpt-oss-20b": "openai/gpt-oss-20b", "gpt-oss-120b": "openai/gpt-oss-120b"}
_NEEDED: dict[Layout, tuple[str, ...]] = {
    "hf": ("*.json", "*.jinja", "*.safetensors"),
    "original": ("original/*.json", "original/*.safetensors"),
}
_LONGEST_REASON = 300


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository; `sha256` is known of large ones, which are kept by LFS."""

    name: str
    sha256: str | None


def download(name: str, folder: Path, layout: Layout = "hf") -> Path:
    """Fetches a published checkpoint.

    Args:
        name: One of `REPOSITORIES`, or a repository as `owner/name`.
        folder: Where to put it; made if missing.
        layout: Which of its layouts.

    Returns:
        The folder of the checkpoint.

    Raises:
        CheckpointError: It cannot be had, or a file is not what its hash says.
    """
    repository = REPOSITORIES.get(name, name)
    if repository.count("/") != 1:
        known = ", ".join(REPOSITORIES)
        raise CheckpointError(f"{name!r} is neither {known} nor a repository as owner/name.")
    try:
        revision, files = _listed(repository, layout)
        for file in files:
            _fetch(repository, revision, file, folder)
    except CheckpointError:
        raise
    except Exception as error:  # noqa: BLE001 - which HTTP library is below depends on the release
        raise CheckpointError(_sentence(repository, folder, error)) from None
    return folder / "original" if layout == "original" else folder


def wanted(names: list[str], layout: Layout) -> list[str]:
    """Which files of a repository make up its checkpoint in `layout`."""
    depth = 1 if layout == "original" else 0
    return [
        name
        for name in names
        if name.count("/") == depth and any(fnmatch.fnmatch(name, kind) for kind in _NEEDED[layout])
    ]


def _listed(repository: str, layout: Layout) -> tuple[str, list[RemoteFile]]:
    from huggingface_hub import HfApi

    info = HfApi().model_info(repository, files_metadata=True)
    hashes = {each.rfilename: each.lfs.sha256 if each.lfs else None for each in info.siblings or []}
    names = wanted(list(hashes), layout)
    if not any(name.endswith(".safetensors") for name in names):
        raise CheckpointError(f"{repository} has no safetensors in the {layout!r} layout.")
    return info.sha or "main", [RemoteFile(name, hashes[name]) for name in names]


def _fetch(repository: str, revision: str, file: RemoteFile, folder: Path) -> None:
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download(repository, file.name, revision=revision, local_dir=folder))
    if file.sha256 is not None and sha256_of(path) != file.sha256:
        path.unlink()
        raise CheckpointError(
            f"{path} is not what {repository} says it is (SHA-256 {file.sha256}), so it was "
            "removed; download it again."
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sentence(repository: str, folder: Path, error: Exception) -> str:
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    address = f"https://huggingface.co/{repository}"
    if isinstance(error, GatedRepoError):
        return f"{repository} is gated: accept its terms at {address} and set HF_TOKEN."
    if isinstance(error, RepositoryNotFoundError):
        return f"{repository} is not on the hub, or HF_TOKEN has no access to it: see {address}."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"The disk of {folder} is full; make room and run this again, it goes on from there."
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EROFS, errno.ENOTDIR}:
        return f"{folder} cannot be written: {error.strerror}."
    reason = " ".join(str(error).split())[:_LONGEST_REASON].rstrip(".")
    if isinstance(error, LocalEntryNotFoundError):
        reason = "the hub cannot be reached"
    return (
        f"{repository} could not be downloaded ({reason}): check the connection to huggingface.co "
        "and run this again, it goes on from there."
    )
