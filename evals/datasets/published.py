"""The published datasets: their address, their pinned revision and their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from pydantic import TypeAdapter


@dataclass(frozen=True)
class PublishedDataset:
    """One published dataset.

    `rows` is the number of rows in all `files`. `sample` is a shipped file with rows in the same
    columns. `known` maps SHA-256 sums of published files to their revision, to recognize local
    copies.
    """

    name: str
    repository: str
    revision: str
    files: tuple[str, ...]
    rows: int
    sample: str
    gated: bool = False
    known: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The web page of the dataset."""
        return f"https://huggingface.co/datasets/{self.repository}"


DATASETS = TypeAdapter(tuple[PublishedDataset, ...]).validate_json(
    (resources.files("evals") / "data" / "datasets.json").read_bytes()
)
BY_NAME = {dataset.name: dataset for dataset in DATASETS}
