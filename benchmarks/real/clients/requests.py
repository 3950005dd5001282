"""The requests that clients send by default, as tests send them to the reference server."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from real.clients.conversations import Measured
from real.clients.tables import not_run

_LONG = 120
"""Characters of a text of a client's own, above which the recorded request has a short one."""


def request_rows(found: Measured) -> Iterator[dict[str, Any]]:
    """Yield the distinct requests of the healthy conversations, without the texts of others."""
    seen: set[str] = set()
    failed = not_run(found)
    for use, sent in sorted(found.requests.items()):
        for turn, (api, body) in enumerate(sent):
            if use not in failed:
                row = {"client": use.split()[0], "api": api, "turn": turn, "body": short(body)}
                if (key := json.dumps(row, sort_keys=True)) not in seen:
                    seen.add(key)
                    yield row


def short(value: object, name: str = "") -> object:
    """Return a value of a request with short texts, and of the tools only one of each type."""
    if isinstance(value, str):
        return value if len(value) <= _LONG or name == "encrypted_content" else "A long text."
    if isinstance(value, list) and name == "tools":
        kept: dict[str, object] = {}
        for tool in value:
            kept.setdefault(str(tool.get("type")), _own(tool))
        return list(kept.values())
    if isinstance(value, list):
        return [short(part) for part in value]
    if isinstance(value, dict) and name == "client_metadata":
        return dict.fromkeys(value, "A text.")
    if isinstance(value, dict):
        return {key: short(part, key) for key, part in value.items()}
    return value


def _own(tool: Mapping[str, Any]) -> object:
    """Return a tool as it is if it is ours, or its form without its texts."""
    named = tool.get("function", tool)
    if named.get("name") in ("get_weather", None):
        return short(tool)
    form = {"type": "object", "properties": {}}
    texts: dict[str, object] = {
        "description": "A tool.",
        "parameters": form,
        "tools": [],
        "format": None,
    }
    made = {key: texts.get(key, part) for key, part in named.items()}
    made = {key: part for key, part in made.items() if part is not None}
    if "tools" in made:
        inner = {"type": "function", "name": "f", "description": "A tool.", "parameters": form}
        made["tools"] = [inner]
    return {**tool, "function": made} if "function" in tool else made
