"""What each rule declares about its component, read from a file until the rules declare it."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.records.diagnosis import Example

_FILE = Path("/tmp/notes/declarations.json")  # noqa: S108


@dataclass(frozen=True)
class Declared:
    """The component of a rule, its own fix, whether it is a witness, and a known defect."""

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
    """Return what a rule declares."""
    return _all()[rule]
