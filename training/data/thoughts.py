"""Chains of thought: about 5, 15 and 46 tokens for low, medium and high effort."""

from collections.abc import Mapping
from typing import Any

from harmony.conversation import Effort
from training.data.spans import copy, plain

_LONGEST = 32


def calling(effort: Effort, tool: str, arguments: Mapping[str, Any]) -> str:
    """A thought about which tool to call, and with which values."""
    if effort == "low":
        return f"Use {copy(tool)}."
    values = _restated(arguments)
    if effort == "medium":
        return f"The user wants {copy(tool)}. {values}"
    return (
        "Let me see what the user is asking for and which of the functions on offer can do it. "
        f"The one that fits is {copy(tool)}, so I will use it. {values} "
        "Nothing else was asked, so I leave out the rest and write the call."
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
        "so now I can write the answer."
    )


def _restated(arguments: Mapping[str, Any]) -> str:
    if not arguments:
        return "It takes no arguments at all."
    return "With " + ", ".join(_one(name, value) for name, value in arguments.items()) + "."


def _one(name: str, value: object) -> str:
    match value:
        case str() if len(plain(value)) > _LONGEST or "\n" in value:
            return f"{copy(name)} as given"
        case str():
            return f"{copy(name)}: {value}"
        case bool():
            return f"{copy(name)}: {str(value).lower()}"
        case int() | float():
            return f"{copy(name)}: {value}"
        case None:
            return f"{copy(name)}: null"
        case Mapping():
            return f"{copy(name)} with {', '.join(_one(*one) for one in value.items())}"
    return f"{copy(name)} as a list"
