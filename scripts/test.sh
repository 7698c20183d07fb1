#!/usr/bin/env bash
# `make test`: every stage in the order of its needs, each with its seconds; ends with a line "N passed, N failed, N skipped".
set -uo pipefail

export NODE_OPTIONS="${NODE_OPTIONS:-} --disable-warning=ExperimentalWarning"
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed_stages=$results/failed-stages
touch "$failed_stages"

stage() {
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@" || echo "$name" >>"$failed_stages"
  echo "== $name: $((SECONDS - began)) s"
}

# jest PROJECT REPORT [FLAG…]
jest() {
  local project=$1 report=$2
  shift 2
  node --experimental-vm-modules node_modules/jest/bin/jest.js --selectProjects "$project" \
    --json --outputFile "$results/$report.json" "$@"
}

# The longest end-to-end test goes to the side that is done earlier.
upgrade='test/e2e/upgrade\.e2e\.test\.ts$'
# Tests with pods wait most of their time (for a kubelet, a rollout, a lease), so they run beside everything else.
with_pods() {
  # Without the images its tests say what is missing.
  if [[ $(id -u) == 0 ]] && command -v buildah >/dev/null 2>&1; then stage images node tools/node-cluster/cli.ts build-images; fi
  stage node jest node node --runInBand --forceExit
  stage e2e-upgrade jest e2e e2e-upgrade --runInBand --forceExit --testPathPatterns "$upgrade"
}
with_pods >"$results/with-pods.log" 2>&1 &

stage lint npm run --silent lint
# Each test once: those of the data plane run in the copy without a control plane.
stage limiter-alone scripts/test-limiter.sh "$results"
others=(--testPathIgnorePatterns /node_modules/ "$PWD/test/(lib|contract|limiter)/")
stage unit jest unit unit "${others[@]}"
stage process jest process process
# --forceExit: a red test that left a server connected must not keep the others from being told.
stage redis jest redis redis "${others[@]}" --runInBand --forceExit
# Two files at a time: each has a control plane of its own, and most of their time is waiting.
stage cluster jest cluster cluster --forceExit
stage e2e jest e2e e2e --runInBand --forceExit --testPathIgnorePatterns /node_modules/ "$upgrade"
wait
cat "$results/with-pods.log"

node scripts/count-tests.ts "$results" "$(wc -l <"$failed_stages")"
if [[ -s $failed_stages ]]; then
  echo "failed: $(paste -sd ' ' "$failed_stages")"
  exit 1
fi
