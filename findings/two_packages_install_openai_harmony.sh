#!/usr/bin/env bash
# openai-harmony 0.0.8 (OpenAI's) and oss-harmony 0.0.11 (a fork, which vLLM has required since 0.31)
# install the same module, openai_harmony. pip overwrites one with the other without a word, `pip
# check` finds nothing wrong, and uninstalling either leaves the other without its module.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
pip() { "$python" -m pip --disable-pip-version-check "$@"; }

pip install --quiet openai-harmony==0.0.8
first=$("$python" -c 'import openai_harmony as m, hashlib; print(hashlib.sha256(open(m.openai_harmony.__file__, "rb").read()).hexdigest()[:12])')
pip install --quiet --no-deps oss-harmony==0.0.11 2>"$work/warnings"
last=$("$python" -c 'import openai_harmony as m, hashlib; print(hashlib.sha256(open(m.openai_harmony.__file__, "rb").read()).hexdigest()[:12])')
check=$(pip check)
pip uninstall --quiet --yes openai-harmony
after=$("$python" -c 'import openai_harmony; print(openai_harmony.__file__)' 2>&1 | tail -1) || true

echo "module after openai-harmony $first, after oss-harmony beside it $last"
echo "pip on overwriting: $(grep -ciE 'overwr|conflict|replac' "$work/warnings" || true) warnings"
echo "pip check: $check"
echo "oss-harmony is still listed: $(pip list --format=freeze | grep harmony)"
echo "importing the module: $after"
# Seen on 2026-11-29 with pip 23.2.1: two digests, 0 warnings, "No broken requirements found.",
# "oss-harmony==0.0.11", "ModuleNotFoundError: No module named 'openai_harmony'".
[ "$first" != "$last" ]
! grep -qiE 'overwr|conflict|replac' "$work/warnings"
[ "$check" = "No broken requirements found." ]
[ "$(pip list --format=freeze | grep harmony)" = "oss-harmony==0.0.11" ]
[[ $after == *"No module named 'openai_harmony'"* || $after == None ]]
