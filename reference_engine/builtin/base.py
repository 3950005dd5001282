"""What all built-in tools return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ran:
    """The result of a call.

    Attributes:
        output: What the model sees: the result or the error.
        sources: The URLs that a search found.
        failed: Whether the call had no effect.
        error: The error, as an `mcp_call` item shows it.
    """

    output: str
    sources: tuple[str, ...] = ()
    failed: bool = False
    error: Mapping[str, Any] | None = None
