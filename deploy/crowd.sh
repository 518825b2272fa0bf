#!/usr/bin/env bash
# Twenty more friends with no configuration, beside the five: all of them on one tip, and how much memory that takes.
#   deploy/crowd.sh [--count 20] [--local]
set -euo pipefail
command -v python3 >/dev/null || { echo "this script needs python3 (its standard library, nothing else)" >&2; exit 2; }
exec python3 -u "$(dirname "$0")/crowd.py" "$@"
