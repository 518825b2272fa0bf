"""All nine pairs of NATs, over TCP and over QUIC: seconds to the first line, and to a direct
connection. Both know only the address of the public node, which is a friend of both."""

import shutil
import statistics
import time

from nats import possible
from net import NATS, Internet
from nodes import Crew, Failed, dial, eventually, is_relayed, listen

# The bars, in seconds: to the first line, and to the connection that theory allows.
LINE, DIRECT = 5.0, 15.0
# The time for which a pair that cannot be direct is watched, in seconds.
WATCHED = 6.0
# The longest wait, in seconds. It exceeds the bars, so that a miss has a figure too.
GIVE_UP = 45.0
TRANSPORTS = ["TCP", "QUIC"]


def start(friends, net, transport):
    """Starts the public node, waits until it serves, and starts the two others at once."""
    pub, *others = friends.values()
    pub.start("--no-mdns", *listen(transport))
    eventually("the public node serves", lambda: pub.ask("status")["running"])
    for other in others:
        other.start("--no-mdns", *listen(transport), *dial(net["pub"].public, transport, pub.crew.ids["pub"]))


def first_line(a, b, begun):
    """Writes a line as soon as the node answers. Returns the seconds until the line has arrived."""
    eventually("the node answers", lambda: a.ask("status")["running"], every=0.02)
    a.ask("chat", a.crew.ids[b.name], "the first line")
    eventually("the first line arrives", lambda: b.lines("the first line") == 1, GIVE_UP, every=0.02)
    return time.monotonic() - begun


def is_direct(net, friend, other):
    """True if both the node and the packets at its router show that a connection is direct."""
    connection = friend.connection(other.name)
    if connection is None or is_relayed(connection):
        return False
    before = net.direct_bytes(friend.name)
    text = f"directly to {friend.name} at {time.monotonic()}"
    other.ask("chat", friend.crew.ids[friend.name], text)
    eventually("a line over the direct connection", lambda: friend.lines(text) == 1, within=10)
    if net.direct_bytes(friend.name) <= before:
        raise Failed(f"{friend.name} calls it direct, but no packet came directly: {connection}")
    return True


def direct_at(net, a, b, begun):
    """Returns the seconds until lines go both ways directly."""
    left = GIVE_UP - (time.monotonic() - begun)
    both = lambda: is_direct(net, a, b) and is_direct(net, b, a)
    eventually(f"{a.name} and {b.name} are connected directly", both, left)
    return time.monotonic() - begun


def must_stay_relayed(a, b):
    """Checks that the pair is connected through the relay soon, and stays so."""

    def relayed():
        for one, other in ((a, b), (b, a)):
            connection = one.connection(other.name)
            if connection is None:
                raise Failed(f"{one.name} has no connection to {other.name}")
            if not is_relayed(connection):
                raise Failed(f"{one.name} calls it direct, which is not possible: {connection}")
        return True

    # The first line may have come as a sealed line, before there is any connection.
    eventually("a relayed connection", relayed, DIRECT)
    until = time.monotonic() + WATCHED
    while time.monotonic() < until:
        relayed()
        time.sleep(0.5)


def one_run(crew, pair, transport, kept):
    """Returns the seconds to the first line and to the direct connection; None if it failed."""
    one, two = pair
    figures = {"line": None, "direct": None, "why": None}
    # A new internet each time: routers remember connections.
    with Internet(pub="none", a=one, b=two) as net:
        friends = crew.fresh(net)
        a, b = friends["a"], friends["b"]
        try:
            start(friends, net, transport)
            begun = time.monotonic()
            figures["line"] = first_line(a, b, begun)
            if possible(*pair):
                figures["direct"] = direct_at(net, a, b, begun)
            else:
                must_stay_relayed(a, b)
        except Failed as failed:
            figures["why"] = str(failed)
        finally:
            for friend in friends.values():
                friend.end()
        late = (figures["line"] or 0) > LINE or (figures["direct"] or 0) > DIRECT
        if late or figures["why"]:
            logs = kept / f"{one}-{two}-{transport}-{crew.runs}"
            shutil.copytree(a.data, logs, dirs_exist_ok=True)
        crew.forget(friends)
    return figures


def spread(figures):
    """Returns the median and the worst of the figures, of which some may be None."""
    there = [figure for figure in figures if figure is not None]
    if not there:
        return "never"
    said = f"median {statistics.median(there):.1f} s, worst {max(there):.1f} s"
    return said if len(there) == len(figures) else f"{said}, missing in {len(figures) - len(there)}"


def within(figures, bar):
    return all(figure is not None and figure <= bar for figure in figures)


def measure(crew, pair, transport, runs, kept):
    """Runs a pair several times, and prints its bar."""
    every = [one_run(crew, pair, transport, kept) for _ in range(runs)]
    lines = [run["line"] for run in every]
    held = within(lines, LINE) and not any(run["why"] for run in every)
    said = f"line {spread(lines)} (bar {LINE:.0f} s)"
    if possible(*pair):
        directs = [run["direct"] for run in every]
        held = held and within(directs, DIRECT)
        said += f", direct {spread(directs)} (bar {DIRECT:.0f} s)"
    else:
        relayed = sum(run["why"] is None for run in every)
        said += f", relayed in {relayed} of {runs} (bar {runs})"
    print(f"bar reach-{transport}-{'-'.join(pair)}: {said}, {runs} runs {'ok' if held else 'MISSED'}", flush=True)
    for why in sorted({run["why"] for run in every if run["why"]}):
        print(f"    {why}", flush=True)


def check(options):
    """Prints a bar for each pair and transport."""
    crew = Crew(options.binary, options.work / "pairs", ["pub", "a", "b"])
    kept = options.out
    for transport in TRANSPORTS:
        for pair in [(one, two) for one in NATS for two in NATS]:
            name = f"{transport}-{'-'.join(pair)}"
            if options.only is None or options.only in name:
                measure(crew, pair, transport, options.runs, kept)
