"""The JSON Schemas of the files in a run folder, generated from the types that write them."""

import json
from importlib import resources
from pkgutil import resolve_name
from typing import Any

from pydantic import TypeAdapter

from harness.run.run_folder import COMPARED

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, str] = {
    "analysis": "harness.records.analysis:Analysis",
    "compare": "harness.compare.comparison_types:Comparison",
    "gate": "harness.providers.gate_entry:GateEntry",
    "history": "harness.compare.comparison_types:History",
    "rollout": "harness.records.rollouts:Rollout",
    "run": "harness.records.runs:RunInfo",
    "score": "harness.records.scores:Score",
    "site": "harness.compare.comparison_types:Site",
}
"""The type of each schema, see docs/reading-a-report.md."""


def generated(name: str) -> str:
    """The schema that follows from the types of this version."""
    schema = TypeAdapter(resolve_name(MODELS[name])).json_schema()
    if name == "score":
        for field in COMPARED:
            del schema["properties"][field]
        used = json.dumps(schema)
        defined = {k: v for k, v in schema["$defs"].items() if f'"#/$defs/{k}"' in used}
        schema["$defs"] = defined
    head = {"$schema": _DIALECT, "title": f"gpt-oss-verify {name}"}
    return json.dumps(head | {k: v for k, v in schema.items() if k != "title"}, indent=1) + "\n"


def shipped(name: str) -> dict[str, Any]:
    """The schema in the package."""
    text = (resources.files(__name__) / f"{name}.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
