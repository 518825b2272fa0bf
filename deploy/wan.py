"""The tour across an internet, see demo.sh: two friends behind routers with NAT, and a public one."""

import json
import os
import time

from lan import HERE, Compose, Refused, eventually, quietly, run
from tour import books, must, received, report, seconds_since, shown, step, stop_all

PUB, ANN, BEN = THREE = ["pub", "ann", "ben"]
ROUTERS = {ANN: "gateway-a", BEN: "gateway-b"}
# The public addresses in docker-compose.yml.
PUBLIC = {PUB: "203.0.113.10", ANN: "203.0.113.20", BEN: "203.0.113.30"}
ROUTER_IMAGE = os.environ.get("FRIENDCHAIN_GATEWAY_IMAGE", "friendchain-gateway")
BLOCKS = 30


class Wan(Compose):
    """The containers of the profile `wan`."""

    names = THREE
    profile = "wan"
    instead = "the routers of --wan are containers (tests/reach.sh has routers without Docker)"

    def describe(self):
        return f"{super().describe()}; routers of {ROUTER_IMAGE}"

    def make_image(self, binary):
        super().make_image(binary)
        try:
            run("docker", "image", "inspect", ROUTER_IMAGE)
        except Refused:
            print("The routers' image is built: Debian, with nftables.", flush=True)
            run("docker", "build", "-q", "-t", ROUTER_IMAGE, HERE / "gateway", timeout=600)

    def before_start(self, name, *words):
        """Runs a command on the folder of a node that does not run, and returns its answer."""
        answer = self.compose("run", "--rm", "-T", "--no-deps", name, "--json", *words)
        return json.loads(answer)

    def up(self):
        """Makes room for the tour, which starts one after the other."""
        self.make_room([*THREE, *ROUTERS.values()])

    def up_with(self, *names):
        """Starts some, each behind a router if it has one."""
        self.compose("up", "-d", *names)

    def set_nat(self, name, kind):
        """Sets the kind of a router that starts later."""
        self.environment[f"FRIENDCHAIN_NAT_{ROUTERS[name][-1].upper()}"] = kind

    def replace_router(self, name, kind):
        """Puts another router at the place of a friend's, who is away."""
        self.set_nat(name, kind)
        self.compose("rm", "-s", "-f", ROUTERS[name])
        self.compose("up", "-d", "--no-deps", ROUTERS[name])

    def passed(self, name, other):
        """Returns the bytes that have passed the router of one directly from another's address."""
        told = json.loads(run("docker", "exec", ROUTERS[name], "nft", "-j", "list", "set", "ip", "gateway", "senders"))
        of_set = next(one["set"] for one in told["nftables"] if "set" in one)
        found = [one["elem"] for one in of_set.get("elem", []) if one["elem"]["val"] == PUBLIC[other]]
        return sum(one["counter"]["bytes"] for one in found)

    def collect(self):
        for router in ROUTERS.values():
            quietly(self.keep_rules, router)
        return super().collect()

    def keep_rules(self, router):
        rules = run("docker", "exec", router, "nft", "list", "table", "ip", "gateway")
        (self.out / f"{router}.nft").write_text(rules)


def way(lan, name, other):
    """Returns how a friend is connected: `direct`, `relayed`, or None."""
    friends = lan.ask(name, "friends")["friends"]
    found = next((friend for friend in friends if friend["name"] == other), None)
    return found.get("path") if found and found["online"] else None


def both_are(lan, path):
    return lambda: way(lan, ANN, BEN) == path and way(lan, BEN, ANN) == path


def seen_at(lan, name):
    """Returns the IP address from which the public node sees another."""
    # The name comes after the connection, and that of somebody who is no friend yet has a suffix.
    peers = lan.ask(PUB, "peers")["peers"]
    found = next((peer for peer in peers if peer.get("name", "").split("#")[0] == name), None)
    return found and found["address"].split("/")[2]


def write(lan, one, other, text):
    """Writes a line, and waits until it is there."""
    lan.ask(one, "chat", other, text)
    eventually(f"{other} has the line", lambda: len(received(lan, other, text)) == 1)


def tour(lan):
    lan.up()
    step("A chain of their own, and an invite")
    address = lan.before_start(PUB, "create-wallet")["address"]
    lan.before_start(PUB, "create-blockchain", "--address", address, "--name", "wan", "--bits", "16", "--spacing", "1")
    invite = lan.before_start(PUB, "invite")["invite"]
    ids = {lan.before_start(name, "join", invite)["network_id"] for name in (ANN, BEN)}
    must(len(ids) == 1, f"one network, not {ids}")
    shown("pub has made a chain; ann and ben have joined it with pub's invite")
    print(f"    {lan.describe()}")

    step("The public node starts, and mines")
    lan.up_with(PUB)
    eventually("pub answers", lambda: lan.ask(PUB, "status")["running"])
    lan.ask(PUB, "mine", str(BLOCKS), timeout=120)
    reach = lan.ask(PUB, "status")["reach"]
    must(reach["way"] == "public" and reach["relays"], f"pub is reached by anybody, and relays: {reach}")
    shown(f"pub is at height {BLOCKS}; anybody reaches it, and it relays for friends")

    step("Ann and ben start, each behind a router with NAT")
    start = time.monotonic()
    # It gives each destination a port of its own, so that no hole can be punched.
    lan.set_nat(ANN, "symmetric")
    lan.up_with(ANN, BEN)
    eventually("both have met pub", lambda: seen_at(lan, ANN) and seen_at(lan, BEN))
    seen = {name: seen_at(lan, name) for name in (ANN, BEN)}
    must(seen == {name: PUBLIC[name] for name in (ANN, BEN)}, f"pub sees their routers, not {seen}")
    shown(f"pub sees ann at {seen[ANN]} and ben at {seen[BEN]}: their routers, after {seconds_since(start)}")
    for name in (ANN, BEN):
        lan.ask(name, "sync")
    lan.await_one_tip(THREE, BLOCKS)
    shown(f"both have synced all {BLOCKS} blocks through their routers")

    step("They become friends")
    start = time.monotonic()
    for name in (ANN, BEN):
        lan.ask(PUB, "accept-friend", name)
    shown("pub accepts who came with its invite")
    eventually("ann knows of ben", lambda: lan.ask(ANN, "accept-friend", BEN))
    eventually("ben knows of ann", lambda: lan.ask(BEN, "accept-friend", ANN))
    eventually("they are connected through pub", both_are(lan, "relayed"))
    shown(f"ann and ben, of whom pub has told, accept each other; connected through pub after {seconds_since(start)}")

    step("A chat line through the relay")
    start = time.monotonic()
    write(lan, ANN, BEN, "Good morning, through pub")
    write(lan, BEN, ANN, "And to you, ann")
    must(both_are(lan, "relayed")(), "they are connected through pub")
    must(lan.passed(BEN, ANN) == lan.passed(ANN, BEN) == 0, "nothing has passed the routers directly")
    shown(f"one line each way in {seconds_since(start)}; no byte has passed the routers directly")

    step("Ann comes back behind a router that keeps ports: a hole is punched")
    must(lan.stop(ANN) == 0, "ann stops cleanly")
    lan.replace_router(ANN, "port")
    start = time.monotonic()
    lan.start(ANN)
    eventually("a direct connection", both_are(lan, "direct"))
    shown(f"`friends` says direct, on both sides, after {seconds_since(start)}")
    start = time.monotonic()
    before = lan.passed(ANN, BEN), lan.passed(BEN, ANN)
    write(lan, ANN, BEN, "Directly now")
    write(lan, BEN, ANN, "Directly, too")
    after = lan.passed(ANN, BEN), lan.passed(BEN, ANN)
    must(after[0] > before[0] and after[1] > before[1], f"the routers saw it: {before} became {after} bytes")
    shown(f"one line each way in {seconds_since(start)}; the routers counted {after[0]} and {after[1]} bytes from each other")

    step("The public node leaves, and ann pays ben")
    start = time.monotonic()
    must(lan.stop(PUB) == 0, "pub stops cleanly")
    lan.ask(ANN, "mine", "1")
    trade = lan.ask(ANN, "send", "30", BEN, "--memo", "for the tea", "--mine")
    tip = lan.await_one_tip([ANN, BEN], BLOCKS + 2)
    theirs = [one["address"] for one in lan.ask(BEN, "list-addresses")["addresses"]]
    tx = lan.ask(BEN, "tx", trade["txid"])
    paid = [out for out in tx["outputs"] if out["address"] in theirs and out["value"] == "30"]
    must(tx["state"] == "mined" and len(paid) == 1, f"ben has been paid 30: {tx}")
    shown(f"ben has 30 coins, \"{tx['memo']}\", in block {tip['height']}, after {seconds_since(start)}; pub was not there")

    step("The public node comes back, and syncs")
    start = time.monotonic()
    lan.start(PUB)
    eventually("pub has friends again", lambda: way(lan, PUB, ANN) and way(lan, PUB, BEN))
    lan.ask(PUB, "sync")
    tip = lan.await_one_tip(THREE, tip["height"])
    must(lan.ask(PUB, "tx", trade["txid"])["state"] == "mined", "pub knows of the payment")
    shown(f"pub has what it missed, and is at height {tip['height']}, after {seconds_since(start)}")
    audit = books(lan, THREE)
    shown(f"three checks from genesis agree: {audit['supply']} coins in {audit['coins']} pieces")

    step("What the logs tell: friendchain observe")
    report(lan, tip["tip"])

    step("And stop, cleanly")
    stop_all(lan, THREE)
