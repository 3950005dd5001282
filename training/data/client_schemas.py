"""Function definitions as client libraries generate them from types: titles, references, nulls.

Harmony shows the model only a part of these schemas: a title and the description become comments,
and `anyOf`, `$ref` and `allOf` become `any`. In strict mode, every parameter is required, so a
parameter without a value is null or its default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data import natural, words
from training.data.spans import copy
from training.data.task import Ask, Asker

Schema = dict[str, Any]
_Wrap = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Client:
    """The style in which a library writes schemas.

    Attributes:
        titles: every parameter has a title, and the schema the name of its class.
        references: enumerations are in `$defs`.
        strict: all parameters are required and no others are allowed.
        null_types: an optional type is `["string", "null"]` instead of an `anyOf`.
        nested: some parameters are properties of an object.
    """

    titles: bool = False
    references: bool = False
    strict: bool = False
    null_types: bool = False
    nested: bool = False


_CLIENTS = (
    Client(titles=True, references=True),
    Client(titles=True, references=True),
    Client(titles=True, strict=True),
    Client(titles=True, references=True, strict=True),
    Client(titles=True),
    Client(strict=True, null_types=True),
    Client(strict=True, nested=True),
    Client(null_types=True, nested=True),
    Client(titles=True, nested=True),
    Client(references=True),
    Client(references=True, strict=True, nested=True),
    Client(strict=True),
    Client(),
)
_WRAPPERS = ("request", "params", "input", "payload", "args", "options", "query", "data", "body")
_RETURNS = ("A string.", "The result.", "dict", "A JSON object with the result.", "None", "str")


def client(rng: Random) -> Client:
    """A random style."""
    return rng.choice(_CLIENTS)


def generated(
    rng: Random, style: Client, tool: FunctionTool, asker: Asker
) -> tuple[FunctionTool, Asker]:
    """The tool with the schema that a library would generate, and its asker."""
    given = dict(tool.parameters or {})
    properties: Mapping[str, Schema] = given.get("properties", {})
    required = list(given.get("required", ()))
    definitions: Schema = {}
    shown = {
        name: _property(style, name, dict(value), name in required, definitions)
        for name, value in properties.items()
    }
    absent = _absent(properties, required) if style.strict else {}
    needed = list(properties) if style.strict else required
    wrap: _Wrap = _identity
    if style.nested and shown and rng.random() < 0.5:
        shown, needed, wrap = _wrapped(rng, shown, needed, strict=style.strict)
    schema: Schema = {"properties": shown, "type": "object"}
    if definitions:
        schema = {"$defs": definitions} | schema
    if style.strict or rng.random() < 0.3:
        schema["additionalProperties"] = False
    if needed or style.strict:
        schema["required"] = needed
    if style.titles:
        schema["title"] = rng.choice((f"{tool.name}_args", _title(tool.name).replace(" ", "")))
    if style.null_types and rng.random() < 0.5:
        schema["$schema"] = "http://json-schema.org/draft-07/schema#"
    described = _described(rng, tool.description, properties)

    def ask(rng: Random, _tool: FunctionTool) -> Ask:
        asked = asker(rng, tool)
        arguments = {
            name: asked.arguments.get(name, absent.get(name))
            for name in properties
            if name in asked.arguments or name in absent
        }
        return Ask(asked.text, wrap(arguments))

    return FunctionTool(tool.name, described, schema), ask


def _identity(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return arguments


def _property(
    style: Client, name: str, value: Schema, required: bool, definitions: Schema
) -> Schema:
    note = {key: value.pop(key) for key in ("description", "default") if key in value}
    if style.references and "enum" in value:
        kind = _title(name).replace(" ", "")
        definitions[kind] = value | {"title": kind}
        value = {"$ref": f"#/$defs/{kind}"}
    if not required and "default" not in note:
        value = _nullable(style, value)
        if not style.strict:
            note["default"] = None
    title = {"title": _title(name)} if style.titles and "$ref" not in value else {}
    return note | value | title


def _nullable(style: Client, value: Schema) -> Schema:
    if style.null_types and isinstance(value.get("type"), str) and "enum" not in value:
        return value | {"type": [value["type"], "null"]}
    return {"anyOf": [value, {"type": "null"}]}


def _absent(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    """The value of each optional parameter that a request does not give."""
    found = {
        name: value.get("default") for name, value in properties.items() if name not in required
    }
    return {name: copy(one) if isinstance(one, str) else one for name, one in found.items()}


def _wrapped(
    rng: Random, shown: Mapping[str, Schema], needed: list[str], *, strict: bool
) -> tuple[dict[str, Schema], list[str], _Wrap]:
    """Wraps some adjacent properties in an object, which is required if one of them is."""
    names = list(shown)
    first = rng.choice((0, 0, rng.randrange(len(names))))
    end = rng.choice((len(names), len(names), rng.randint(first + 1, len(names))))
    inner = names[first:end]
    free = [name for name in (*_WRAPPERS, words.word(rng), words.word(rng)) if name not in names]
    wrapper = rng.choice(free)
    nested: Schema = {
        "type": "object",
        "properties": {name: shown[name] for name in inner},
        "required": [name for name in needed if name in inner],
    }
    if strict:
        nested["additionalProperties"] = False
    is_needed = strict or bool(nested["required"])

    def placed(values: Mapping[str, Any], whole: object) -> dict[str, Any]:
        """The outer values by name, with `whole` under the name of the wrapper."""
        found = {name: values[name] for name in names[:first] if name in values}
        found[wrapper] = whole
        return found | {name: values[name] for name in names[end:] if name in values}

    def wrap(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        put = {name: value for name, value in arguments.items() if name in inner}
        return placed(arguments, put) if put or is_needed else arguments

    required = [name for name in needed if name not in inner] + [wrapper] * is_needed
    return placed(shown, nested), required, wrap


def _described(rng: Random, description: str, properties: Mapping[str, Schema]) -> str:
    """The description, usually as the docstring of a function with sections or further text."""
    draw = rng.random()
    if draw < 0.4:
        return description
    more = [natural.sentence(rng) for _ in range(rng.choice((1, 1, 2, 3, 6)))]
    if draw < 0.7:
        return " ".join((description, *more))
    lines = [f"    {name}: {value.get('description', name)}" for name, value in properties.items()]
    parts = [description, *([" ".join(more)] if draw > 0.85 else [])]
    if lines:
        parts.append("\n".join(("Args:", *lines)))
    parts.append(f"Returns:\n    {rng.choice(_RETURNS)}")
    return "\n\n".join(parts)


def _title(name: str) -> str:
    return name.replace("_", " ").replace("-", " ").title()
