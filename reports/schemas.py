"""The JSON Schemas of the files in a run folder, generated from the types that write them.

`python -m reports.schemas DIR` writes all of them to a folder.
"""

import json
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from pydantic import TypeAdapter

from harness.run.run_folder import COMPARED

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, str] = {
    "analysis": "harness.records.analysis:Analysis",
    "compare": "harness.compare.comparison_types:Comparison",
    "gate": "harness.providers.gate_entry:GateEntry",
    "history": "harness.compare.history:History",
    "rollout": "harness.records.rollouts:Rollout",
    "run": "harness.records.runs:RunInfo",
    "score": "harness.records.scores:Score",
    "site": "harness.compare.site:Site",
}
"""The type of each schema, see docs/reading-a-report.md."""


def schema(name: str) -> dict[str, Any]:
    """Return the schema that follows from the types of this version."""
    made = TypeAdapter(resolve_name(MODELS[name])).json_schema()
    if name == "score":
        for field in COMPARED:
            del made["properties"][field]
        used = json.dumps(made)
        made["$defs"] = {k: v for k, v in made["$defs"].items() if f'"#/$defs/{k}"' in used}
    return {"$schema": _DIALECT, **made, "title": f"gpt-oss-verify {name}"}


def main() -> None:
    """Write `NAME.schema.json` for every schema."""
    if len(sys.argv) != 2:
        sys.exit("Give the folder for the schemas: python -m reports.schemas DIR")
    folder = Path(sys.argv[1])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in MODELS:
            text = json.dumps(schema(name), indent=1) + "\n"
            (folder / f"{name}.schema.json").write_text(text, encoding="utf-8")
    except OSError as error:
        sys.exit(f"The schemas cannot be written to {folder}: {error.strerror}")


if __name__ == "__main__":
    main()
