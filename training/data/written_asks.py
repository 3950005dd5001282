"""Tools of many kinds with handwritten requests, whose slots are filled with random values."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import Any

from harmony.conversation import FunctionTool
from training.data import phrasings, words
from training.data.phrases import fill, listed, quoted
from training.data.phrasings import WrittenAsk, WrittenTool
from training.data.samples import prose
from training.data.spans import copy
from training.data.task import Ask, Asker

_SLOT = re.compile(r"\{(\w+)\}")
_STOPS = ".?!"


@cache
def written_tools() -> tuple[tuple[FunctionTool, Asker], ...]:
    """Every tool of `tools.jsonl`, with its asker."""
    return tuple((one.tool, _asker(one)) for one in phrasings.tools())


@cache
def known_tools() -> Mapping[str, Asker]:
    """Askers with handwritten requests for tools of the catalogue, by tool name."""
    return {one.tool.name: _asker(one) for one in phrasings.known_tools()}


def _asker(one: WrittenTool) -> Asker:
    def ask(rng: Random, _tool: FunctionTool) -> Ask:
        return asked(rng, rng.choice(one.asks), (one.tool.parameters or {}).get("properties", {}))

    return ask


def asked(rng: Random, ask: WrittenAsk, properties: Mapping[str, Any]) -> Ask:
    """A request with its slots filled, and its arguments in the order of the schema."""
    text = ask.text
    draw = rng.random()
    if draw < 0.06:
        text = text[:1].lower() + text[1:]
    elif draw < 0.12:
        text = text.rstrip(_STOPS)
    arguments: dict[str, Any] = dict(ask.values)
    shown: dict[str, str] = {}
    for slot in dict.fromkeys(_SLOT.findall(text)):
        shown[slot], arguments[slot] = _value(rng, text, slot, properties[slot])
    text = fill(rng, text, shown)
    return Ask(text, {name: arguments[name] for name in properties if name in arguments})


def _value(rng: Random, text: str, slot: str, schema: Mapping[str, Any]) -> tuple[str, Any]:
    if "enum" in schema:
        value = rng.choice(schema["enum"])
        return str(value), copy(value) if isinstance(value, str) else value
    match schema["type"]:
        case "string":
            value = _string(rng, slot)
            before, _, after = text.partition(f"{{{slot}}}")
            free = not (before[-1:] in {"'", '"', "`", "“"} or after[:1] in {"'", "’"})
            return quoted(rng, value, 0.15) if free else value, copy(value)
        case "integer":
            most = schema.get("maximum", rng.choice((9, 99, 999)))
            number = rng.randint(schema.get("minimum", 1), most)
            return str(number), number
        case "number":
            low, high = schema.get("minimum", 1), schema.get("maximum", 999)
            drawn = round(rng.uniform(low, high), rng.choice((0, 1)))
            amount = min(max(int(drawn) if drawn.is_integer() else drawn, low), high)
            return str(amount), amount
        case "boolean":
            truth = rng.random() < 0.5
            return ("true" if truth else "false"), truth
    return _list(rng, schema["items"])


def _list(rng: Random, items: Mapping[str, Any]) -> tuple[str, list[Any]]:
    count = rng.randint(1, 3)
    if items.get("type") == "integer":
        numbers = [rng.randint(0, 99) for _ in range(count)]
        return listed(rng, [str(number) for number in numbers]), numbers
    if items.get("type") == "number":
        amounts = [rng.randint(0, 999) / 10 for _ in range(count)]
        return listed(rng, [str(amount) for amount in amounts]), amounts
    pool = items.get("enum") or [words.identifier(rng) for _ in range(4)]
    chosen = words.some(rng, pool, 1, 3)
    return listed(rng, chosen), [copy(value) for value in chosen]


_NUMBERED = re.compile(r"(?:^|_)(?:id|no|nr|code|sku|plate|symbol|ref|serial|number|key)$|Id$|No$")
_LONG = re.compile(
    r"text|note|message|body|query|subject|title|description|topic|comment|question|reason|remark"
)


_CURRENCIES = (
    "EUR", "USD", "GBP", "JPY", "CHF", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "INR", "CNY",
    "KRW", "BRL", "MXN", "ZAR", "TRY", "AUD", "CAD", "THB", "ILS", "NZD", "SGD", "RON",
)  # fmt: skip
_CLOSED: Mapping[str, Sequence[str]] = {
    "from_currency": _CURRENCIES,
    "to_currency": _CURRENCIES,
    "day": (
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "tomorrow",
        "today", "next week", "May 4", "3 June", "the 21st",
    ),
    "target": (
        "German", "French", "Spanish", "Italian", "Polish", "Turkish", "Korean", "Japanese",
        "Greek", "Arabic", "Hindi", "Welsh", "Danish", "Thai", "Czech", "Swahili", "Finnish",
        "Hebrew", "Dutch", "Irish", "Russian", "Latin", "Chinese", "Urdu", "Swedish",
    ),
    "room": (
        "kitchen", "bedroom", "bathroom", "hall", "garage", "cellar", "office", "attic", "garden",
        "living room", "dining room", "corridor", "nursery", "study", "porch", "stairs",
    ),
}  # fmt: skip
"""Parameters with a small set of possible values."""


def _string(rng: Random, slot: str) -> str:
    """A plausible value for a parameter with this name."""
    if slot in _CLOSED:
        return rng.choice(_CLOSED[slot])
    if _NUMBERED.search(slot) and rng.random() < 0.7:
        return words.nonce(rng)
    if _LONG.search(slot) and rng.random() < 0.8:
        return rng.choice((words.words, prose))(rng, 1, 5)
    maker = rng.choice(
        (words.word, words.capital, words.capital, words.person, words.person, words.made_up)
    )
    return maker(rng) if rng.random() < 0.85 else words.string_value(rng)
