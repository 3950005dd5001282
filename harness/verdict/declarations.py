"""What each rule declares about its component: read from a file until rules declare it themselves."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.records.diagnosis import Example

_FILE = Path("/tmp/notes/declarations.json")


@dataclass(frozen=True)
class Declared:
    component: str
    fix: str | None = None
    witness: bool = False
    example: Example | None = None


@cache
def _all() -> dict[str, Declared]:
    table = json.loads(_FILE.read_text(encoding="utf-8"))
    return {
        rule: Declared(
            component=row["component"],
            fix=row["fix"],
            witness=row["witness"],
            example=Example(**row["example"]) if "example" in row else None,
        )
        for rule, row in table.items()
    }


def declared(rule: str) -> Declared:
    return _all()[rule]
