"""What an eval run writes down besides its rollouts: its settings, and the score of each try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from evals.base import DatasetInfo
from harness.records.base import Record
from harness.records.rollouts import Api
from harness.records.runs import SCHEMA_VERSION, Limits, ProviderInfo, Seal

EVAL_RUN = "eval"

Outcome = Literal[
    "correct",
    "wrong",
    "graded",
    "no_answer",
    "truncated",
    "refused",
    "provider_error",
    "grader_error",
    "not_run",
]


class Cell(Record):
    """One eval of one model at one reasoning effort: what a score is about."""

    eval: str
    model: str
    effort: str

    @property
    def name(self) -> str:
        """The cell as part of an id: no slash in it but those between its three parts."""
        return f"{self.eval}/{self.model.replace('/', ':')}/{self.effort}"


class EvalSettings(Record):
    """What was asked for on the command line, defaults filled in.

    `tries` is by eval: how often every question is asked, at most so often with `until_decided`.
    `seed` chooses questions and orders choices; it is sent with requests, to each its own, only
    if `send_seed`. `margin` is in points.
    """

    evals: tuple[str, ...]
    models: tuple[str, ...]
    efforts: tuple[str, ...]
    api: Api
    streaming: bool
    tries: Mapping[str, int] = Field(description="by eval")
    examples: int | None = None
    seed: int = 0
    send_seed: bool = False
    temperature: float | None = 1.0
    top_p: float | None = 1.0
    max_tokens: int | None = 131_072
    concurrency: int
    grader: ProviderInfo | None = None
    baseline: str | None = None
    margin: float | None = None
    margins: Mapping[str, float] = Field(default={}, description="by eval, where margin is None")
    must_ask: tuple[str, ...] = Field(default=(), description="evals that the gate asks for")
    origins: Mapping[str, str] = Field(default={}, description="where the gate says what")
    until_decided: bool = False
    budget_samples: int | None = None
    budget_tokens: int | None = None
    budget: Limits | None = None


RunEnd = Literal["all tries", "decided", "budget"]


class EvalRunInfo(Record):
    """`run.json` of an eval run: all it takes to understand, resume and repeat it.

    `planned` counts the tries of the plan (of this shard, where there are shards). `ended` says
    why sampling came to its end; None while it has not, and then `stopped` says how the budget of
    one call ended it. `merged` names the runs it was made of,
    `merged_seals` has the seals they had then. `resumed` and `seals` are as in `RunInfo`.
    """

    schema_version: int = SCHEMA_VERSION
    kind: Literal["eval"] = "eval"
    tool_version: str
    command: tuple[str, ...]
    provider: ProviderInfo
    settings: EvalSettings
    datasets: tuple[DatasetInfo, ...]
    planned: int
    shard: tuple[int, int] | None = None
    merged: tuple[str, ...] = ()
    merged_seals: tuple[str | None, ...] = ()
    versions: dict[str, str]
    started_at: str
    finished_at: str | None = None
    ended: RunEnd | None = None
    stopped: str | None = None
    resumed: tuple[str, ...] = ()
    seals: tuple[Seal, ...] = ()


class TryScore(Record):
    """The score of one planned try; a line of `scores.jsonl`, made again whenever a run is judged.

    `score` is at most 1, and 0 for every failure; only HealthBench goes below 0. `openai_score` is
    what OpenAI's script would give. `order` is the order of the choices as put (GPQA). Token counts
    are the provider's own, `seconds` are those of the request that ended it.
    """

    record: str
    cell: Cell
    question: str
    number: int
    outcome: Outcome
    score: float
    answer: str | None = None
    openai_score: float | None = None
    order: tuple[int, ...] | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    seconds: float | None = None
    detail: str = ""
