"""The requests that clients send by default, as tests send them to the reference server."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from real.clients.conversations import Measured, asks_only
from real.clients.tables import not_run

_LONG = 120
"""Characters of a text of a client's own, above which the recorded request has a short one."""


def request_lines(found: Measured) -> Iterator[str]:
    """Yield the distinct requests of the healthy conversations, without the texts of others.

    Each is a line of JSON, which is the same in each round.
    """
    seen: set[str] = set()
    failed = not_run(found)
    for use, sent in sorted(found.requests.items()):
        if asks_only(found.outcomes["", use]):  # a command sends several at once, in any order
            sent = sorted(sent, key=lambda each: json.dumps(short(each[1]), sort_keys=True))
        for turn, (api, body) in enumerate(sent):
            if use not in failed:
                row = {"client": use.split()[0], "api": api, "turn": turn, "body": short(body)}
                key = steady(json.dumps(row, sort_keys=True))
                if key not in seen:
                    seen.add(key)
                    yield steady(json.dumps(row, ensure_ascii=False))


def steady(text: str) -> str:
    """Return a text with fixed ids and times in place of those that a client generates."""
    ids: dict[str, str] = {}
    for found in _UUID.findall(text):
        ids.setdefault(found, f"00000000-0000-7000-8000-{len(ids):012d}")
    text = _UUID.sub(lambda match: ids[match[0]], text)
    return _TIME.sub("2026-01-01T00:00:00.000+00:00", text)


_UUID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME = re.compile(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


def short(value: object, name: str = "") -> object:
    """Return a value of a request with short texts, one seed, and one tool of each type."""
    if name == "seed" and isinstance(value, int):
        return 1
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
