"""Custom tools: their input is any text, and the model sees a function with one parameter."""

import json
from typing import Literal

from harmony.conversation import Call, FunctionTool
from reference_engine.server.fields import RequestModel

_INPUT = "input"  # the parameter


class TextInput(RequestModel):
    """Any text."""

    type: Literal["text"]


class Syntax(RequestModel):
    """A grammar, which the server states in the prompt but does not enforce."""

    syntax: Literal["lark", "regex"]
    definition: str


def custom_function(name: str, description: str, grammar: Syntax | None) -> FunctionTool:
    """Return the function that the model sees."""
    text = {"type": "string"}
    if grammar is not None:
        text["description"] = f"{grammar.syntax} grammar:\n{grammar.definition}"
    parameters = {"type": "object", "properties": {_INPUT: text}, "required": [_INPUT]}
    return FunctionTool(name, description, parameters)


def custom_call(name: str, given: str) -> Call:
    """Return the call of the function for an earlier call with this input."""
    return Call(name, json.dumps({_INPUT: given}, ensure_ascii=False))


def custom_input(arguments: str) -> str:
    """Return the value if the arguments are a JSON object with a single string, otherwise them.

    gpt-oss writes both, also with names other than the declared one (openai/gpt-oss `chat.py`).
    """
    try:
        parsed = json.loads(arguments)
    except ValueError:
        return arguments
    values = list(parsed.values()) if isinstance(parsed, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else arguments
