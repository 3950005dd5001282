"""Downloads published checkpoints from the Hugging Face Hub and checks the hash of each file."""

import errno
import fnmatch
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reference_engine.checkpoint.layouts import Layout
from reference_engine.errors import SetupError

REPOSITORIES = {"gpt-oss-20b": "openai/gpt-oss-20b", "gpt-oss-120b": "openai/gpt-oss-120b"}
_NEEDED: dict[Layout, tuple[str, ...]] = {
    "hf": ("*.json", "*.jinja", "*.safetensors"),
    "original": ("original/*.json", "original/*.safetensors"),
}
_LONGEST_REASON = 300


def download(name: str, folder: Path, layout: Layout = "hf") -> Path:
    """Downloads one of `REPOSITORIES` or `owner/name`; returns its folder. Raises SetupError."""
    repository = _repository(name)
    with _explained(repository, folder):
        revision, hashes = _listed(repository, layout)
        for name, sha256 in hashes.items():
            _fetch(repository, revision, name, sha256, folder)
    return folder / "original" if layout == "original" else folder


def published_hashes(name: str, layout: Layout) -> dict[str, str]:
    """Returns the SHA-256 that the Hub lists of each weights file, by its name. Raises SetupError.

    `name` and `layout` are those of `download`.
    """
    repository = _repository(name)
    with _explained(repository):
        _, hashes = _listed(repository, layout)
    return {
        Path(file).name: sha256
        for file, sha256 in hashes.items()
        if sha256 is not None and file.endswith(".safetensors")
    }


def _repository(name: str) -> str:
    repository = REPOSITORIES.get(name, name)
    if repository.count("/") != 1:
        known = ", ".join(REPOSITORIES)
        raise SetupError(f"{name!r} is neither {known} nor a repository as owner/name.")
    return repository


@contextmanager
def _explained(repository: str, folder: Path | None = None) -> Iterator[None]:
    """Errors of the Hub and of the target folder, if there is one, as SetupError."""
    try:
        yield
    except SetupError:
        raise
    except Exception as error:  # noqa: BLE001 - the HTTP library of huggingface_hub depends on its release
        raise SetupError(_message(repository, folder, error)) from None


def wanted(names: list[str], layout: Layout) -> list[str]:
    """Returns the files of a repository's checkpoint in `layout`."""
    depth = 1 if layout == "original" else 0
    return [
        name
        for name in names
        if name.count("/") == depth and any(fnmatch.fnmatch(name, kind) for kind in _NEEDED[layout])
    ]


def _listed(repository: str, layout: Layout) -> tuple[str, dict[str, str | None]]:
    """The revision, and the SHA-256 of each file; only large files, in Git LFS, have one."""
    from huggingface_hub import HfApi

    info = HfApi().model_info(repository, files_metadata=True)
    hashes = {each.rfilename: each.lfs.sha256 if each.lfs else None for each in info.siblings or []}
    names = wanted(list(hashes), layout)
    if not any(name.endswith(".safetensors") for name in names):
        raise SetupError(f"{repository} has no safetensors in the {layout!r} layout.")
    return info.sha or "main", {name: hashes[name] for name in names}


def _fetch(repository: str, revision: str, name: str, sha256: str | None, folder: Path) -> None:
    from huggingface_hub import hf_hub_download

    path = Path(hf_hub_download(repository, name, revision=revision, local_dir=folder))
    if sha256 is not None and sha256_of(path) != sha256:
        path.unlink()
        raise SetupError(
            f"{path} does not have the hash that {repository} lists (SHA-256 {sha256}), so "
            "it was removed. Download it again."
        )


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _message(repository: str, folder: Path | None, error: Exception) -> str:
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    address = f"https://huggingface.co/{repository}"
    if isinstance(error, GatedRepoError):
        return f"{repository} is gated. Accept its terms at {address} and set HF_TOKEN."
    if isinstance(error, RepositoryNotFoundError):
        return f"{repository} is not on the Hub, or HF_TOKEN has no access to it. See {address}."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"The disk of {folder} is full. Free some space and rerun; the download resumes."
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EROFS, errno.ENOTDIR}:
        return f"{folder} cannot be written: {error.strerror}."
    reason = " ".join(str(error).split())[:_LONGEST_REASON].rstrip(".")
    if isinstance(error, LocalEntryNotFoundError):
        reason = "the Hub is unreachable"
    action, rest = ("downloaded", "; the download resumes") if folder else ("looked up", "")
    return (
        f"{repository} could not be {action} ({reason}). Check the connection to huggingface.co "
        f"and rerun{rest}."
    )
