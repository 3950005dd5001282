"""Turns as harmony text: the history of a prompt, and the completion the model must emit."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from harmony.conversation import (
    Answer,
    BuiltinCall,
    BuiltinResult,
    Call,
    ConversationItem,
    Developer,
    Preamble,
    Reasoning,
    Result,
    User,
)
from harmony.vocabulary import harmony_encoding
from training.data.spans import copy, encode


@dataclass(frozen=True)
class Style:
    """The format in which a server renders history: the canonical one, or an observed variant.

    `call` contains `{name}`; `quoted_results` renders a tool's output as a JSON string, and
    `template` renders the developer message as the Hugging Face chat template does.
    """

    call: str = (
        "<|start|>assistant to=functions.{name}<|channel|>commentary <|constrain|>json<|message|>"
    )
    quoted_results: bool = False
    template: bool = False

    def prefix(self, tokens: tuple[int, ...], instructed: bool) -> tuple[int, ...]:
        """System and developer message in this style."""
        if not self.template:
            return tokens
        text = harmony_encoding().decode(tokens).replace("(_: {\n}) => any", "() => any")
        if instructed and "\n\n# Tools\n\n" not in text:
            text = text.removesuffix("<|end|>") + "\n\n<|end|>"
        return encode(text)


CANONICAL = Style()
_TEMPLATE = Style(
    "<|start|>assistant to=functions.{name}<|channel|>commentary json<|message|>",
    quoted_results=True,
    template=True,
)
_OTHERS = (
    _TEMPLATE,
    _TEMPLATE,
    Style(
        "<|start|>assistant<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>"
    ),
    Style("<|start|>assistant to=functions.{name}<|channel|>commentary<|message|>"),
    Style("<|start|>assistant<|channel|>commentary to=functions.{name}<|message|>"),
)


def style(rng: Random) -> Style:
    """The canonical style, or sometimes another one."""
    return CANONICAL if rng.random() < 0.75 else rng.choice(_OTHERS)


def history(turn: ConversationItem, style: Style = CANONICAL) -> str:
    """One turn of a prompt, in the canonical style as rendered by `render_prompt`."""
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
            return f"{style.call.replace('{name}', name)}{arguments}<|call|>"
        case Result(name, output):
            shown = json.dumps(output, ensure_ascii=False) if style.quoted_results else output
            return (
                f"<|start|>functions.{name} to=assistant<|channel|>commentary"
                f"<|message|>{shown}<|end|>"
            )
        case BuiltinCall():
            return f"<|start|>assistant{_emitted(turn)}"
        case BuiltinResult(name, output):
            return f"<|start|>{name} to=assistant<|channel|>analysis<|message|>{output}<|end|>"


def completion(reply: Sequence[ConversationItem]) -> str:
    """The model's own messages, from after `<|start|>assistant` to its stop token."""
    return "<|start|>assistant".join(_emitted(turn) for turn in reply)


def forced_header(call: Call) -> str:
    """What the model, or a server that forces a call, writes before the arguments."""
    return f"<|channel|>commentary to=functions.{copy(call.name)} <|constrain|>json<|message|>"


def _emitted(turn: ConversationItem) -> str:
    match turn:
        case Reasoning(text):
            return f"<|channel|>analysis<|message|>{text}<|end|>"
        case Answer(text):
            return f"<|channel|>final<|message|>{text}<|return|>"
        case Call(_, arguments):
            return f"{forced_header(turn)}{arguments}<|call|>"
        case BuiltinCall(name, content):
            return f"<|channel|>analysis to={name} code<|message|>{content}<|call|>"
    raise ValueError(f"the model never emits a {type(turn).__name__}")
