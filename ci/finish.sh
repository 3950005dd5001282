#!/usr/bin/env bash
# Ends the job with the exit code of the tool; 4, inconclusive, only where that is asked.
set -euo pipefail

if [ "$EXIT_CODE" = 4 ] && [ "$FAIL_ON_INCONCLUSIVE" != true ]; then
    exit 0
fi
exit "${EXIT_CODE:-1}"
