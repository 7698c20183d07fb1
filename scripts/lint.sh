#!/usr/bin/env bash
# ESLint beside Prettier and the types: half the time on two cores, the same checks.
set -uo pipefail

eslint . &
eslint=$!
status=0
prettier --check . || status=1
npm run --silent typecheck || status=1
wait "$eslint" || status=1
exit "$status"
