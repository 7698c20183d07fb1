#!/usr/bin/env bash
# Shows that the data plane stands alone: copies the project without src/{crd,reconcile,controller,cli} (of the last only the
# stand-in model stays, which the tests use as an upstream) and runs the limiter's tests. Argument: a folder for Jest's reports.
set -euo pipefail

copy=$(mktemp -d)
results=${1:-$copy}
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy" 2>/dev/null || true
ln -s "$PWD/node_modules" "$copy/node_modules"
rm -rf "$copy"/src/{crd,reconcile,controller}
find "$copy/src/cli" -type f ! -name 'stand-in-*' -delete
cd "$copy"
status=0
jest() {
  node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js --selectProjects "$@" \
    --json --outputFile "$results/limiter-alone-$1.json" --testPathPatterns test/lib test/contract test/limiter || status=1
}
jest unit
# One at a time: servers that are killed and fail over want the machine for themselves.
jest redis --runInBand --forceExit
exit "$status"
