"""JSON values and texts judged by the JSON schemas that people send. No I/O.

One validator for arguments, answers and tools files. What it cannot know, it does not judge: a
schema that is malformed, a pattern that ECMA-262 refuses, a value that is nested very deeply.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any
from urllib.parse import unquote

import corvus_regex_ecma262 as ecma
import jsonschema_rs as rs

from harness.api.fields import DEEPEST, too_deep
from harness.text import refuse_constant, strict_json

_DRAFTS: Mapping[str, type[rs.Validator]] = {
    "2020-12": rs.Draft202012Validator,
    "2019-09": rs.Draft201909Validator,
    "07": rs.Draft7Validator,
    "06": rs.Draft6Validator,
    "04": rs.Draft4Validator,
}
"""Validators by the part of `$schema` that names the draft."""
_NEWEST = "2020-12"
_OLDER: Mapping[object, str] = {"items": "2019-09", "$id": "07"}
"""The draft of a schema without `$schema` that the newest refuses because of this member: a list of
schemas by position, or the name of an anchor."""
_DECLARED = re.compile(r"json-schema\.org/draft[-/](2020-12|2019-09|07|06|04)\b")
_OTHER_FORMATS = (
    *("idn-email", "idn-hostname", "iri", "iri-reference", "json-pointer", "regex"),
    *("relative-json-pointer", "uri", "uri-reference", "uri-template"),
)
"""Formats that the validator knows, besides those that strict mode enforces: date-time, time, date,
duration, email, hostname, ipv4, ipv6 and uuid.
https://developers.openai.com/api/docs/guides/structured-outputs#supported-schemas"""
_NOT_MONOTONE = frozenset({"not", "oneOf", "if", "maxContains"})
"""Keywords that may refuse a value because a schema within them accepts it."""
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_IN_PLACE = ("not", "if", "then", "else", "dependentSchemas", "dependencies")
_BELOW = (
    *("additionalItems", "additionalProperties", "contains", "patternProperties"),
    *("propertyNames", "unevaluatedItems", "unevaluatedProperties"),
)
_OTHER_LANGUAGE = re.compile(r"(?<!\\)(?:\\\\)*\\(?![bBdDfnrsStvwWux])[A-Za-z1-9]|\{,\d")
_MATCH_SECONDS = 0.2  # for one pattern and one text
_MOST_UNSET = 64  # members of a schema that are read as unset
_MOST_VISITS, _MOST_EXPLAINED = 100_000, 1_000
"""Subschemas that one place in a value may meet: to be judged, and to be told where it fails."""
_LONGEST_MESSAGE = 200
_NAME = re.compile(r"[^\W\d]\w*")
_BEYOND = Decimal("1E+400")  # what Python's floats read as infinite


def misfit(value: object, schema: Mapping[str, Any], *, strict: bool = False) -> str | None:
    """Why a value violates a schema; None if it conforms, or if that cannot be known.

    Numbers are compared as decimals. Formats count only in `strict` mode, and only those that it
    lists.
    """
    return validator_of(schema, strict=strict).misfit(value)


def text_misfit(text: str, schema: Mapping[str, Any], *, strict: bool = False) -> str | None:
    """Why a JSON text violates a schema, like `misfit`. Raises ValueError if it is not JSON.

    Readers disagree about the value of a key that an object has twice, so such a text violates any
    schema that can be used.
    """
    validator = validator_of(schema, strict=strict)
    value, repeated = exact_json(text)
    if repeated is not None and validator.unusable is None:
        return f"$: an object has the key {_shortened(json.dumps(repeated))} twice"
    return validator.misfit(value)


def conforms(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether a value is known to conform to a schema."""
    validator = validator_of(schema)
    known = validator.unusable is None and not validator.left_out
    return known and validator.misfit(value) is None


def exact_json(text: str) -> tuple[object, str | None]:
    """The value of a JSON text with decimals instead of floats, and a key that an object has twice.

    Raises ValueError.
    """
    repeated: list[str] = []

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.extend(key for key in value if keys.count(key) > 1)
        return value

    decoder = json.JSONDecoder(
        parse_float=Decimal, parse_constant=refuse_constant, object_pairs_hook=members
    )
    return strict_json(text, decoder), next(iter(repeated), None)


def validator_of(schema: Mapping[str, Any], *, strict: bool = False) -> "SchemaValidator":
    """The validator of a schema; cached, because compiling takes longer than validating."""
    try:
        text = json.dumps(schema)
    except RecursionError:
        text = ""
    if not text or (text.count("[") + text.count("{") > DEEPEST and too_deep(schema)):
        return _cached("{}", strict, f"nested deeper than {DEEPEST} levels")
    return _cached(text, strict, None)


class _MalformedError(Exception):
    """A schema is malformed; `member` is the last step of the path to the reason."""

    def __init__(self, message: str, member: object) -> None:
        super().__init__(message)
        self.member = member


class SchemaValidator:
    """Judges values by one schema.

    Attributes:
        unusable: why the schema judges nothing; None if it can be used.
        left_out: patterns of the schema that are no regular expressions of ECMA-262; they judge
            nothing.
    """

    def __init__(self, text: str, strict: bool, unusable: str | None) -> None:
        """Compile the schema that a JSON text encodes, unless it is known to be unusable."""
        self.unusable = unusable
        self.left_out: tuple[str, ...] = ()
        self._endless = False  # whether a match took too long
        if unusable is None:
            self._compile(text, strict)

    def misfit(self, value: object) -> str | None:
        """Why a value violates the schema; None if it conforms, or if that cannot be known."""
        if self.unusable is not None or too_deep(value):
            return None
        value, self._endless = _representable(value), False
        visits = self._uses.visits(_levels(value))
        if visits > _MOST_VISITS or self._validator.is_valid(value):
            return None
        if (self._endless or self.left_out) and self._uses.keywords & _NOT_MONOTONE:
            return None
        if visits > _MOST_EXPLAINED:
            return "$: the value fits none of the alternatives"
        errors = self._validator.iter_errors(value)
        worst = min(errors, key=lambda error: (len(error.instance_path), error.message))
        return f"{_place(worst.instance_path)}: {_shortened(worst.message)}"

    def _compile(self, text: str, strict: bool) -> None:
        given: Any = _representable(json.loads(text))
        declared = _DECLARED.search(str(given.pop("$schema", "")))
        if declared is None:
            given = json.loads(json.dumps(given), object_hook=_without_openapi)
        drafts = [declared[1] if declared else _NEWEST]
        for draft in drafts:
            schema = json.loads(json.dumps(given))
            self._uses = _Uses(schema)
            if self._uses.visits(0) > _MOST_VISITS:
                self.unusable = "its references multiply"
                return
            try:
                self._validator = self._compiled(_DRAFTS[draft], schema, strict)
            except _MalformedError as error:
                self.unusable = str(error)
                older = _OLDER.get(error.member)
                drafts += [older] if older and drafts == [_NEWEST] and not declared else []
            else:
                self.unusable = None
                patterns = sorted(self._uses.patterns)
                self.left_out = tuple(each for each in patterns if _regex(each) is None)

    def _compiled(
        self, draft: type[rs.Validator], schema: dict[str, Any], strict: bool
    ) -> rs.Validator:
        """Compile a schema without the members that its writer did not set.

        Raises _MalformedError.

        Serializers write those as null, and PHP writes an empty list for an empty object.
        """
        keywords: dict[str, Any] = {"pattern": partial(_Pattern, self._give_up), **_ANNOTATIONS}
        for _ in range(_MOST_UNSET):
            try:
                return draft(
                    schema,
                    keywords=keywords,
                    validate_formats=strict,
                    formats=dict.fromkeys(_OTHER_FORMATS, lambda _: True),
                    pattern_options=rs.RegexOptions(),  # of patternProperties: linear time only
                    offline=True,
                )
            except rs.ValidationError as error:
                path = error.instance_path
                if error.instance not in (None, []) or not _unset(schema, path):
                    at = f"{_place(path)}: " if path else ""
                    member = path[-1] if path else None
                    raise _MalformedError(f"{at}{_shortened(error.message)}", member) from None
        raise _MalformedError(f"more than {_MOST_UNSET} of its members are null", None)

    def _give_up(self) -> None:
        self._endless = True


_cached = lru_cache(maxsize=256)(SchemaValidator)


class _Pattern:
    """The keyword `pattern` with regular expressions of ECMA-262."""

    def __init__(self, give_up: Callable[[], None], _: object, pattern: str, __: object) -> None:
        """Compile a pattern; `give_up` is called if a match takes too long."""
        self._give_up = give_up
        self._regex = _regex(pattern)

    def validate(self, instance: object) -> None:
        """Raise ValueError if a string does not match."""
        if not isinstance(instance, str) or self._regex is None:
            return
        try:
            found = self._regex.test(instance)
        except ecma.MatchLimitError:
            self._give_up()
            return
        if not found:
            shown = json.dumps(instance, ensure_ascii=False)
            raise ValueError(f"{shown} does not match {json.dumps(self._regex.pattern)}")


class _Annotation:
    """A keyword that only describes a value."""

    def __init__(self, *_: object) -> None: ...

    def validate(self, _: object) -> None:
        """Accept any value."""


_ANNOTATIONS = dict.fromkeys(("contentEncoding", "contentMediaType"), _Annotation)


class _Uses:
    """What a schema uses, and how often it may apply its parts to one value.

    References can make a short schema apply exponentially many subschemas.

    Attributes:
        keywords: the names of all members of the schema, at any depth.
        patterns: all members `pattern`.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Read a schema, valid or not."""
        self.keywords: set[str] = set()
        self.patterns: set[str] = set()
        self._root = schema
        self._anchors: dict[str, object] = {}
        self._known: dict[tuple[int, int], int] = {}
        self._read(schema)

    def visits(self, levels: int) -> int:
        """The most subschemas that one place in a value with so many levels may meet."""
        try:
            return self._visits(self._root, levels)
        except RecursionError:
            return _MOST_VISITS + 1

    def _read(self, value: object) -> None:
        if isinstance(value, dict):
            self.keywords |= value.keys()
            if isinstance(pattern := value.get("pattern"), str):
                self.patterns.add(pattern)
            names = (value.get(key) for key in ("$anchor", "$dynamicAnchor", "$id", "id"))
            self._anchors |= {name.lstrip("#"): value for name in names if isinstance(name, str)}
            value = list(value.values())
        for inner in value if isinstance(value, list) else ():
            self._read(inner)

    def _visits(self, schema: object, levels: int) -> int:
        if not isinstance(schema, dict) or levels < 0:
            return 1
        key = id(schema), levels
        if key not in self._known:
            self._known[key] = 0  # until it is known; a validator stops at a circle, too
            total = 1 + sum(self._visits(inner, levels) for inner in self._in_place(schema))
            total += sum(self._visits(inner, levels - 1) for inner in _below(schema))
            for alternatives in _apart(schema):
                total += max((self._visits(inner, levels - 1) for inner in alternatives), default=0)
            twice = "unevaluatedProperties" in schema or "unevaluatedItems" in schema
            self._known[key] = min(total * (2 if twice else 1), _MOST_VISITS + 1)
        return self._known[key]

    def _in_place(self, schema: Mapping[str, Any]) -> Iterator[object]:
        """The subschemas that judge the same value."""
        for key in ("$ref", "$dynamicRef", "$recursiveRef"):
            if isinstance(reference := schema.get(key), str):
                yield self._resolved(reference)
        for key in ("allOf", "anyOf", "oneOf"):
            if isinstance(schemas := schema.get(key), list):
                yield from schemas
        yield from _children(schema, _IN_PLACE)

    def _resolved(self, reference: str) -> object:
        """What a reference within the schema refers to."""
        fragment = unquote(reference.partition("#")[2])
        if not fragment.startswith("/"):
            return self._anchors.get(fragment or reference, self._root)
        found: object = self._root
        for part in fragment[1:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list):
                found = found[int(name)] if name.isdecimal() and int(name) < len(found) else None
            else:
                found = found.get(name) if isinstance(found, dict) else None
        return found


def _below(schema: Mapping[str, Any]) -> Iterator[object]:
    """The subschemas that judge a member or an entry of the value, in addition to others."""
    yield from _children(schema, _BELOW)
    if isinstance(items := schema.get("items"), dict):
        yield items


def _apart(schema: Mapping[str, Any]) -> Iterator[Sequence[object]]:
    """The subschemas of which one judges a member or an entry of the value."""
    properties = schema.get("properties")
    yield list(properties.values()) if isinstance(properties, dict) else []
    for key in ("items", "prefixItems"):
        yield entries if isinstance(entries := schema.get(key), list) else []


def _children(schema: Mapping[str, Any], keys: Sequence[str]) -> Iterator[object]:
    for key in keys:
        inner = schema.get(key)
        if key in ("dependencies", *_MAPS):
            yield from inner.values() if isinstance(inner, dict) else ()
        elif inner is not None:
            yield inner


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> ecma.Regex | None:
    """A regular expression of ECMA-262, as Unicode if that is possible; None if it is none.

    Without Unicode, ECMA-262 takes anchors, classes and counts of other languages literally. Their
    writer meant something else.
    """
    for flags in ("u", "") if _OTHER_LANGUAGE.search(pattern) is None else ("u",):
        try:
            return ecma.compile(pattern, flags, timeout=_MATCH_SECONDS)
        except ecma.error:
            continue
    return None


def _without_openapi(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema in words of JSON Schema, if it has those of OpenAPI 3.0.

    https://spec.openapis.org/oas/v3.0.4.html#schema-object
    """
    for limit in ("minimum", "maximum"):
        name = f"exclusive{limit.capitalize()}"
        if isinstance(excluded := schema.get(name), bool):
            at_limit = isinstance(schema.get(limit), int | float)
            schema[name] = schema.pop(limit) if excluded and at_limit else None
    if schema.get("nullable") is True:
        if isinstance(kind := schema.get("type"), str):
            schema["type"] = [kind, "null"]
        if isinstance(values := schema.get("enum"), list) and None not in values:
            schema["enum"] = [*values, None]
    return schema


def _unset(schema: Any, path: Sequence[str | int]) -> bool:  # noqa: ANN401
    """Remove the null or the empty list that a path leads to, and return whether it did.

    An entry or a named subschema accepts anything then. jsonschema-rs 0.61 leaves empty names out
    of its paths, which then lead elsewhere.
    """
    if not path:
        return False
    *outer, last = path
    try:
        for key in outer:
            schema = schema[key]
        found = schema[last] in (None, [])
    except (KeyError, IndexError, TypeError):
        return False
    if found and (isinstance(schema, list) or (outer and outer[-1] in _MAPS)):
        schema[last] = True
    elif found:
        del schema[last]
    return found


def _representable(value: object) -> object:
    """The same value without lone surrogates and infinite floats, which UTF-8 and JSON lack."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return _BEYOND.copy_sign(Decimal(value))
    if isinstance(value, Mapping):
        return {str(_representable(key)): _representable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_representable(inner) for inner in value]
    return value


def _levels(value: object) -> int:
    """How many arrays and objects contain the innermost part of a value."""
    inner = list(value.values()) if isinstance(value, dict) else value
    return 1 + max(map(_levels, inner), default=0) if isinstance(inner, list) else 0


def _place(path: Sequence[str | int]) -> str:
    """A JSON path."""
    steps = (
        f".{step}"
        if isinstance(step, str) and _NAME.fullmatch(step)
        else f"[{json.dumps(step, ensure_ascii=False)}]"
        for step in path
    )
    return "$" + "".join(steps)


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…"
