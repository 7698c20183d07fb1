#!/usr/bin/env bash
# Installs what the tests need from outside npm, and says so first: Redis from Debian, the Kubernetes programs through Go.
# What cannot be had is said; its tests are then skipped by name (and fail with CI=true or STRICT=1).
set -euo pipefail

want_packages=(redis-server redis-sentinel redis-tools)

missing=()
for program in redis-server redis-sentinel redis-cli; do
  command -v "$program" >/dev/null 2>&1 || missing+=("$program")
done

if ((${#missing[@]} > 0)); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null 2>&1; then
    echo "installing Debian packages: ${want_packages[*]} (missing: ${missing[*]})"
    apt-get update -qq
    # RUNLEVEL=1: the packages do not start their services.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${want_packages[@]}" >/dev/null
  else
    echo "not installed: ${missing[*]}; to enable the Redis tests: apt-get install ${want_packages[*]}"
  fi
fi

if [[ -z ${WEIR_TEST_KUBECONFIG:-} && -z ${KUBEBUILDER_ASSETS:-} ]]; then
  if command -v go >/dev/null 2>&1; then
    node test/cluster/cli.ts build
  else
    echo "no Go on the PATH: tests that need an API server are skipped; to enable: install Go, or set WEIR_TEST_KUBECONFIG"
  fi
fi
