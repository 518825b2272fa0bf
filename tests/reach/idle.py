"""The cost of an idle node behind a symmetric NAT with eight friends. Five of them are public, and
three are behind symmetric NATs too, so that a friend relays for them."""

import os
import pathlib
import shutil
import time

from net import Internet, run_in
from nodes import Crew, Failed, dial, eventually, is_relayed, listen

# The bars: bytes a second, in and out together, and the share of a core.
BYTES, CORE = 1500.0, 0.003
# Seconds before the measurement, in which all connect and try hole punching, and the seconds of it.
SETTLING = 90.0
MEASURED = float(os.environ.get("REACH_IDLE_SECONDS", "300"))
PUBLIC = ["pub", "p2", "p3", "p4", "p5"]
RELAYED = ["r1", "r2", "r3"]


def sent_and_received(net, name):
    """Returns the bytes of a host's network card, and the packets."""
    device = "eth0" if net[name].router else "wan"
    total = packets = 0
    for line in run_in(net[name].host, "ip", "-s", "-o", "link", "show", device).split("\\"):
        words = line.split()
        if len(words) >= 6 and words[0].isdigit() and words[1].isdigit():
            total += int(words[0])
            packets += int(words[1])
    return total, packets


def seconds_of_cpu(friend):
    """Returns the time for which the threads of a node ran. The kernel counts it in ns."""
    threads = pathlib.Path(f"/proc/{friend.process.pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def all_there(me):
    peers = {peer["peer_id"]: peer for peer in me.ask("peers")["peers"]}
    ids = me.crew.ids
    missing = [name for name in PUBLIC + RELAYED if ids[name] not in peers]
    if missing:
        raise Failed(f"not connected: {', '.join(missing)}")
    direct = [name for name in RELAYED if not is_relayed(peers[ids[name]])]
    if direct:
        raise Failed(f"not relayed: {', '.join(direct)}")
    return True


def check(options):
    """Prints the bars."""
    names = [*PUBLIC, "me", *RELAYED]
    crew = Crew(options.binary, options.work / "idle", names)
    nats = {name: "none" if name in PUBLIC else "symmetric" for name in names}
    with Internet(**nats) as net:
        friends = crew.fresh(net)
        try:
            for name, friend in friends.items():
                known = [] if name == "pub" else dial(net["pub"].public, "both", crew.ids["pub"])
                friend.start("--no-mdns", *listen("both"), *known)
            measure(net, friends)
        except Failed as failed:
            shutil.copytree(friends["me"].data, options.out / "idle", dirs_exist_ok=True)
            print(f"bar idle: {failed} MISSED", flush=True)
        finally:
            crew.forget(friends)


def measure(net, friends):
    me = friends["me"]
    eventually("eight friends are connected, three of them relayed", lambda: all_there(me), SETTLING)
    time.sleep(SETTLING)
    watched = {name: friends[name] for name in ("me", "pub")}
    before = {name: (sent_and_received(net, name), seconds_of_cpu(one)) for name, one in watched.items()}
    begun = time.monotonic()
    time.sleep(MEASURED)
    took = time.monotonic() - begun
    for name, one in watched.items():
        (bytes_before, packets_before), cpu_before = before[name]
        bytes_now, packets_now = sent_and_received(net, name)
        rate = (bytes_now - bytes_before) / took
        core = (seconds_of_cpu(one) - cpu_before) / took
        packets = (packets_now - packets_before) / took
        said = f"{rate:.0f} B/s (bar {BYTES:.0f}), {100 * core:.2f} % of a core (bar {100 * CORE} %), "
        said += f"{packets:.1f} packets/s, {took:.0f} s"
        if name == "me":
            held = all_there(me) and rate <= BYTES and core <= CORE
            print(f"bar idle: {said} {'ok' if held else 'MISSED'}", flush=True)
        else:
            print(f"    the relaying friend: {said}", flush=True)
