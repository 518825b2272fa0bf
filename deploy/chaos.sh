#!/usr/bin/env bash
# Kills, pauses, cuts, partitions and restarts nodes at random under a load of trades, notes and chat.
# Then heals everything, and checks: one tip, the right supply, and each acknowledged trade, note and
# line exactly once.
#   deploy/chaos.sh --minutes 20 --seed 1            in Docker; a seed repeats its disturbances
#   deploy/chaos.sh --minutes 5 --seed 1 --local     with plain processes
set -euo pipefail
if ! command -v python3 >/dev/null; then
  echo "this script needs python3 (its standard library, nothing else)" >&2
  exit 2
fi
exec python3 -u "$(dirname "$0")/chaos.py" "$@"
