"""Former names of rules and families, for gates and commands that still use them."""

from collections.abc import Mapping

RENAMED: Mapping[str, str] = {
    "leaks": "text",
    "schema": "reply",
    "finish": "limits",
    "parameters": "calls, limits and structured",
    "parity": "parity.calls, parity.text and others of the family stream",
    "logprobs": "numerics",
    "echo": "text",
    "options": "sampling",
    "chat.reasoning.missing": "reasoning.missing",
    "responses.reasoning.missing": "reasoning.missing",
    "reasoning.absent": "reasoning.rare",
    "tools.choice.none.streaming": "tools.choice.none",
    "tools.choice.required.streaming": "tools.choice.required",
    "tools.choice.named.streaming": "tools.choice.named",
    "prompt.cot.kept.beside_text": "prompt.cot.kept",
    "prompt.cot.kept.across_calls": "prompt.cot.kept",
    "calls.arguments.retyped.planned": "calls.arguments.retyped",
}


def now_called(name: str) -> str | None:
    """Return what has become of a former name, in a clause; None if it is not one."""
    return f"{name} is now {RENAMED[name]}" if name in RENAMED else None
