#!/bin/sh
# jsonschema-rs 0.61.2: a negative lookahead in a pattern changes what \d and \w mean elsewhere in it. JSON
# Schema's patterns are those of ECMA-262, where \d is 0-9 and \w is ASCII. The validator translates
# them so, but not in a pattern with a negative lookahead (one with a
# positive lookahead it does): there they have every digit and letter of Unicode.
# Seen 2026-11-29: without a lookahead: (False, False) with one: (True, True)
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check jsonschema-rs==0.61.2
"$folder/venv/bin/python" - <<'PYTHON'
import jsonschema_rs


def accepts(pattern, text):
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}).is_valid(text)


arabic_one, accented = "\u0661", "\u00e9"
plain = accepts(r"^\d$", arabic_one), accepts(r"^\w$", accented)
ahead = accepts(r"^(?!x)\d$", arabic_one), accepts(r"^(?!x)\w$", accented)
print("without a lookahead:", plain, "with one:", ahead)
assert plain == (False, False), plain
assert ahead == (True, True), ahead
PYTHON
