"""A laptop that changes networks: its address, its gateway and its NAT change at once. Meanwhile
four friends and the laptop write to each other: each line arrives once, and all reconnect soon."""

import shutil
import threading
import time

from net import Internet
from nodes import Crew, Failed, dial, eventually, listen

# The longest time, in seconds, until lines go both ways between the laptop and each friend.
BACK = 10.0
# The time without any network, in seconds.
BETWEEN = 1.0
# The pause between two lines of a friend, in seconds.
EVERY = 0.5
# The wait before the change, in seconds.
SETTLED = 15.0
GIVE_UP = 60.0
OTHERS = ["pub", "open", "home", "cone"]


class Writer(threading.Thread):
    """Writes numbered lines from one friend to another until it is ended."""

    def __init__(self, one, other):
        super().__init__(daemon=True)
        self.one, self.other = one, other
        self.ended = threading.Event()
        self.written = []

    def run(self):
        while not self.ended.wait(EVERY):
            text = f"{self.one.name} to {self.other.name}, {len(self.written)}"
            # A line that was not acknowledged need not arrive.
            try:
                self.one.ask("chat", self.one.crew.ids[self.other.name], text)
            except Failed:
                continue
            self.written.append(text)


def kept(friend):
    """Returns the number of copies that a friend has of each line."""
    counts = {}
    for line in friend.ask("history", "--limit", "100000")["messages"]:
        counts[line["text"]] = counts.get(line["text"], 0) + 1
    return counts


def wrong(writers):
    """Returns the lines that did not arrive exactly once."""
    every = {writer.other.name: kept(writer.other) for writer in writers}
    return [
        f"{text!r}: {every[writer.other.name].get(text, 0)} times"
        for writer in writers
        for text in writer.written
        if every[writer.other.name].get(text, 0) != 1
    ]


def back(friends, begun):
    """Writes a line from and to each friend, and returns the seconds until each pair was back."""
    lap = friends["lap"]
    pairs = [(lap, friends[name]) for name in OTHERS] + [(friends[name], lap) for name in OTHERS]
    took = {}

    def one_way(one, other):
        text = f"after the change, {one.name} to {other.name}"
        one.ask("chat", one.crew.ids[other.name], text)
        try:
            eventually("it arrives", lambda: other.lines(text) == 1, GIVE_UP)
            took[one.name, other.name] = time.monotonic() - begun
        except Failed:
            took[one.name, other.name] = None

    threads = [threading.Thread(target=one_way, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def one_run(crew, nats, transport, out):
    """Returns the seconds until each pair was back, and the lines that were lost or doubled."""
    before, after = nats
    net = Internet(pub="none", open="none", home="port", cone="cone", lap=before, cafe=after)
    net["cafe"].subnet = "172.20.5"
    with net:
        friends = crew.fresh(net)
        try:
            took, faults = changed(net, friends, transport)
        except Failed as failed:
            took, faults = {"met": None}, [str(failed)]
        finally:
            for friend in friends.values():
                friend.end()
        if faults or any(seconds is None or seconds > BACK for seconds in took.values()):
            logs = out / f"laptop-{before}-{after}-{crew.runs}"
            shutil.copytree(friends["lap"].data, logs, dirs_exist_ok=True)
        crew.forget(friends)
    return took, faults


def changed(net, friends, transport):
    lap = friends["lap"]
    ids = lap.crew.ids
    for name, friend in friends.items():
        known = [] if name == "pub" else dial(net["pub"].public, transport, ids["pub"])
        friend.start("--no-mdns", *listen(transport), *known)
    for name in OTHERS:
        eventually(f"the laptop meets {name}", lambda name=name: lap.connection(name))
    writers = [Writer(lap, friends[name]) for name in OTHERS]
    writers += [Writer(friends[name], lap) for name in OTHERS]
    for writer in writers:
        writer.start()
    # A node ignores changes of addresses in its first seconds, which belong to its start.
    time.sleep(SETTLED)
    net.unplug(net["lap"])
    time.sleep(BETWEEN)
    net.move(net["lap"], net["cafe"])
    took = back(friends, time.monotonic())
    time.sleep(2)
    for writer in writers:
        writer.ended.set()
    for writer in writers:
        writer.join()
    try:
        eventually("each line has arrived exactly once", lambda: not wrong(writers), 30, every=1)
    except Failed:
        return took, wrong(writers)
    return took, []


def check(options):
    """Prints a bar for each change of NAT."""
    crew = Crew(options.binary, options.work / "laptop", [*OTHERS, "lap"])
    for nats in (("cone", "symmetric"), ("symmetric", "port"), ("port", "cone")):
        worst, faults = [], []
        for _ in range(options.runs):
            took, wrongs = one_run(crew, nats, "both", options.out)
            worst += took.values()
            faults += wrongs
        there = [figure for figure in worst if figure is not None]
        held = len(there) == len(worst) and max(there) <= BACK and not faults
        said = f"{max(there):.1f} s" if there else "never"
        print(
            f"bar laptop-{'-'.join(nats)}: back with all {len(OTHERS)} friends after {said} (bar {BACK:.0f} s), "
            f"{len(worst) - len(there)} not back, {len(faults)} lines lost or doubled (bar 0), {options.runs} runs "
            f"{'ok' if held else 'MISSED'}",
            flush=True,
        )
        for fault in faults[:5]:
            print(f"    {fault}", flush=True)
