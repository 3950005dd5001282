#!/usr/bin/env bash
# @huggingface/jinja 0.5.11, which renders chat templates in Transformers.js and LM Studio: operators have
# the meaning of JavaScript. A text equals a number that it spells, and an empty text equals 0 and false;
# `length` counts UTF-16 units; the remainder of a negative number is negative; `capitalize` leaves the
# rest of a word as it is; `~` with none, as in the content of a message with a call, raises an error.
# A template that is right in Jinja2, without any filter or test that is unknown here, renders otherwise.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/python -m pip --disable-pip-version-check --quiet install jinja2==3.1.6 2>/dev/null
npm install --silent --no-audit --no-fund @huggingface/jinja@0.5.11 >/dev/null 2>&1
cat >cases.json <<'JSON'
["{{ 'equal' if text == 1 else 'other' }}", "{{ 'equal' if empty == 0 else 'other' }}",
 "{{ smiley | length }}", "{{ -1 % 3 }}", "{{ 'hELLO' | capitalize }}", "{{ '<' ~ none ~ '>' }}"]
JSON
cat >render.mjs <<'JS'
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
for (const text of JSON.parse(readFileSync("cases.json", "utf8"))) {
  try {
    console.log(new Template(text).render({ text: "1", empty: "", smiley: "🙂" }));
  } catch (error) {
    console.log(`error: ${error.message}`);
  }
}
JS
cat >render.py <<'PY'
import json
from jinja2 import Template
for text in json.load(open("cases.json")):
    print(Template(text).render(text="1", empty="", smiley="🙂"))
PY
seen=$(paste -d '|' <(venv/bin/python render.py) <(node render.mjs))
echo "$seen"
# Jinja2 and @huggingface/jinja, seen on 2026-11-30:
[ "$seen" = 'other|equal
other|equal
1|2
2|-1
Hello|HELLO
<None>|error: Cannot perform operation on null values' ]
