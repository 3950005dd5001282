#!/usr/bin/env bash
# Installs this action's version of the tool in a separate virtual environment.
set -euo pipefail

place="$RUNNER_TEMP/gpt-oss-verify"
source="$GITHUB_ACTION_PATH"
if [ -n "${EXTRAS:-}" ]; then
    source="$source[$EXTRAS]"
fi
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip --disable-pip-version-check install --quiet \
    --constraint "$GITHUB_ACTION_PATH/constraints.txt" "$source"
echo "$place/venv/bin" >>"$GITHUB_PATH"
