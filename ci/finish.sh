#!/usr/bin/env bash
# Ends the job with the exit code of the tool, but with 0 for an inconclusive run (4) if the input
# fail-on-inconclusive is not true.
set -euo pipefail

if [ "$EXIT_CODE" = 4 ] && [ "$FAIL_ON_INCONCLUSIVE" != true ]; then
    exit 0
fi
exit "${EXIT_CODE:-1}"
