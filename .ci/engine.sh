#!/usr/bin/env bash
# A Docker engine in a network namespace of its own, with no way out: the machine's network and firewall stay as they are,
# and no image can be pulled. Needs root, and Debian's docker.io, iptables and iproute2.
#   .ci/engine.sh up DIR       starts it; then DOCKER_HOST=unix://DIR/docker.sock
#   .ci/engine.sh down DIR     ends it, and its namespace
set -euo pipefail
what=${1:?up or down} dir=$(realpath -m "${2:?a folder}")
namespace=engine-$(printf %s "$dir" | cksum | cut -d' ' -f1)

case $what in
  up)
    mkdir -p "$dir"
    ip netns add "$namespace"
    ip -n "$namespace" link set lo up
    nsenter --net="/run/netns/$namespace" setsid dockerd --data-root "$dir/data" --exec-root "$dir/exec" \
      --pidfile "$dir/pid" --host "unix://$dir/docker.sock" >"$dir/log" 2>&1 </dev/null &
    for _ in $(seq 120); do
      if DOCKER_HOST=unix://$dir/docker.sock docker info >/dev/null 2>&1; then exit 0; fi
      sleep 0.25
    done
    tail -n 5 "$dir/log" >&2
    "$0" down "$dir"
    exit 1
    ;;
  down)
    if [[ -e $dir/pid ]]; then
      pid=$(<"$dir/pid")
      kill "$pid" 2>/dev/null || true
      for _ in $(seq 80); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.25
      done
    fi
    ip netns del "$namespace" 2>/dev/null || true
    ;;
  *)
    echo "up or down, not '$what'" >&2
    exit 2
    ;;
esac
