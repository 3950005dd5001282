"""The published datasets: their address, their pinned revision and their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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


_AIME_REVISION = "a6ad95f611d72cf628a80b58bd0432ef6638f958"
_HEALTHBENCH = ("openai/healthbench", "40ee1968852fc57f625934251ac22be47077a8fb")

DATASETS = (
    PublishedDataset(
        name="aime25",
        repository="opencompass/AIME2025",
        revision=_AIME_REVISION,
        files=("aime2025-I.jsonl", "aime2025-II.jsonl"),
        rows=30,
        sample="aime25.jsonl",
        known={
            "b91b3c96f05d9635d2a0692b124ebe023c1ff59cb19c074275e6c4b349d0659e": _AIME_REVISION,
            "16a2dcfbbf9db1b11f8a69a3ba5e4cac73e3641b19a37e2307e9c12240bbed5e": _AIME_REVISION,
        },
    ),
    PublishedDataset(
        name="gpqa",
        repository="Idavidrein/gpqa",
        revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
        files=("gpqa_diamond.csv",),
        rows=198,
        sample="gpqa.csv",
        gated=True,
        known={
            "41d1213cd7a4998605a26c2798500652572007161b3a92817ba46b35befcd305": "simple-evals",
        },
    ),
    PublishedDataset(
        "healthbench",
        *_HEALTHBENCH,
        files=("2025-05-07-06-14-12_oss_eval.jsonl",),
        rows=5000,
        sample="healthbench.jsonl",
        known={
            "e99dd3c6372c10d6fcc5e385c5fae69d0dd40392dae56836ef9493ae324ecd2f": _HEALTHBENCH[1],
        },
    ),
    PublishedDataset(
        "healthbench_hard",
        *_HEALTHBENCH,
        files=("hard_2025-05-08-21-00-10.jsonl",),
        rows=1000,
        sample="healthbench.jsonl",
        known={
            "b0320430e5cd974e746585594c1dd10b5a3fc2aff9c72b26106c2c4a069d74e9": _HEALTHBENCH[1],
        },
    ),
    PublishedDataset(
        "healthbench_consensus",
        *_HEALTHBENCH,
        files=("consensus_2025-05-09-20-00-46.jsonl",),
        rows=3671,
        sample="healthbench.jsonl",
    ),
)

BY_NAME = {dataset.name: dataset for dataset in DATASETS}
