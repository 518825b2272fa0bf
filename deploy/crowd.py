"""A crowd on one LAN, see crowd.sh."""

import argparse
import statistics
import time

import lan as lans
from lan import FIVE, Failed, eventually


def main():
    parser = argparse.ArgumentParser(prog="crowd.sh", description="Twenty more friends, all of them on one tip.")
    parser.add_argument("--count", type=int, default=20, help="how many more [default: 20]")
    options = lans.arguments(parser).parse_args()
    with lans.opened(options) as lan:
        lan.up()
        lan.await_friends(FIVE)
        lan.ask(FIVE[0], "mine", "3")
        start = time.monotonic()
        everybody = [*FIVE, *lan.crowd(options.count)]
        lan.await_one_tip(everybody, 3, within=120)
        print(f"{len(everybody)} friends are on one tip {time.monotonic() - start:.1f} s after {options.count} more were started")
        eventually("each has peers", lambda: all(one["peers"] >= 4 for one in lan.status(everybody)))

        # A new note must reach all of them.
        start = time.monotonic()
        lan.ask(FIVE[1], "note", "hello, crowd", "--wait")
        tip = lan.await_one_tip(everybody, 4)
        print(f"a note is mined and with all of them after {time.monotonic() - start:.1f} s, at height {tip['height']}")
        every = lan.status(everybody)
        memory = [one["memory_bytes"] / 2**20 for one in every]
        peers = [one["peers"] for one in every]
        print(f"memory of one: {statistics.median(memory):.0f} MiB, at most {max(memory):.0f}; peers: {min(peers)} to {max(peers)}")
        if any(map(lan.fell_over, everybody)):
            raise Failed("one of them has ended by itself")


if __name__ == "__main__":
    main()
