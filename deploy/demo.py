"""The guided demo, see demo.sh. Each step checks its claim with the nodes' answers, or fails."""

import argparse
import time

import lan as lans
import wan
from lan import FIVE, eventually
from tour import begin, books, finish, must, received, report, seconds_since, shown, step, stop_all


def of_chain(lan, name, text):
    """Counts the notes with this text on a node's chain."""
    blocks = lan.ask(name, "print-chain", "--limit", "1000000")["blocks"]
    return sum(tx.get("memo") == text and tx["kind"] == "note" for block in blocks for tx in block["transactions"])


def reorganisations(lan, name):
    return lan.log(name).count('"event":"reorganised"')


def demo(lan):
    yzw, yjf, sr, xzq, hjs = FIVE

    step("Five friends start, with nothing configured")
    start = time.monotonic()
    lan.up()
    print(f"    {lan.describe()}")
    eventually("all five answer", lambda: all(one["running"] for one in lan.status(FIVE)))
    shown(f"all five serve {seconds_since(start)} after the first was started")

    step("They find each other")
    start = time.monotonic()
    lan.await_friends(FIVE)
    how = "through the first of them (mDNS does not work on loopback)" if isinstance(lan, lans.Local) else "by mDNS alone"
    shown(f"each sees the other four, {how}, after {seconds_since(start)}")
    networks = {(one["network_name"], one["network_id"]) for one in lan.status(FIVE)}
    must(len(networks) == 1, f"one network, not {networks}")
    shown("they are on one chain, the built-in network `lan`")

    step("A chat line to one, and one to all")
    start = time.monotonic()
    line = lan.ask(yzw, "chat", yjf, "Good morning to you")
    eventually("yjf has the line", lambda: len(received(lan, yjf, "Good morning to you")) == 1)
    others = [name for name in FIVE if name not in (yzw, yjf)]
    must(not any(received(lan, name, "Good morning to you") for name in others), "a line to yjf is for yjf alone")
    shown(f"yzw to yjf: {line['state']}, kept by yjf and by nobody else")
    lan.ask(hjs, "broadcast", "hello, all of you")
    others = [name for name in FIVE if name != hjs]
    eventually("all have it", lambda: all(lan.every(others, lambda name: len(received(lan, name, "hello, all of you")) == 1)))
    shown(f"hjs to all: the other four have it ({seconds_since(start)} for both)")

    step("A note is written on the chain")
    start = time.monotonic()
    note = lan.ask(sr, "note", "GoodMorning!", "--wait")
    must(note["state"] == "mined", f"the note is mined, not {note['state']}")
    tip = lan.await_one_tip(FIVE, 1)
    must(set(lan.every(FIVE, lambda name: of_chain(lan, name, "GoodMorning!"))) == {1}, "the note is on every chain once")
    shown(f"mined by whoever was first, and on all five chains exactly once, after {seconds_since(start)}; height {tip['height']}")

    step("Mining pays")
    address = lan.ask(yzw, "list-addresses")["addresses"][0]["address"]
    before = float(lan.ask(yzw, "get-balance", "--address", address)["confirmed"])
    mined = lan.ask(yzw, "mine", "2")["blocks"]
    after = float(lan.ask(yzw, "get-balance", "--address", address)["confirmed"])
    must(len(mined) == 2 and after == before + 200, f"two blocks are 200 coins: {before} became {after}")
    tip = lan.await_one_tip(FIVE, tip["height"] + 2)
    shown(f"yzw mined two blocks: {before:g} coins became {after:g}; all five are at height {tip['height']}")

    step("Coins are sent to a friend by name")
    start = time.monotonic()
    trade = lan.ask(yzw, "send", "--from", address, "--to", yjf, "--amount", "30", "--memo", "for the tea", "--mine")
    lan.await_one_tip(FIVE)
    theirs = [one["address"] for one in lan.ask(yjf, "list-addresses")["addresses"]]
    seen = lan.ask(yjf, "tx", trade["txid"])
    paid = [out for out in seen["outputs"] if out["address"] in theirs and out["value"] == "30"]
    must(seen["state"] == "mined" and len(paid) == 1, f"yjf has been paid 30: {seen}")
    shown(f"yjf has 30 coins more, \"{seen['memo']}\", {seen['confirmations']} confirmation(s) after {seconds_since(start)}")

    step("A sixth friend comes late, with an empty folder")
    start = time.monotonic()
    [sixth] = lan.crowd(1)
    tip = lan.await_one_tip([yzw, sixth])
    audit = lan.ask(sixth, "verify-chain")
    must(audit["ok"] and audit["supply"] == str(100 * (audit["height"] + 1)), f"100 coins a block: {audit}")
    must(of_chain(lan, sixth, "GoodMorning!") == 1, "the note is there")
    shown(f"it has all {tip['height']} blocks after {seconds_since(start)}, and has checked each: {audit['supply']} coins exist")

    step("A friend is killed in mid-flight (kill -9), and comes back")
    identity = lan.ask(hjs, "status")["peer_id"]
    lan.kill(hjs)
    line = lan.ask(yzw, "chat", hjs, "are you there?")
    must(line["state"] == "queued", f"a line to one who is away waits: {line}")
    lan.ask(xzq, "mine", "1")
    shown(f"the others go on; a line to hjs is {line['state']}")
    start = time.monotonic()
    lan.start(hjs)
    tip = lan.await_one_tip(FIVE)
    must(lan.ask(hjs, "status")["peer_id"] == identity, "hjs is who it was")
    eventually("the line is delivered", lambda: len(received(lan, hjs, "are you there?")) == 1)
    shown(f"hjs is back, the same hjs, at height {tip['height']}, and has the line that waited, after {seconds_since(start)}")

    step("The LAN breaks in two, both halves go on, and it heals")
    one, two = [yzw, yjf, sr], [xzq, hjs]
    lan.split(two, [*one, sixth])
    print(f"    {', '.join(one)} | {', '.join(two)}: {lan.splitting}")
    before = reorganisations(lan, xzq)
    apart = lan.ask(xzq, "note", "written apart", "--wait", timeout=90)
    must(apart["state"] == "mined", "the small half mines on")
    small = lan.ask(xzq, "status")
    ahead = lan.ask(xzq, "status")["height"] - lan.ask(yzw, "status")["height"]
    lan.ask(yzw, "mine", str(ahead + 2), timeout=90)
    large = lan.await_one_tip(one, small["height"] + 1)
    must(of_chain(lan, yzw, "written apart") == 0, "the halves are apart")
    shown(f"two chains: height {large['height']} here, {small['height']} there, with a note that only the small half knows")
    start = time.monotonic()
    lan.heal()
    tip = lan.await_one_tip([*FIVE, sixth], large["height"], within=90)
    shown(f"healed: all have the one chain with the most work again after {seconds_since(start)}")
    eventually("the note is mined again", lambda: of_chain(lan, yzw, "written apart") == 1)
    tip = lan.await_one_tip([*FIVE, sixth])
    must(set(lan.every(FIVE, lambda name: of_chain(lan, name, "written apart"))) == {1}, "the note is on every chain once")
    must(reorganisations(lan, xzq) > before, "xzq's log tells of a reorganisation")
    shown(f"the small half reorganised, and its note was not lost: it is on every chain exactly once; height {tip['height']}")

    step("The books are right everywhere")
    audit = books(lan, [*FIVE, sixth])
    shown(f"six checks from genesis agree: {audit['supply']} coins in {audit['coins']} pieces")
    statuses = lan.status(FIVE)
    for status in statuses:
        print(f"    {status['name']:4} memory {status['memory_bytes'] / 2**20:5.1f} MiB   disk {status['disk_bytes'] / 2**20:4.1f} MiB   {status['peers']} peers")
    eventually("the health checks are content", lambda: all(map(lan.healthy, FIVE)))
    shown("every health check is content")

    step("What the logs tell: friendchain observe")
    report(lan, tip["tip"])

    step("And stop, cleanly")
    stop_all(lan, FIVE)


def main():
    parser = argparse.ArgumentParser(prog="demo.sh", description="The whole mission in three minutes.")
    parser.add_argument("--wan", action="store_true", help="three friends across an internet with routers, in Docker")
    options = lans.arguments(parser).parse_args()
    if options.wan and options.local:
        parser.error("--wan needs Docker for its routers: plain processes share one network (tests/reach.sh has others)")
    compose, tour = (wan.Wan, wan.tour) if options.wan else (lans.Compose, demo)
    with lans.opened(options, compose) as lan:
        begin()
        tour(lan)
        finish(lan)


if __name__ == "__main__":
    main()
