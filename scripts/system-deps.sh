#!/usr/bin/env bash
# Installs what the tests need from outside npm, and says so first: Redis and the parts of a node from Debian, the Kubernetes programs through Go.
# What cannot be had is said; its tests are then skipped by name (and fail with CI=true or STRICT=1).
set -euo pipefail

# program=package; a path instead of a program where no program tells.
redis=(redis-server=redis-server redis-sentinel=redis-sentinel redis-cli=redis-tools)
node=(
  containerd=containerd runc=runc /usr/lib/cni/bridge=containernetworking-plugins ip=iproute2 iptables=iptables
  conntrack=conntrack ipset=ipset socat=socat catatonit=catatonit /bin/busybox=busybox-static buildah=buildah
  debootstrap=debootstrap promtool=prometheus
)
export PATH=$PATH:/usr/sbin:/sbin

# No package may start its service: containerd and Redis are run by the tests, in places of their own.
install_quietly() {
  local refusal=/usr/sbin/policy-rc.d made=no
  if [[ ! -e $refusal ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$refusal" && chmod 755 "$refusal" && made=yes
  fi
  apt-get update -qq
  local status=0
  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null || status=$?
  [[ $made == no ]] || rm -f "$refusal"
  return "$status"
}

# $1: which tests need them; then the list.
want() {
  local tests=$1 packages=() entry
  shift
  for entry in "$@"; do
    command -v "${entry%%=*}" >/dev/null 2>&1 || packages+=("${entry#*=}")
  done
  ((${#packages[@]} > 0)) || return 0
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null 2>&1; then
    echo "installing Debian packages: ${packages[*]}"
    install_quietly "${packages[@]}"
  else
    echo "not installed: ${packages[*]}; to enable the $tests tests: apt-get install ${packages[*]}"
  fi
}

want Redis "${redis[@]}"
if [[ -z ${WEIR_TEST_KUBECONFIG:-} ]]; then
  want node "${node[@]}"
fi

if [[ -z ${WEIR_TEST_KUBECONFIG:-} && -z ${KUBEBUILDER_ASSETS:-} ]]; then
  if command -v go >/dev/null 2>&1; then
    node tools/node-cluster/cli.ts build
  else
    echo "no Go on the PATH: tests that need an API server are skipped; to enable: install Go, or set WEIR_TEST_KUBECONFIG"
  fi
fi
