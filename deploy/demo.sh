#!/usr/bin/env bash
# The whole mission in three minutes: friends meet, chat, write, pay, mine; one comes late, one dies and comes back, the
# LAN breaks in two and heals; then what the logs tell.
#   deploy/demo.sh                   in Docker: docker-compose.yml as it stands (the image is built if there is none)
#   deploy/demo.sh --local           the same with plain processes, where there is no Docker
#   deploy/demo.sh --binary FILE     with that program: in the image, or as it is
#   deploy/demo.sh --keep            leaves the friends running
set -euo pipefail
command -v python3 >/dev/null || { echo "this script needs python3 (its standard library, nothing else)" >&2; exit 2; }
exec python3 -u "$(dirname "$0")/demo.py" "$@"
