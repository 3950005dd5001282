"""Turns as harmony text: the history of a prompt, and the completion the model must emit."""

from __future__ import annotations

from collections.abc import Sequence

from reference_engine.harmony.conversation import (
    Answer,
    Call,
    Developer,
    Preamble,
    Reasoning,
    Result,
    Turn,
    User,
)


def history(turn: Turn) -> str:
    """One turn of a prompt, as `render_prompt` writes it."""
    match turn:
        case Developer(text):
            return f"<|start|>developer<|message|># Instructions\n\n{text}<|end|>"
        case User(text):
            return f"<|start|>user<|message|>{text}<|end|>"
        case Reasoning(text):
            return f"<|start|>assistant<|channel|>analysis<|message|>{text}<|end|>"
        case Preamble(text):
            return f"<|start|>assistant<|channel|>commentary<|message|>{text}<|end|>"
        case Answer(text):
            return f"<|start|>assistant<|channel|>final<|message|>{text}<|end|>"
        case Call(name, arguments):
            return (
                f"<|start|>assistant to=functions.{name}<|channel|>commentary "
                f"<|constrain|>json<|message|>{arguments}<|call|>"
            )
        case Result(name, output):
            return (
                f"<|start|>functions.{name} to=assistant<|channel|>commentary"
                f"<|message|>{output}<|end|>"
            )


def completion(reply: Sequence[Turn]) -> str:
    """The model's own messages, from right behind `<|start|>assistant` to its stop token."""
    return "<|start|>assistant".join(_emitted(turn) for turn in reply)


def forced_header(call: Call) -> str:
    """What a forced call prefills."""
    return f"<|channel|>commentary to=functions.{call.name} <|constrain|>json<|message|>"


def _emitted(turn: Turn) -> str:
    match turn:
        case Reasoning(text):
            return f"<|channel|>analysis<|message|>{text}<|end|>"
        case Answer(text):
            return f"<|channel|>final<|message|>{text}<|return|>"
        case Call(_, arguments):
            return f"{forced_header(turn)}{arguments}<|call|>"
    raise ValueError(f"the model never emits a {type(turn).__name__}")
