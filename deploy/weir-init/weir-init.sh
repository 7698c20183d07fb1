#!/bin/sh
# Redirects what comes in for a pod's port to its limiter. In: WEIR_PORT (the workload's), WEIR_TRAFFIC_PORT (the limiter's),
# WEIR_PROBE_PORT (leads past the limiter). Out: NAT rules in the pod's network, the same again when it runs again.
# Only PREROUTING is touched: what the pod sends, the limiter's own calls of the workload included, goes as before.
set -eu

for name in WEIR_PORT WEIR_TRAFFIC_PORT WEIR_PROBE_PORT; do
  eval "value=\${$name:-}"
  case $value in
    '' | *[!0-9]*) echo "weir-init: $name must be a port, but is \"$value\"" >&2; exit 2 ;;
  esac
done
# The root file system is read-only; there is no other process to wait for.
export XTABLES_LOCKFILE=/dev/null

# The first of the given programs that this kernel answers.
first_working() {
  for program in "$@"; do
    if command -v "$program" >/dev/null 2>&1 && "$program" -t nat -S >/dev/null 2>&1; then
      echo "$program"
      return 0
    fi
  done
  return 1
}

redirect() {
  { "$1" -t nat -N WEIR_INBOUND 2>/dev/null || "$1" -t nat -F WEIR_INBOUND; } &&
    "$1" -t nat -A WEIR_INBOUND -p tcp --dport "$WEIR_PROBE_PORT" -j REDIRECT --to-ports "$WEIR_PORT" &&
    "$1" -t nat -A WEIR_INBOUND -p tcp --dport "$WEIR_PORT" -j REDIRECT --to-ports "$WEIR_TRAFFIC_PORT" &&
    { "$1" -t nat -C PREROUTING ! -i lo -p tcp -j WEIR_INBOUND 2>/dev/null ||
      "$1" -t nat -A PREROUTING ! -i lo -p tcp -j WEIR_INBOUND; } &&
    echo "weir-init: port $WEIR_PORT is redirected to $WEIR_TRAFFIC_PORT by $1"
}

# Whether the pod has an IPv6 address that others reach: scope 00 is global.
has_ipv6() {
  [ -r /proc/net/if_inet6 ] && grep -qE '^[0-9a-f]+ [0-9a-f]+ [0-9a-f]+ 00 ' /proc/net/if_inet6
}

v4=$(first_working iptables-nft iptables-legacy iptables) || {
  echo 'weir-init: neither iptables-nft nor iptables-legacy works here: is NET_ADMIN allowed?' >&2
  exit 1
}
redirect "$v4"

if v6=$(first_working ip6tables-nft ip6tables-legacy ip6tables); then
  redirect "$v6" || ! has_ipv6
elif has_ipv6; then
  echo 'weir-init: the pod has an IPv6 address, but ip6tables does not work: traffic would go past the limiter' >&2
  exit 1
fi
