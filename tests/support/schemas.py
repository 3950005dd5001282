"""Random JSON schemas of all drafts, valid and malformed, and values for them."""

import json
import random

KEYWORDS = """
type enum const multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength
pattern format minItems maxItems uniqueItems contains minContains maxContains items prefixItems
additionalItems unevaluatedItems properties required patternProperties additionalProperties
unevaluatedProperties propertyNames minProperties maxProperties dependencies dependentRequired
dependentSchemas allOf anyOf oneOf not if then else $ref $dynamicRef $recursiveRef $defs definitions
$id id $anchor $dynamicAnchor $schema $vocabulary $comment default examples title description
nullable readOnly contentEncoding contentMediaType contentSchema discriminator strict
""".split()
COMMON = """
type enum const multipleOf minimum maximum minLength maxLength pattern format minItems maxItems
items prefixItems properties required additionalProperties anyOf oneOf allOf not if description
nullable
""".split()
DRAFTS = (
    *(f"http://json-schema.org/draft-{number}/schema#" for number in ("03", "04", "06", "07")),
    *(
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ),
    *(
        "http://json-schema.org/schema#",
        "https://json-schema.org/draft-07/schema",
        "x",
        7,
        None,
        "",
    ),
    *("https://spec.openapis.org/oas/3.1/dialect/base", "urn:example:dialect", "http://[", "%%%"),
)
NAMES = ("a", "b", "city", "properties", "$ref", "é", "", "a b", "type", "\ud800", "pattern")
PATTERNS = (
    *(
        *("^a", "a$", "[a-z]") * 9,
        "(",
        r"^\p{Lu}+$",
        "(?P<y>a)",
        "(?i)x",
        r"\d{4}",
        "[",
        "^(?!x)",
        r"(?<y>a)\k<y>",
        "(a+)+$",
    ),
    *(r"^(a|aa)+\1$", "(a{1000}){1000}", r"\Z", "", "\ud800", r"\u{1F600}", "a{,3}", "[[:alpha:]]"),
)
REFERENCES = (
    *(
        "#",
        "#/$defs/a",
        "#/definitions/a",
        "#/properties/a",
        "#a",
        "#/nowhere",
        "other.json",
        "http://[",
    ),
    *(
        "http://127.0.0.1:9/a.json",
        "file:///etc/passwd",
        DRAFTS[3],
        "#/%ZZ",
        "#/$defs/~2",
        "",
        "urn:a:b",
    ),
)
TYPES = ("string", "number", "integer", "boolean", "null", "array", "object") * 9 + ("any", "int")
FORMATS = ("date", "date-time", "time", "email", "ipv6", "uri", "regex", "int64", "x", "uuid", "")
LEAVES = (
    *(None, True, False, 0, 1, -1, 1.5, 0.01, 1e308, -0.0, 2**53 + 1, 2**63, -(2**63), 10**400),
    *("", "a", "1", "é", "\ud800", "2026-02-30", "\x00", [], {}, [[]], [{}], {"a": None}),
)


ODD_NUMBERS = (0, -1, 0.01, 2**63, 1e308, True, False, 1.5, "1", None, 10**400)


def schema(chance: random.Random, levels: int = 4) -> object:
    """A schema, or what somebody might send in place of one."""
    if levels == 0 or chance.random() < 0.02:
        return chance.choice((True, False, {}, None, [], "string", 5, {"type": "string"}))
    made = {name: _keyword(chance, name, levels) for name in _chosen(chance, levels)}
    return made if chance.random() < 0.99 else [made]


def parameters(chance: random.Random) -> object:
    """The parameters of a function: mostly an object with properties."""
    if chance.random() < 0.1:
        return schema(chance)
    made = {"type": "object", "properties": _map(NAMES, schema)(chance, 2)}
    for name in _chosen(chance, 2):
        made.setdefault(name, _keyword(chance, name, 3))
    if chance.random() < 0.3:
        made["$schema"] = chance.choice(DRAFTS)
    return made


def closed(chance: random.Random, levels: int = 3) -> dict[str, object]:
    """A schema that strict mode may accept: its objects have no keys but those that it names."""
    kind = chance.choice(("string", "number", "object", "array", "any of", "constant", "reference"))
    if levels == 0 or kind in ("string", "number"):
        kind = chance.choice(("string", "number", "integer", "boolean"))
        asked = {name: _keyword(chance, name, 0) for name in chance.sample(_LIMITS[kind], 2)}
        optional = chance.choice((kind, [kind, "null"]))
        return {"type": optional, **asked} if chance.random() < 0.9 else {"type": kind, **asked}
    if kind == "constant":
        return chance.choice(
            ({"const": chance.choice(LEAVES)}, {"enum": chance.choices(LEAVES, k=3)})
        )
    if kind == "any of":
        return {"anyOf": [closed(chance, levels - 1) for _ in range(2)]}
    if kind == "array":
        limits = {
            name: chance.choice((0, 1, 2)) for name in chance.sample(("minItems", "maxItems"), 1)
        }
        listed = {"prefixItems": [closed(chance, levels - 1)]} if chance.random() < 0.3 else {}
        return {
            "type": "array",
            "items": closed(chance, levels - 1),
            "uniqueItems": False,
            **limits,
            **listed,
        }
    names = chance.sample(NAMES, 2)
    members = {name: closed(chance, levels - 1) for name in names}
    made = {"type": "object", "properties": members, "required": names[: chance.randrange(3)]}
    if chance.random() < 0.8:
        made["additionalProperties"] = False
    if kind == "reference":
        return made | {
            "$defs": {"a": closed(chance, 1)},
            "properties": members | {"b": {"$ref": "#/$defs/a"}},
        }
    return made


_NUMERIC = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "nullable")
_LIMITS = {
    "string": ("minLength", "maxLength", "pattern", "format", "description"),
    "number": _NUMERIC,
    "integer": _NUMERIC,
    "boolean": ("description", "nullable"),
}


def value(chance: random.Random, levels: int = 3) -> object:
    """A JSON value."""
    if levels == 0 or chance.random() < 0.4:
        return chance.choice(LEAVES)
    if chance.random() < 0.4:
        return [value(chance, levels - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(NAMES): value(chance, levels - 1) for _ in range(chance.randrange(4))}


def _chosen(chance: random.Random, levels: int) -> list[str]:
    names = KEYWORDS if chance.random() < 0.3 else COMMON
    return chance.sample(names, chance.randrange(1, 2 + levels))


def _keyword(chance: random.Random, name: str, levels: int) -> object:
    """The value of a keyword: often one that fits it, sometimes any other."""
    if chance.random() < 0.03:
        return value(chance, 2)
    if name.startswith(("min", "max", "multiple", "exclusive")):
        return chance.choice((1, 2, 3) if chance.random() < 0.8 else ODD_NUMBERS)
    for names, made in _VALUES.items():
        if name in names.split():
            return made(chance, levels - 1)
    return schema(chance, levels - 1)


def _list(made):
    return lambda chance, levels: [made(chance, levels) for _ in range(chance.randrange(4))]


def _map(keys, made):
    return lambda chance, levels: {
        chance.choice(keys): made(chance, levels) for _ in range(chance.randrange(4))
    }


def _one_of(choices):
    return lambda chance, _: chance.choice(choices)


_VALUES = {
    "type": lambda chance, _: chance.choice((chance.choice(TYPES), chance.choices(TYPES, k=2))),
    "enum examples": _list(_one_of(LEAVES)),
    "const default": _one_of(LEAVES),
    "pattern": _one_of(PATTERNS),
    "patternProperties": _map(PATTERNS, schema),
    "allOf anyOf oneOf prefixItems": _list(schema),
    "items": lambda chance, levels: (
        schema(chance, levels) if chance.random() < 0.6 else [schema(chance, levels)] * 2
    ),
    "properties $defs definitions dependentSchemas dependencies": _map(NAMES, schema),
    "dependentRequired": _map(NAMES, _list(_one_of(NAMES))),
    "required": _list(_one_of(NAMES)),
    "$ref $dynamicRef $recursiveRef $id id": _one_of(REFERENCES),
    "$schema": _one_of(DRAFTS),
    "format": _one_of(FORMATS),
    "uniqueItems nullable readOnly strict": _one_of((True, False)),
    "$anchor $dynamicAnchor $comment title description discriminator": _one_of(NAMES[:3]),
    "contentEncoding contentMediaType": _one_of(("base64", "application/json")),
}


def recorded(chance: random.Random, api: str) -> str:
    """A line of JSON: an exchange whose request has generated schemas, and a random reply.

    It lacks what a recording cannot have: lone surrogates, and numbers that are infinite as floats.
    """
    name, strict = chance.choice(("f", "lookup")), chance.choice((True, False, None))
    function = {"name": name, "parameters": parameters(chance), "strict": strict}
    custom = {"type": "grammar", "definition": "start: /a/", "syntax": "lark"}
    answer = {"name": "reply", "schema": schema(chance), "strict": strict}
    written = json.dumps(value(chance) if chance.random() < 0.3 else _object(chance))
    called, formatted = chance.random() < 0.6, chance.random() < 0.5
    counts = {"total_tokens": 130}
    text = {"content": written, "tool_calls": None}
    if api == "chat":
        tools = [{"type": "function", "function": function}, {"type": "custom", "custom": custom}]
        made = {
            "id": "call_1",
            "type": "function",
            "function": {"name": name, "arguments": written},
        }
        message = {"content": None, "tool_calls": [made]} if called else text
        wanted = {"response_format": {"type": "json_schema", "json_schema": answer}}
        reply = {
            "id": f"chatcmpl-{chance.random()}",
            "object": "chat.completion",
            "created": 1764370000,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "reasoning": "I call f.", **message},
                    "finish_reason": "tool_calls" if called else "stop",
                }
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 30, **counts},
        }
        request = {"messages": [{"role": "user", "content": "Say something."}]}
    else:
        tools = [
            {"type": "function", **function},
            {"type": "custom", "name": "c", "format": custom},
        ]
        made = {"id": "fc_1", "call_id": "call_1", "type": "function_call", "name": name}
        part = {"type": "output_text", "text": written, "annotations": []}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [part]}
        item = {**made, "arguments": written} if called else message
        wanted = {"text": {"format": {"type": "json_schema", **answer}}}
        reply = {
            "id": f"resp_{chance.random()}",
            "object": "response",
            "created_at": 1764370000,
            "status": "completed",
            "output": [{**item, "status": "completed"}],
            "usage": {"input_tokens": 100, "output_tokens": 30, **counts},
        }
        request = {"input": "Say something."}
    request |= {"model": "openai/gpt-oss-20b"} | (wanted if formatted else {})
    if called or chance.random() < 0.5:
        request["tools"] = tools
    line = json.dumps({"request": request, "response": reply | {"model": "openai/gpt-oss-20b"}})
    return line.replace(r"\ud800", r"\ufffd").replace(str(10**400), "1e300")


def _object(chance: random.Random) -> dict[str, object]:
    return {chance.choice(NAMES): value(chance, 2) for _ in range(chance.randrange(4))}
