"""The friends of the laboratory: nodes that have accepted each other, as real processes."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

PORT = 8891
# The longest wait for a command that a running node answers at once, in seconds.
PATIENCE = 30


class Failed(Exception):
    """A check failed, or a command did."""


def eventually(what, attempt, within=60, every=0.1):
    """Retries until the answer is truthy. Returns it, and the seconds that it took."""
    begun = time.monotonic()
    seen = None
    while True:
        try:
            seen = attempt()
            if seen:
                return seen, time.monotonic() - begun
        except Failed as failed:
            seen = failed
        if time.monotonic() - begun > within:
            raise Failed(f"not within {within} s: {what} (last seen: {seen!r})")
        time.sleep(every)


def environment():
    """Returns the environment without the user's settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("FRIENDCHAIN_", "NODE_ID"))}


class Friend:
    """A node's folder, and its process while it runs in a namespace."""

    def __init__(self, crew, name, data, namespace=None):
        self.crew, self.name, self.data, self.namespace = crew, name, data, namespace
        self.process = None

    def command(self, *words):
        before = ["nsenter", f"--net=/run/netns/{self.namespace}"] if self.namespace else []
        return [*before, self.crew.binary, "--data-dir", str(self.data), "--node-id", self.name, *map(str, words)]

    def ask(self, *words, timeout=PATIENCE):
        """Runs a command with `--json`, and returns its answer."""
        try:
            done = subprocess.run(
                self.command("--json", *words),
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                stdin=subprocess.DEVNULL,
                env=environment(),
            )
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{self.name} {words[0]}: no answer within {timeout} s") from late
        if done.returncode != 0:
            raise Failed(f"{self.name} {' '.join(map(str, words))}: {done.stdout.strip() or done.stderr.strip()}")
        return json.loads(done.stdout)

    def start(self, *flags):
        log = open(self.data / f"{self.name}.log", "ab")
        words = ["--log-format", "json", "--log", self.crew.filter, "start-node", "--name", self.name, *flags]
        self.process = subprocess.Popen(
            self.command(*words), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
        )
        log.close()

    def signal(self, how):
        self.process.send_signal(how)

    def end(self):
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self.process = None

    def log(self):
        path = self.data / f"{self.name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def events(self, name):
        """Returns the events of a name, with their fields."""
        found = []
        for line in self.log().splitlines():
            if f'"event":"{name}"' in line:
                with contextlib.suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def lines(self, text):
        """Counts the kept chat lines with a text."""
        return sum(line["text"] == text for line in self.ask("history", "--limit", "100000")["messages"])

    def connection(self, other):
        """Returns the entry of `peers` for another friend, or None."""
        peers = self.ask("peers")["peers"]
        return next((peer for peer in peers if peer["peer_id"] == self.crew.ids[other]), None)


def is_relayed(connection):
    """True if a connection of `peers` leads through a relay."""
    return "p2p-circuit" in connection["address"]


class Crew:
    """A network of friends. Its folders are made once, and each run starts with copies of them."""

    def __init__(self, binary, work, names, friends=None):
        self.binary, self.work = str(binary), pathlib.Path(work)
        self.filter = os.environ.get("REACH_LOG", "info,friendchain::event=debug")
        self.names = names
        self.first = self.work / "first"
        self.first.mkdir(parents=True)
        made = {name: Friend(self, name, self.first) for name in names}
        one = made[names[0]]
        address = one.ask("create-wallet")["address"]
        one.ask("create-blockchain", "--address", address, "--bits", "8")
        invite = one.ask("invite")["invite"]
        for name in names[1:]:
            made[name].ask("join", invite)
            made[name].ask("create-wallet")
        self.ids = {name: made[name].ask("status")["peer_id"] for name in names}
        for name in names:
            for other in names if friends is None else friends(name):
                if other != name:
                    made[name].ask("accept-friend", self.ids[other])
        self.runs = 0

    def fresh(self, net):
        """Returns friends with new copies of the folders, each in the host of its name."""
        self.runs += 1
        data = self.work / f"run{self.runs}"
        shutil.copytree(self.first, data)
        return {name: Friend(self, name, data, net[name].host) for name in self.names}

    def forget(self, friends):
        """Ends the nodes and removes their folders."""
        for friend in friends.values():
            friend.end()
        shutil.rmtree(next(iter(friends.values())).data, ignore_errors=True)


def listen(transport):
    """Returns the flags with which a node listens on one transport only, or on both."""
    kinds = {"TCP": f"/ip4/0.0.0.0/tcp/{PORT}", "QUIC": f"/ip4/0.0.0.0/udp/{PORT}/quic-v1"}
    wanted = [kinds[transport]] if transport in kinds else list(kinds.values())
    return [word for address in wanted for word in ("--listen", address)]


def dial(address, transport, peer_id):
    """Returns the flags with which a node dials a public one."""
    way = f"udp/{PORT}/quic-v1" if transport == "QUIC" else f"tcp/{PORT}"
    return ["--peer", f"/ip4/{address}/{way}/p2p/{peer_id}"]
