"""Schemas in the form in which llguidance 1.9 enforces them exactly.

llguidance reads numbers as float64, leaves keys of open objects free to repeat, and reads patterns
as Rust does. In strict mode, what it accepts has to conform to the schema: a part that it would not
enforce is narrowed, or the schema is refused. Otherwise, that part is left out.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

Schema = dict[str, Any]

_EXACT = 2**53
"""The magnitude up to which a float64 has every integer."""
_LOWER, _UPPER = ("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")
_SCHEMAS = (
    *("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not"),
    *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
)
_LISTS = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_MAPS = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_DATE = (
    r"(?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))"
    r"|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_FORMATS = {"date": f"^{_DATE}$", "time": f"^{_TIME}$", "date-time": f"^{_DATE}T{_TIME}$"}
"""Dates that exist, and times without leap seconds (RFC 3339)."""
_SPACE = r"\t\n\x0B\f\r \u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000\uFEFF"
"""White space and line ends of ECMA-262 (13th edition, 12.2 and 12.3)."""
_PIECE = re.compile(r"\\.|\[\^?|\]|[^\\\[\]]", re.DOTALL)


def enforceable(schema: Schema, *, strict: bool) -> Schema:
    """Return the schema for llguidance. Raises ValueError for one that strict mode cannot keep."""
    if not strict:
        possible: Schema = _changed(schema, _possible)
        return possible
    closed: Schema = _changed(schema, _closed)
    if (part := _Objects(closed).open_part()) is not None:
        reason = "strict mode requires properties of objects and items of arrays, and no others"
        raise ValueError(f"{reason}, so that no key can repeat; {part} has none, or others")
    exact: Schema = _changed(closed, _exact)
    return exact


def _changed(schema: Any, change: Callable[[Schema], Schema]) -> Any:  # noqa: ANN401
    """Return the schema with a change to each of its subschemas, the inner ones first."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for key in _SCHEMAS:
        if isinstance(made.get(key), dict):
            made[key] = _changed(made[key], change)
    for key in _LISTS:
        if isinstance(made.get(key), list):
            made[key] = [_changed(inner, change) for inner in made[key]]
    for key in _MAPS:
        if isinstance(made.get(key), dict):
            made[key] = {name: _changed(inner, change) for name, inner in made[key].items()}
    if made.get("uniqueItems") is False:
        del made["uniqueItems"]
    return change(made)


def _closed(schema: Schema) -> Schema:
    """Allow no further properties beside those that a schema names, unless it says so."""
    if isinstance(schema.get("properties"), dict):
        schema.setdefault("additionalProperties", False)
    return schema


def _exact(schema: Schema) -> Schema:
    """Narrow what llguidance would not enforce exactly. Raises ValueError."""
    if schema.get("enum") == []:
        raise ValueError("an enum has no values")
    if any(_inexact(value) for value in _constants(schema)):
        raise ValueError("an enum or const has a number that is not exact as a float64")
    _narrow_bounds(schema)
    if isinstance(pattern := schema.get("pattern"), str):
        schema["pattern"] = _rust(pattern)
    if (form := _FORMATS.get(str(schema.get("format")))) is not None:
        if "pattern" in schema:
            raise ValueError("a pattern beside a date or time is not supported")
        del schema["format"]
        schema["pattern"] = form
    return schema


def _narrow_bounds(schema: Schema) -> None:
    """Move bounds to the numbers that are exact. Raises ValueError if that leaves none."""
    for keys, sign in ((_LOWER, -1), (_UPPER, 1)):
        for key in keys:
            bound = schema.get(key)
            if not isinstance(bound, int | float) or isinstance(bound, bool):
                continue
            if bound * sign <= -_EXACT:
                raise ValueError(f"{key} excludes all numbers that are exact as a float64")
            if bound * sign > _EXACT:
                schema[key] = _EXACT * sign


def _possible(schema: Schema) -> Schema:
    """Leave out what llguidance would enforce wrongly, or refuse."""
    if any(_inexact(value) for value in _constants(schema)):
        schema.pop("enum", None)
        schema.pop("const", None)
    bounds = {key: schema[key] for key in (*_LOWER, *_UPPER) if key in schema}
    inexact = [key for key, bound in bounds.items() if _inexact(bound)]
    for key in inexact:
        del schema[key]
    if isinstance(pattern := schema.get("pattern"), str) and not _compiles(pattern):
        del schema["pattern"]
    return schema


def _constants(schema: Schema) -> Iterator[object]:
    """Yield the values of enum and const, and all that they contain."""
    values = schema.get("enum")
    waiting = [*(values if isinstance(values, list) else ()), schema.get("const")]
    while waiting:
        value = waiting.pop()
        yield value
        waiting += value.values() if isinstance(value, dict) else ()
        waiting += value if isinstance(value, list) else ()


def _inexact(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) > _EXACT


def _compiles(pattern: str) -> bool:
    """Whether llguidance supports a pattern."""
    from llguidance import LLMatcher

    rules = LLMatcher.grammar_from_json_schema(json.dumps({"type": "string", "pattern": pattern}))
    refused, _ = LLMatcher.validate_grammar_with_warnings(rules)
    return not refused


def _rust(pattern: str) -> str:
    """Return a pattern of ECMA-262 whose dot and white space mean the same in Rust.

    Raises ValueError for other classes that differ.
    """
    made, in_class = [], False
    for piece in _PIECE.findall(pattern):
        if piece == "\\S" and in_class:
            raise ValueError(r"a pattern with \S within brackets is not supported")
        if piece == "\\s":
            piece = _SPACE if in_class else f"[{_SPACE}]"
        elif piece == "\\S":
            piece = f"[^{_SPACE}]"
        elif piece == "." and not in_class:
            piece = r"[^\n\r\u2028\u2029]"
        elif piece.startswith("[") and in_class:
            piece = "\\["
        elif piece.startswith("["):
            in_class = True
        elif piece == "]":
            in_class = False
        made.append(piece)
    return "".join(made)


class _Objects:
    """Finds subschemas whose objects may have keys that no schema names."""

    def __init__(self, schema: Schema) -> None:
        self._root = schema
        self._known: dict[int, str | None] = {}

    def open_part(self) -> str | None:
        """Return which part of the schema is open, in words; None if all objects are closed."""
        return self._open(self._root, "the schema")

    def _open(self, schema: object, where: str) -> str | None:
        if not isinstance(schema, dict):
            return None if schema is False else where
        if id(schema) not in self._known:
            self._known[id(schema)] = None  # while its parts are read, which may refer to it
            found = list(self._conjuncts(schema, where))
            self._known[id(schema)] = None if None in found else found[0]
        return self._known[id(schema)]

    def _conjuncts(self, schema: Schema, where: str) -> Iterator[str | None]:
        """Yield what is open in each part of a schema; a value must conform to all of them."""
        yield None if schema.keys() & {"enum", "const"} else self._own(schema, where)
        if isinstance(reference := schema.get("$ref"), str):
            yield self._open(_resolved(self._root, reference), where)
        for part in _entries(schema, "allOf"):
            yield self._open(part, where)
        for key in ("anyOf", "oneOf"):
            if parts := _entries(schema, key):
                yield next(filter(None, (self._open(part, where) for part in parts)), None)

    def _own(self, schema: Schema, where: str) -> str | None:
        """Return what is open in the objects and arrays that the own keywords of a schema allow."""
        kinds = schema.get("type", ["object", "array"])
        kinds = kinds if isinstance(kinds, list) else [kinds]
        parts: list[tuple[object, str]] = []
        if "object" in kinds:
            further = schema.get("additionalProperties", True)
            parts += [(bool(schema.get("patternProperties")) or further is not False, where)]
            members = schema.get("properties")
            named = members.items() if isinstance(members, dict) else ()
            parts += [(inner, f"the property {name!r}") for name, inner in named]
        if "array" in kinds and schema.get("maxItems") != 0:
            listed = isinstance(schema.get("items"), list)
            rest = schema.get("additionalItems" if listed else "items", True)
            inside = f"the items of {where}"
            each = (*_entries(schema, "prefixItems"), *_entries(schema, "items"), rest)
            parts += [(inner, inside) for inner in each]
        return next(filter(None, (self._open(inner, place) for inner, place in parts)), None)


def _entries(schema: Schema, key: str) -> list[object]:
    return entries if isinstance(entries := schema.get(key), list) else []


def _resolved(root: Schema, reference: str) -> object:
    """What a reference within the schema refers to; True, any value, if that is unknown."""
    found: object = root
    for part in unquote(reference.removeprefix("#")).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return True if found is None or not reference.startswith("#") else found
