"""Golden files of gpt-oss-verify 0.1 and 0.2, which runs of these versions keep. Pure.

They know neither patterns of defects nor engines with numbers in 8 bits, and name no command.
"""

from __future__ import annotations

from typing import Any


def upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """The members of such a file as those of a `Golden`; other files unchanged."""
    if "tool_version" not in old:
        return old
    kept = {name: value for name, value in old.items() if name != "tool_version"}
    engine = f"gpt-oss-verify {old['tool_version']}"
    return kept | {
        "engine": engine,
        "command": "",
        "healthy": [_healthy_run(run, engine) for run in old["healthy"]],
        "exact_tolerance": old["tolerance"],
        "patterns": [],
    }


def _healthy_run(old: dict[str, Any], engine: str) -> dict[str, Any]:
    """A healthy run; of all alternatives, likely or not, it knows the same 99th percentile."""
    return {
        "engine": engine,
        "numbers": f"{old['dtype']}, batch {old['batch']}",
        "exact": True,
        "distance": old["distance"] | {"near_p99": old["distance"]["p99"]},
        "farthest": old["farthest"],
    }
