"""Read datasets of the Hugging Face hub with the `datasets` library.

A published eval set is downloaded by file at its pinned revision and then read by `load_dataset`.
`load_dataset` with the name of a repository is not enough: offline, datasets 5.2 does not find the
cache of single files, and otherwise returns the version cached last, whatever the revision.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from evals.datasets.published import PublishedDataset
from evals.datasets.rows import DataRow, RawRow
from harness.errors import ConfigurationError

SPLITS = ("test", "validation", "train")
"""Of a user's own dataset, the first split that exists is used."""

_LONGEST_REASON = 300


def read_published(dataset: PublishedDataset, model: type[DataRow]) -> tuple[RawRow, ...]:
    """The rows of a published dataset at its pinned revision, file by file.

    Raises:
        ConfigurationError: The library is not installed, the hub cannot be reached, or the terms
            of a gated dataset are not accepted; the message says how to fix it.
    """
    library = _library(dataset.name)
    files = (_file_rows(library, dataset, file, model) for file in dataset.files)
    return tuple(chain.from_iterable(files))


def read_named(name: str, revision: str | None) -> tuple[RawRow, ...]:
    """The rows of any dataset on the hub. Raises ConfigurationError."""
    library = _library(name)
    try:
        splits = library.load_dataset(name, revision=revision)
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        raise ConfigurationError(
            f"The dataset {name} could not be loaded ({_short(error)}): check its name and "
            "revision, the connection to huggingface.co, and HF_TOKEN if it is private or gated."
        ) from None
    split = next((split for split in SPLITS if split in splits), next(iter(splits)))
    places = (f"{name} {split} row {number}" for number in range(1, len(splits[split]) + 1))
    return tuple(map(RawRow, places, splits[split]))


def _file_rows(
    library: ModuleType, dataset: PublishedDataset, file: str, model: type[DataRow]
) -> Iterator[RawRow]:
    path = _download(dataset, file)
    kind, options = "json", dict[str, Any]()
    if path.suffix == ".csv":
        # By default pandas reads the answer "007" as 7, and "None" or "NA" as missing.
        columns = [field.alias or name for name, field in model.model_fields.items()]
        kind = "csv"
        options = {"converters": dict.fromkeys(columns, str), "keep_default_na": False}
    try:
        # Streaming reads the file directly, without a second copy in the cache.
        rows = library.load_dataset(
            kind, data_files=str(path), split="train", streaming=True, **options
        )
        values: Mapping[str, Any]
        for number, values in enumerate(rows, start=1):
            yield RawRow(f"{dataset.repository}/{file} row {number}", values)
    except (OSError, ValueError, library.exceptions.DatasetsError) as error:
        raise _unavailable(dataset, f"{path} cannot be read: {error}") from None


def _download(dataset: PublishedDataset, file: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = hf_hub_download(
            dataset.repository, file, repo_type="dataset", revision=dataset.revision
        )
    except LocalEntryNotFoundError:
        reason = f"{file} is not in the cache, and huggingface.co cannot be reached"
        raise _unavailable(dataset, reason) from None
    except Exception as error:  # noqa: BLE001 (its HTTP library depends on the release)
        raise _unavailable(dataset, str(error)) from None
    return Path(path)


def _library(name: str) -> ModuleType:
    try:
        import datasets
    except ImportError:
        raise ConfigurationError(
            f"{name} requires the Hugging Face datasets library, which is not installed: "
            "pip install 'gpt-oss-verify[evals]', or use --data-file or --samples."
        ) from None
    library: ModuleType = datasets
    library.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    return library


def _unavailable(dataset: PublishedDataset, reason: str) -> ConfigurationError:
    if dataset.gated:
        remedy = (
            f"accept its terms at {dataset.address} and set HF_TOKEN, or pass a local copy with "
            "--data-file"
        )
    else:
        remedy = (
            f"check the connection to huggingface.co, or download {' and '.join(dataset.files)} "
            f"from {dataset.address} and pass the folder with --data-dir"
        )
    return ConfigurationError(f"{dataset.name} could not be loaded ({_short(reason)}): {remedy}.")


def _short(reason: object) -> str:
    return " ".join(str(reason).split())[:_LONGEST_REASON].rstrip(".")
