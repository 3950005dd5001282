"""The result type of all built-in tools."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ran:
    """The result of a call."""

    output: str  # what the model sees: the result or the error
    sources: tuple[str, ...] = ()  # the URLs that a search found
    failed: bool = False  # whether the call had no effect
    error: Mapping[str, Any] | None = None  # the error, as an `mcp_call` item shows it
