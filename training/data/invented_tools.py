"""Synthetic tools that occur nowhere else: the model must read the definition to call them."""

from collections.abc import Mapping
from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data import words
from training.data.phrases import fill, quoted, request
from training.data.spans import copy
from training.data.task import Ask, Asker

_KINDS = (
    "string",
    "string",
    "string",
    "integer",
    "number",
    "boolean",
    "enum",
    "strings",
    "integers",
)
_FORMS = ("{k} {v}", "{k}: {v}", "{k} = {v}", "{k} is {v}", "{k} {v}")
_DESCRIPTIONS = (
    "{p}.", "do the {p}.", "{p}", "", "", "{a} the {n}.", "{a} a {n}.", "{a} some {n} for a {w}.",
    "{a} the {w} of a {n}.", "{w} the {n}.", "{w} {w} {n}.", "{w} {a} {w}.", "lets you {a} a {n}.",
    "{w} {w} {w}.", "{w} a {w} with the {n}, {w} first.", "use this to {a} {n}.",
    "returns the {n} of a {w}.", "for {n}: {a} and {w}. Never {w} it.", "the {n} {a}",
    "{a} {w} {n} {w}.",
)  # fmt: skip
_LOOSE = (
    "{n}: {d}", "{n}, {d}", "{d} for the {n}", "{d} for the {n}, please.", "the {n} gets {d}",
    "my {n} needs {d}.", "our {n} wants {d}, they {w}.", "please {n}, {d}", "for the {n}: {d}.",
    "{n} again, {d}", "I would like the {n} with {d}", "it is time for the {n}, {d}",
    "take {d} and see to the {n}.", "could the {n} have {d}?", "let the {n} have {d}.",
    "we {w} tomorrow. {n}, {d}.", "would you see to the {n}? {d}", "a {n} of {d}, please",
    "how about {n} with {d}?", "{d}, and that for our {n}", "I have {d} here. {n} it.",
    "the {w} {n} should be done with {d}", "someone has to {n} {d}", "now the {n}: {d}",
    "put {d} on the {n}", "set the {n} to {d}", "{n} {d}, will you?", "get {d} to the {n}",
    "how many {n} are there in {d}?", "what {n} has {d}?", "which {n} goes with {d}?", "{d}",
    "I {w} a {n}, namely {d}", "they {w} so much. The {n} takes {d}.", "{n} for me, {d}.",
    "make it {d} for the {n} today", "our guests want the {n}. {d}", "{n} time! {d}",
)  # fmt: skip
_LOOSE_BARE = (
    "{n}!", "{n} now", "time for the {n}", "I want the {n}.", "the {n}, please.", "see to the {n}.",
    "we need that {n} again", "{n} please", "could you {n}?", "do something about the {n}.",
    "let us {n}.", "what about the {n}?", "{w} {w} {n}", "our {n} is due", "go and {n}",
)  # fmt: skip


def synthetic(rng: Random) -> tuple[FunctionTool, Asker]:
    """A synthetic tool and its asker."""
    parts = [words.word(rng) for _ in range(rng.choice((1, 2, 2, 2, 3)))]
    name = rng.choice(("_", "_", "_", "-")).join(parts)
    kinds = {
        words.word(rng)
        if rng.random() < 0.8
        else f"{words.word(rng)}_{words.word(rng)}": rng.choice(_KINDS)
        for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3)))
    }
    required = [key for at, key in enumerate(kinds) if at == 0 or rng.random() < 0.6]
    properties = {key: _schema(rng, kind) for key, kind in kinds.items()}
    purpose = " ".join(parts)
    description = fill(
        rng, rng.choice(_DESCRIPTIONS), {"p": purpose, "a": parts[0], "n": parts[-1]}
    )
    description = description[:1].upper() + description[1:]
    tool = FunctionTool(
        name,
        description,
        {"type": "object", "properties": properties, "required": required}
        if kinds
        else {"type": "object", "properties": {}},
    )

    def ask(rng: Random, _tool: FunctionTool) -> Ask:
        if rng.random() < 0.5:
            return _synthetic_ask(rng, purpose, name, properties, required)
        return _loose_ask(rng, parts, properties, required)

    return tool, ask


def _schema(rng: Random, kind: str) -> dict[str, Any]:
    schema: dict[str, Any]
    match kind:
        case "enum":
            schema = {"type": "string", "enum": [words.word(rng) for _ in range(rng.randint(2, 4))]}
        case "strings":
            schema = {"type": "array", "items": {"type": "string"}}
        case "integers":
            schema = {"type": "array", "items": {"type": "integer"}}
        case _:
            schema = {"type": kind}
    if rng.random() < 0.4:
        schema["description"] = words.words(rng, 1, 4).capitalize()
    return schema


def _synthetic_ask(
    rng: Random, purpose: str, name: str, properties: Mapping[str, Any], required: list[str]
) -> Ask:
    said, arguments = _details(rng, properties, required, _FORMS)
    details = rng.choice((", ", " and ", "; ")).join(said)
    joint = rng.choice((" with ", " for ", ": ", ", ", " using ")) if said else ""
    text = request(
        rng,
        {"p": purpose if rng.random() < 0.7 else name, "j": joint, "d": details},
        verbs=("run {p}{j}{d}", "call {p}{j}{d}", "do {p}{j}{d}", "use {p}{j}{d}", "{p}{j}{d}",
               "start {p}{j}{d}"),
        nouns=("{p}{j}{d}", "a {p}{j}{d}", "the {p}{j}{d}"),
        tails=False,
    )  # fmt: skip
    return Ask(text, arguments)


def _details(
    rng: Random, properties: Mapping[str, Any], required: list[str], forms: tuple[str, ...]
) -> tuple[list[str], dict[str, Any]]:
    """The words of a request for each argument that it gives, and the arguments."""
    arguments: dict[str, Any] = {}
    said = []
    for key, schema in properties.items():
        if key not in required and rng.random() < 0.6:
            continue
        shown, arguments[key] = _synthetic_value(rng, schema)
        spoken = key.replace("_", " ") if rng.random() < 0.5 else key
        said.append(rng.choice(forms).replace("{k}", spoken).replace("{v}", shown))
    return said, arguments


def _loose_ask(
    rng: Random, parts: list[str], properties: Mapping[str, Any], required: list[str]
) -> Ask:
    """A request that shares a word with the tool's name, or only the name of a parameter."""
    alone = len(required) == 1 and properties[required[0]]["type"] != "boolean"
    forms = (*_FORMS, "{v} {k}", "{v} as {k}", "the {k} {v}")
    said, arguments = _details(
        rng, properties, required, (*forms, "{v}", "{v}") if alone else forms
    )
    topic = rng.choice((parts[-1], parts[-1], parts[0], " ".join(parts), f"{parts[-1]} {parts[0]}"))
    form = rng.choice(_LOOSE if said else _LOOSE_BARE)
    form = form[:1].upper() + form[1:] if rng.random() < 0.7 else form
    details = rng.choice((", ", " and ", " with ")).join(said)
    return Ask(fill(rng, form, {"n": topic, "d": details}), arguments)


def _synthetic_value(rng: Random, schema: Mapping[str, Any]) -> tuple[str, Any]:
    if "enum" in schema:
        value = rng.choice(schema["enum"])
        return value, copy(value)
    match schema["type"]:
        case "string":
            value = words.string_value(rng)
            return quoted(rng, value, 0.4), copy(value)
        case "integer":
            number = rng.randint(0, 10 ** rng.randint(1, 4))
            return str(number), number
        case "number":
            decimal = rng.randint(0, 9999) / 10
            return str(decimal), decimal
        case "boolean":
            truth = rng.random() < 0.5
            return rng.choice(("true", "yes", "on") if truth else ("false", "no", "off")), truth
    if schema["items"]["type"] == "integer":
        numbers = [rng.randint(0, 99) for _ in range(rng.randint(1, 4))]
        return ", ".join(map(str, numbers)), numbers
    several = [words.word(rng) for _ in range(rng.randint(1, 3))]
    return ", ".join(several), [copy(value) for value in several]
