#!/usr/bin/env bash
# minijinja 3.1.0 (Python): of a dict that the program passes, the names of its methods count as members.
# `"items" in schema` is true for every dict, as for `keys`, `values`, `get`, `pop`, `copy` and `update`,
# although it has no such key; in Jinja2, and for a mapping that the template writes itself, it is false.
# A chat template that asks whether the schema of an array has `items` renders the items of an array that
# has none. That `schema["items"] is defined` tells nothing either is so in both: Jinja2 looks for an
# attribute where a key is missing. The keys of a loop, and `get`, tell.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install minijinja==3.1.0 jinja2==3.1.6 2>/dev/null
seen=$("$work/venv/bin/python" - <<'PY'
import jinja2, minijinja

TESTS = ('"items" in schema', 'schema["items"] is defined', '"items" in {"type": "array"}', 'schema.get("items") is none', '"nothing" in schema')
schema = {"type": "array"}
for test in TESTS:
    theirs = minijinja.Environment().eval_expr(test, schema=schema)
    print(f"{test}: minijinja {theirs}, Jinja2 {jinja2.Environment().compile_expression(test)(schema=schema)}")
PY
)
echo "$seen"
# Seen on 2026-11-30:
[ "$seen" = '"items" in schema: minijinja True, Jinja2 False
schema["items"] is defined: minijinja True, Jinja2 True
"items" in {"type": "array"}: minijinja False, Jinja2 False
schema.get("items") is none: minijinja True, Jinja2 True
"nothing" in schema: minijinja False, Jinja2 False' ]
