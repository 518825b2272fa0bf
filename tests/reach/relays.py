"""A relaying friend that stalls is replaced. Two friends behind symmetric NATs are connected
through one of two public friends. That friend's process is stopped (SIGSTOP), which closes no
connection. Lines must then go through the other."""

import shutil
import signal
import time

from net import Internet
from nodes import Crew, Failed, dial, eventually, is_relayed, listen

# The longest wait of a line after its relay has stalled, in seconds. Several pings must fail before
# a silent connection counts as dead.
REPLACED = 45.0
GIVE_UP = 120.0
RELAYS = ["pub", "pub2"]


def relay_between(friends, net):
    """Returns the relay through which two friends are connected."""
    a = friends["a"]
    connection = a.connection("b")
    if connection is None or not is_relayed(connection):
        raise Failed(f"a and b are not connected through a relay: {connection}")
    for name in RELAYS:
        if net[name].public in connection["address"] or a.crew.ids[name] in connection["address"]:
            return name
    # The listening end of a relayed connection sees no address. The other end does.
    connection = friends["b"].connection("a")
    for name in RELAYS:
        if net[name].public in connection["address"] or a.crew.ids[name] in connection["address"]:
            return name
    raise Failed(f"neither end shows which friend relays: {connection}")


def one_run(crew, transport, out):
    """Returns the seconds from the stop of a relay to the arrival of a line each way."""
    with Internet(pub="none", pub2="none", a="symmetric", b="symmetric") as net:
        friends = crew.fresh(net)
        a, b = friends["a"], friends["b"]
        try:
            for name, friend in friends.items():
                known = [] if name in RELAYS else dial(net["pub"].public, transport, crew.ids["pub"])
                known += dial(net["pub2"].public, transport, crew.ids["pub2"]) if name != "pub2" else []
                friend.start("--no-mdns", *listen(transport), *known)
            eventually("a and b are connected through a relay", lambda: relay_between(friends, net))
            # This leaves time for the second reservation.
            time.sleep(10)
            stalled = relay_between(friends, net)
            friends[stalled].signal(signal.SIGSTOP)
            begun = time.monotonic()
            for one, other in ((a, b), (b, a)):
                text = f"around {stalled}, from {one.name}"
                one.ask("chat", crew.ids[other.name], text)
                eventually(f"{text!r} arrives", lambda other=other, text=text: other.lines(text) == 1, GIVE_UP)
            return time.monotonic() - begun, None
        except Failed as failed:
            shutil.copytree(a.data, out / f"relays-{crew.runs}", dirs_exist_ok=True)
            return None, str(failed)
        finally:
            crew.forget(friends)


def check(options):
    """Prints the bar of a stalled relay."""
    crew = Crew(options.binary, options.work / "relays", [*RELAYS, "a", "b"])
    runs = [one_run(crew, "both", options.out) for _ in range(options.runs)]
    there = [took for took, _ in runs if took is not None]
    worst = f"{max(there):.1f} s" if there else "never"
    held = len(there) == len(runs) and max(there) <= REPLACED
    print(
        f"bar relay-stalls: lines go on through another after {worst} (bar {REPLACED:.0f} s), "
        f"{len(runs) - len(there)} of {len(runs)} not {'ok' if held else 'MISSED'}",
        flush=True,
    )
    for why in sorted({why for _, why in runs if why}):
        print(f"    {why}", flush=True)
