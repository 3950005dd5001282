#!/usr/bin/env bash
# xgrammar 0.2.8, with which vLLM and SGLang constrain answers, drops `type`, `properties` and
# `additionalProperties` if an `anyOf` stands beside them: the schema "a berth, and a harbour or a
# flag" becomes "any JSON value", and 5 is a valid answer. No warning is written. Schemas that say
# "at least one of these members" are usually spelled so. The same schema without `anyOf` refuses 5.
# The reverse holds for a bare `required`: {"type": "object", "required": ["a"]} accepts {}, and
# refuses {"a": 1}. `uniqueItems` has no effect, and no warning either; a lookahead
# in a pattern has none, with a warning; `$ref` has its effect.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check --quiet install xgrammar==0.2.8 \
    torch==2.13.0 transformers==5.23.0
cat >"$work/show.py" <<'PY'
import json
import xgrammar

STOP = 95
vocabulary = xgrammar.TokenizerInfo([*map(chr, range(32, 127)), "<stop>"], stop_token_ids=[STOP])
compiler = xgrammar.GrammarCompiler(vocabulary)


def accepts(schema, text):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
    return matcher.accept_string(text) and matcher.accept_token(STOP)


ship = {
    "type": "object",
    "properties": {
        "berth": {"type": "integer"},
        "harbour": {"type": "string"},
        "open": {"type": "boolean"},
    },
    "required": ["berth"],
    "additionalProperties": False,
}
either = ship | {"anyOf": [{"required": ["harbour"]}, {"required": ["open"]}]}
names = {"type": "string", "pattern": "^(?=D)[A-Z]{5}$"}
distinct = {"type": "array", "items": {"$ref": "#/$defs/H"}, "uniqueItems": True}
distinct |= {"$defs": {"H": {"type": "string", "enum": ["Brest", "Dover"]}}}
bare = {"type": "object", "required": ["a"]}
for name, schema, text in (
    ("without anyOf", ship, "5"),
    ("without anyOf", ship, '{"berth": 12}'),
    ("with anyOf", either, "5"),
    ("with anyOf", either, '{"berth": 12}'),
    ("with anyOf", either, '{"pier": [1]}'),
    ("lookahead", names, '"BREST"'),
    ("uniqueItems", distinct, '["Brest", "Brest"]'),
    ("$ref", distinct, '["Lisbon"]'),
    ("only required", bare, "{}"),
    ("only required", bare, '{"a": 1}'),
):
    print(name, text, "accepted" if accepts(schema, text) else "refused")
PY
cat >"$work/seen" <<'TEXT'
without anyOf 5 refused
without anyOf {"berth": 12} accepted
with anyOf 5 accepted
with anyOf {"berth": 12} accepted
with anyOf {"pier": [1]} accepted
lookahead "BREST" accepted
uniqueItems ["Brest", "Brest"] accepted
$ref ["Lisbon"] refused
only required {} accepted
only required {"a": 1} refused
TEXT
"$work/venv/bin/python" "$work/show.py" >"$work/found" 2>"$work/errors" || { cat "$work/errors"; exit 1; }
if grep -vi lookahead "$work/errors" | grep -i warning; then exit 1; fi
diff "$work/seen" "$work/found"
cat "$work/found"
