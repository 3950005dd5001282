#!/usr/bin/env bash
# Verifies a provider with the inputs of action.yml, and reports to GitHub. The tool's exit code
# becomes an output; the last step exits with it after the report has been uploaded.
set -euo pipefail

mkdir -p "$RUNNER_TEMP/gpt-oss-verify"
place="$(mktemp -d "$RUNNER_TEMP/gpt-oss-verify/use-XXXXXX")" # a job may use the action several times
arguments=(--json "--out=$place/runs")

add() {
    if [ -n "$2" ]; then
        arguments+=("$1=$2")
    fi
}

add --provider "$PROVIDER"
add --providers "$PROVIDERS_FILE"
add --base-url "$BASE_URL"
add --model "$MODEL"
add --apis "$APIS"
add --api-key-env "$API_KEY_ENV"
add --suite "$SUITE"
add --evals "$EVALS"
add --tries "$TRIES"
add --gate "$GATE"
add --max-invalid "$MAX_INVALID"
add --min-pass-at-k "$MIN_PASS_AT_K"
add --min-pass-hat-k "$MIN_PASS_HAT_K"
add --max-cost "$MAX_COST"
add --max-requests "$MAX_REQUESTS"
add --deadline "$DEADLINE"
if [ -n "$ARGS" ]; then
    # Split into words with a shell's quoting rules, but without expansion.
    if ! printf '%s\n' "$ARGS" | xargs printf '%s\0' >"$place/words"; then
        : >"$place/result.json"
        echo "gpt-oss-verify: The input args has an unmatched quote." >"$place/log.txt"
        python -P -m gpt_oss_verify.ci "$place/result.json" "$place/log.txt" 2
        exit 2
    fi
    while IFS= read -r -d '' word; do
        arguments+=("$word")
    done <"$place/words"
fi

# The output may quote the provider, which must not be able to send workflow commands to the runner.
token="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
echo "::stop-commands::$token"
set +e
gpt-oss-verify "${arguments[@]}" 2>&1 >"$place/result.json" | tee "$place/log.txt"
code="${PIPESTATUS[0]}"
set -e
printf '\n::%s::\n' "$token"

python -P -m gpt_oss_verify.ci "$place/result.json" "$place/log.txt" "$code"
