#!/usr/bin/env bash
# `make test`: every stage in the order of its needs, each with its seconds; ends with a line "N passed, N failed, N skipped".
set -uo pipefail

export NODE_OPTIONS="${NODE_OPTIONS:-} --disable-warning=ExperimentalWarning"
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
failed_stages=()

stage() {
  local name=$1 began=$SECONDS
  shift
  echo "== $name"
  "$@" || failed_stages+=("$name")
  echo "== $name: $((SECONDS - began)) s"
}

jest() {
  local project=$1
  shift
  node --experimental-vm-modules node_modules/jest/bin/jest.js --selectProjects "$project" \
    --json --outputFile "$results/$project.json" "$@"
}

stage lint npm run --silent lint
# Each test once: those of the data plane run in the copy without a control plane.
stage limiter-alone scripts/test-limiter.sh "$results"
others=(--testPathIgnorePatterns /node_modules/ "$PWD/test/(lib|contract|limiter|store)/")
stage unit jest unit "${others[@]}"
# --forceExit: a red test that left a server connected must not keep the others from being told.
stage redis jest redis "${others[@]}" --runInBand --forceExit
# Two files at a time: each has a control plane of its own, and most of their time is waiting.
stage cluster jest cluster --forceExit
# Without them its tests say what is missing.
if [[ $(id -u) == 0 ]] && command -v buildah >/dev/null 2>&1; then stage images node test/cluster/cli.ts build-images; fi
stage node jest node --runInBand --forceExit
stage e2e jest e2e --runInBand --forceExit

node scripts/count-tests.ts "$results" "${#failed_stages[@]}"
if ((${#failed_stages[@]} > 0)); then
  echo "failed: ${failed_stages[*]}"
  exit 1
fi
