#!/usr/bin/env bash
# Exits with the tool's exit code, except that an inconclusive run (4) exits with 0 unless the input
# fail-on-inconclusive is true.
set -euo pipefail

if [ "$EXIT_CODE" = 4 ] && [ "$FAIL_ON_INCONCLUSIVE" != true ]; then
    exit 0
fi
exit "${EXIT_CODE:-1}"
