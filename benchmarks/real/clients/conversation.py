"""What the conversations of all Python clients share: the question, the tool, and the server."""

import os
from typing import Any

MODEL, QUESTION, TURNS = "gpt-oss-small", "What is the weather in Lisbon?", 3
PLACE = {
    "type": "object",
    "properties": {"location": {"type": "string"}, "unit": {"type": "string"}},
    "required": ["location"],
}
FUNCTION = {"name": "get_weather", "description": "Get the weather.", "parameters": PLACE}
CHAT = {"model": MODEL, "tools": [{"type": "function", "function": FUNCTION}]}
RESPONSES = {"model": MODEL, "tools": [{"type": "function", **FUNCTION}]}
URL = os.environ["REAL_CLIENTS_URL"]
"""The base URL of the server, whose damage the header X-Damage names, or the path."""
called: list[str] = []
"""The arguments of the calls of this conversation, or its question if it has no call."""


def options(damage: str) -> dict[str, Any]:
    connection = {"base_url": URL, "api_key": "none", "max_retries": 0, "timeout": 30}
    return connection | {"default_headers": {"X-Damage": damage}}


def damaged_url(damage: str) -> str:
    """Return the base URL for a client whose user cannot add a header."""
    return f"{URL.removesuffix('/v1')}/{damage}/v1" if damage else URL


def get_weather(location: str, unit: str = "celsius") -> str:
    """Get the weather at a place."""
    called.append(location)
    return f"It is sunny in {location}, 21 degrees {unit}."
