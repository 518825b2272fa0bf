"""Measures how nodes reach each other through real NAT. See tests/reach.sh."""

import argparse
import os
import pathlib
import shutil
import signal
import sys
import tempfile

import idle
import laptop
import nats
import net
import pairs
import relays

PARTS = {
    "nats": lambda options: nats.check(),
    "pairs": pairs.check,
    "laptop": laptop.check,
    "relays": relays.check,
    "idle": idle.check,
}


def main():
    parser = argparse.ArgumentParser(prog="reach.sh", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of: {', '.join(PARTS)} [default: all]")
    parser.add_argument("--binary", required=True, help="the program")
    parser.add_argument("--only", help="pairs whose name contains this, such as TCP-cone-port")
    parser.add_argument("--runs", type=int, default=int(os.environ.get("REACH_RUNS", "1")))
    parser.add_argument("--out", help="where the logs of failed runs are kept", default="target/long-run/reach")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}: {', '.join(PARTS)}")
    why = net.why_not()
    if why:
        print(f"bar reach: SKIPPED, {why}")
        return
    options.out = pathlib.Path(options.out).resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    options.work = pathlib.Path(tempfile.mkdtemp(prefix="reach-"))
    options.binary = pathlib.Path(options.binary).resolve()
    # A run that is terminated still removes its namespaces and nodes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for part in options.parts or PARTS:
            PARTS[part](options)
    finally:
        shutil.rmtree(options.work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
