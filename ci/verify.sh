#!/usr/bin/env bash
# Verifies a provider as the inputs of action.yml say, and reports to GitHub. The exit code of the
# tool becomes an output; ci/finish.sh turns it into that of the job, after the report is kept.
set -euo pipefail

place="$RUNNER_TEMP/gpt-oss-verify"
mkdir -p "$place"
arguments=(--json "--out=$place/runs")

give() {
    if [ -n "$2" ]; then
        arguments+=("$1=$2")
    fi
}

give --provider "$PROVIDER"
give --providers "$PROVIDERS_FILE"
give --base-url "$BASE_URL"
give --model "$MODEL"
give --apis "$APIS"
give --api-key-env "$API_KEY_ENV"
give --suite "$SUITE"
give --evals "$EVALS"
give --tries "$TRIES"
give --gate "$GATE"
give --max-invalid "$MAX_INVALID"
give --min-pass-at-k "$MIN_PASS_AT_K"
give --min-pass-hat-k "$MIN_PASS_HAT_K"
give --max-cost "$MAX_COST"
give --max-requests "$MAX_REQUESTS"
give --deadline "$DEADLINE"
if [ -n "$ARGS" ]; then
    # Words as a shell would read them, quotes and all, but nothing in them is expanded.
    if ! printf '%s\n' "$ARGS" | xargs printf '%s\0' >"$place/words"; then
        echo "::error title=gpt-oss-verify::The input args has a quote without its pair."
        exit 2
    fi
    while IFS= read -r -d '' word; do
        arguments+=("$word")
    done <"$place/words"
fi

# Output of the tool may quote the provider, which must not give commands to the runner.
token="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
echo "::stop-commands::$token"
set +e
gpt-oss-verify "${arguments[@]}" 2>&1 >"$place/result.json" | tee "$place/log.txt"
code="${PIPESTATUS[0]}"
set -e
printf '\n::%s::\n' "$token"

gpt-oss-verify ci-summary "$place/result.json" --log "$place/log.txt" --code "$code"
