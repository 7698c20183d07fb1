#!/usr/bin/env bash
# `make check`: lint beside the tests that need nothing but npm. Ends with what failed and how to run it alone.
set -uo pipefail

export NODE_OPTIONS="${NODE_OPTIONS:-} --disable-warning=ExperimentalWarning"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
began=$SECONDS
failed=()

npm run --silent lint >"$log" 2>&1 &
lint=$!
for project in unit process; do
  node --experimental-vm-modules node_modules/jest/bin/jest.js --selectProjects "$project" || failed+=("make test-$project")
done
wait "$lint" || failed+=("make lint")
cat "$log"

echo "== check: $((SECONDS - began)) s"
if ((${#failed[@]} > 0)); then
  printf 'failed; to run it alone: %s\n' "${failed[@]}"
  exit 1
fi
