#!/usr/bin/env bash
# Random kills, pauses, cuts, partitions and restarts under a load of trades, notes and chat; then everything is healed,
# and what was promised is checked: one tip, the right supply, every acknowledged trade, note and line exactly once.
#   deploy/chaos.sh --minutes 20 --seed 1            in Docker; the same seed plays the same disturbances
#   deploy/chaos.sh --minutes 5 --seed 1 --local     with plain processes
set -euo pipefail
command -v python3 >/dev/null || { echo "this script needs python3 (its standard library, nothing else)" >&2; exit 2; }
exec python3 -u "$(dirname "$0")/chaos.py" "$@"
