"""Downloads published checkpoints from the Hugging Face Hub and checks the hash of each file."""

import errno
from pathlib import Path

from reference_engine.checkpoint.layouts import Layout
from reference_engine.errors import SetupError

REPOSITORIES = {"gpt-oss-20b": "openai/gpt-oss-20b", "gpt-oss-120b": "openai/gpt-oss-120b"}
_LONGEST_REASON = 300


def download(name: str, folder: Path, layout: Layout = "hf") -> Path:
    """Download one of `REPOSITORIES` or `owner/name`; return its folder. Raises SetupError."""
    from huggingface_hub import HfApi, snapshot_download

    repository = REPOSITORIES.get(name, name)
    if repository.count("/") != 1:
        known = ", ".join(REPOSITORIES)
        raise SetupError(f"{name!r} is neither {known} nor a repository as owner/name.")
    below = "original/" if layout == "original" else ""
    kinds = [f"{below}*.{ending}" for ending in ("json", "jinja", "safetensors")]
    try:
        snapshot_download(
            repository,
            local_dir=folder,
            allow_patterns=kinds,
            ignore_patterns=None if below else "*/*",
        )
        verified = HfApi().verify_repo_checksums(repository, local_dir=folder)
    except Exception as error:  # noqa: BLE001 - the HTTP library of huggingface_hub depends on its release
        raise SetupError(_message(repository, folder, error)) from None
    for wrong in verified.mismatches:
        path = folder / wrong["path"]
        path.unlink()
        raise SetupError(
            f"{path} does not have the hash that {repository} lists ({wrong['algorithm']} "
            f"{wrong['expected']}), so it was removed. Download it again."
        )
    if not any((folder / below).glob("*.safetensors")):
        raise SetupError(f"{repository} has no safetensors in the {layout!r} layout.")
    return folder / below


def _message(repository: str, folder: Path, error: Exception) -> str:
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
    return (
        f"{repository} could not be downloaded ({reason}). Check the connection to huggingface.co "
        "and rerun; the download resumes."
    )
