#!/usr/bin/env bash
# Runs the guided tour in under three minutes and checks each step: five friends meet, chat, write a
# note, pay and mine. One joins late, one is killed and returns, the LAN splits and heals. At the end
# `observe` reads all logs.
#   deploy/demo.sh                   in Docker, with docker-compose.yml; builds a missing image
#   deploy/demo.sh --local           with plain processes
#   deploy/demo.sh --wan             another tour, in Docker: two friends behind routers with NAT
#                                    and a public one chat, sync and pay, through a relay and without
#   deploy/demo.sh --binary FILE     with this program, in the image or as a process
#   deploy/demo.sh --keep            leaves the friends running
set -euo pipefail
if ! command -v python3 >/dev/null; then
  echo "this script needs python3 (its standard library, nothing else)" >&2
  exit 2
fi
exec python3 -u "$(dirname "$0")/demo.py" "$@"
