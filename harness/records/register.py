"""What each rule stands on: where the defect that it finds was seen.

`tools/register.py` writes the table, `harness/data/register.json`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import cast

from harness.records.diagnosis import Example
from harness.text import first_few

_SHOWN = 3  # names of each kind
KINDS = {
    "servers": "seen on",
    "recordings": "recorded in",
    "reports": "reported for",
    "constructed": "constructed as",
    "family": "one of its family finds",
    "only": "the only error of",
    "judged": "judged in a default run's attempts at",
}
"""What a rule can stand on, with the words before the names: real servers with their versions,
recorded replies, public reports, faults of the catalogue that nobody reported, faults that any rule
of its family may find, and known cases (`tools/judgements.json`). The last kind is no reason
for a rule: it names the tasks whose attempts it judges, with their number, in the recorded healthy
run of one try (`tests/support/healthy_run.tar.xz`)."""


@cache
def register() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return the names of each kind by id of a rule; a rule and a kind without any are missing."""
    file = resources.files("harness") / "data" / "register.json"
    return cast("Mapping[str, Mapping[str, Sequence[str]]]", json.loads(file.read_bytes()))


def standing(rule: str, kinds: Iterable[str] = KINDS) -> str:
    """Return what a rule stands on, in a line: `seen on vLLM 0.32; reported for vllm#33210`."""
    row = register().get(rule, {})
    named = (f"{KINDS[kind]} {first_few(row[kind], _SHOWN)}" for kind in kinds if kind in row)
    return "; ".join(named)


def known_defect(rule: str) -> Example | None:
    """Return a reported defect that the rule finds, if one is known."""
    told = register().get(rule, {}).get("example")
    return None if told is None else Example(description=told[0], sources=tuple(told[1:]))


def elsewhere(rule: str) -> str:
    """Return where a user of another server can look the defect up: servers and reports."""
    return standing(rule, ("servers", "reports"))
