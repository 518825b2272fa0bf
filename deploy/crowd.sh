#!/usr/bin/env bash
# Starts 20 more friends without configuration beside the five, waits until all have one tip, and
# reports their memory.
#   deploy/crowd.sh [--count 20] [--local]
set -euo pipefail
if ! command -v python3 >/dev/null; then
  echo "this script needs python3 (its standard library, nothing else)" >&2
  exit 2
fi
exec python3 -u "$(dirname "$0")/crowd.py" "$@"
