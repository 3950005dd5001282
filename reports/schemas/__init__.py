"""The JSON Schemas of what a run folder holds, as files, made from the types that write them."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from harness.records.judgements import Examination, Judgement
from pydantic import BaseModel

from evals.comparison.records import Comparison, History
from evals.records import EvalRunInfo, TryScore
from evals.results import EvalAnalysis
from harness.auditing.findings import Audit
from harness.bundling.manifest import Manifest
from harness.providers.gate_entry import GateEntry
from harness.records.analysis import Analysis
from harness.records.rollouts import RolloutLine
from harness.records.runs import RunInfo

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, type[BaseModel]] = {
    "analysis": Analysis,
    "audit": Audit,
    "bundle": Manifest,
    "compare": Comparison,
    "eval-analysis": EvalAnalysis,
    "eval-run": EvalRunInfo,
    "examination": Examination,
    "gate": GateEntry,
    "history": History,
    "judgement": Judgement,
    "rollout": RolloutLine,
    "run": RunInfo,
    "score": TryScore,
}
"""By name: `rollout` is a line of rollouts.jsonl, and so on; docs/reading-a-report.md says more."""


def made(name: str) -> str:
    """The schema as it follows from the types of this version."""
    schema = MODELS[name].model_json_schema()
    head = {"$schema": _DIALECT, "title": f"gpt-oss-verify {name}"}
    return json.dumps(head | {k: v for k, v in schema.items() if k != "title"}, indent=1) + "\n"


def shipped(name: str) -> dict[str, Any]:
    """The schema that ships."""
    text = (resources.files(__name__) / f"{name}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
