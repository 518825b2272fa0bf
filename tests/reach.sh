#!/usr/bin/env bash
# Measures how nodes reach each other through real NAT, in network namespaces. Each part prints its
# bars:
#   nats     the laboratory itself: each router works as the NAT of its name
#   pairs    nine pairs of NATs, over TCP and QUIC: seconds to a line, and to a direct connection
#   laptop   a node changes its network while lines come and go
#   relays   a relaying friend that stalls is replaced
#   idle     traffic and processor time of a node with eight friends, three of them relayed
#
#   tests/reach.sh [--runs N] [--only TCP-cone-port] [--binary FILE] [PART...]
# Needs root, iproute2, nftables and util-linux, and is skipped with a visible line without them.
set -euo pipefail
cd "$(dirname "$0")/.."
for word in "$@"; do
  [[ $word == --binary* ]] && exec python3 -u tests/reach/reach.py "$@"
done
cargo build --release --locked
exec python3 -u tests/reach/reach.py --binary target/release/friendchain "$@"
