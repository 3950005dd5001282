"""Chains of thought: about 5, 15 and 46 tokens for low, medium and high effort."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from reference_engine.harmony.conversation import Effort
from reference_engine.small.data.spans import plain

_LONGEST = 40


def calling(rng: Random, effort: Effort, tool: str, arguments: Mapping[str, Any]) -> str:
    """Why this tool, and with which values."""
    if effort == "low":
        return f"Use {tool}."
    values = _restated(arguments)
    if effort == "medium":
        return f"The user wants {tool}. {values}"
    start = rng.choice(
        (
            "Let me see what the user is asking for and which of the functions can do it.",
            "The user asks for something, so first look through the functions on offer.",
        )
    )
    return (
        f"{start} The one that fits is {tool}, so I will use it. {values} "
        "Nothing else was asked, so other parameters stay out. Now write the call."
    )


def answering(effort: Effort, short: str, medium: str) -> str:
    """A thought before a final answer, from a short and a medium statement of what to do."""
    if effort == "low":
        return short
    if effort == "medium":
        return medium
    return (
        "Let me think about what is wanted here before I write anything to the user. "
        f"{medium} There is nothing more to look up and no function left to call, "
        "so I can now write the answer."
    )


def _restated(arguments: Mapping[str, Any]) -> str:
    if not arguments:
        return "It takes no arguments."
    parts = []
    for name, value in arguments.items():
        if isinstance(value, str) and (len(plain(value)) > _LONGEST or "\n" in value):
            parts.append(f"{name} as given")
        elif isinstance(value, str):
            parts.append(f"{name}: {value}")
        elif isinstance(value, list):
            parts.append(f"{name} as a list")
        else:
            parts.append(f"{name}: {value}")
    return "With " + ", ".join(parts) + "."
