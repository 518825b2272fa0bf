"""Disturbances under load, and the checks after them, see chaos.sh."""

import argparse
import collections
import random
import sys
import threading
import time

import lan as lans
from lan import FIVE, Failed, Refused, eventually, quietly

# Range of a disturbance's length, and of the pause after it, in seconds.
LASTS = (1, 15)
THEN = (1, 8)
# Range of the time between two actions of a friend, in seconds.
EVERY = (0.3, 2.5)
# Time limit of a command, in seconds. A later outcome is unknown, and counts as not acknowledged.
PATIENCE = 20
# Time limit for all nodes to agree at the end, in seconds.
HEALING = 240


class Load(threading.Thread):
    """Trades, notes and chat of one friend. Records each attempt and each acknowledgement."""

    def __init__(self, lan, name, seed):
        super().__init__(daemon=True)
        self.lan, self.name = lan, name
        self.random = random.Random(f"{seed} {name}")
        self.ended = threading.Event()
        self.count = 0
        self.trades, self.notes, self.lines = {}, {}, {}
        self.tried, self.refused = collections.Counter(), collections.Counter()
        self.broken = []

    def run(self):
        while not self.ended.wait(self.random.uniform(*EVERY)):
            what = self.random.choices([self.send, self.note, self.chat, self.broadcast], [4, 2, 3, 1])[0]
            self.tried[what.__name__] += 1
            try:
                what()
            except Refused:
                self.refused[what.__name__] += 1
            except Exception as broken:  # A malformed answer fails the run, but must not end the load.
                self.broken.append(f"{self.name} {what.__name__}: {broken!r}")

    def ask(self, *words):
        return self.lan.ask(self.name, *words, timeout=PATIENCE)

    def text(self, kind):
        """Returns a text that is unique in this run."""
        self.count += 1
        return f"{kind} {self.count} of {self.name}"

    def friend(self):
        return self.random.choice([name for name in FIVE if name != self.name])

    def send(self):
        address = self.ask("list-addresses")["addresses"][0]["address"]
        amount = f"{self.random.randint(1, 400)}.5"
        fee = self.random.choice(["0", "0.0001"])
        sent = self.ask("send", "--from", address, "--to", self.friend(), "--amount", amount, "--fee", fee)
        self.trades[sent["txid"]] = amount

    def note(self):
        text = self.text("note")
        self.notes[text] = None
        self.notes[text] = self.ask("note", text)["txid"]

    def chat(self):
        text, friend = self.text("line"), self.friend()
        self.lines[text] = (friend, None)
        self.lines[text] = (friend, self.ask("chat", friend, text)["state"])

    def broadcast(self):
        self.ask("broadcast", self.text("broadcast"))


class Chaos:
    """Disturbs the LAN in one way at a time, and undoes it. A partition may include a kill."""

    def __init__(self, lan, seed):
        self.lan = lan
        self.random = random.Random(seed)
        self.done = collections.Counter()
        self.slowest_stop = 0.0
        self.begun = time.monotonic()

    def say(self, what):
        print(f"{time.monotonic() - self.begun:6.0f} s  {what}", flush=True)

    def hold(self):
        time.sleep(self.random.uniform(*LASTS))

    def play(self, seconds):
        while time.monotonic() - self.begun < seconds:
            weighted = {self.kill: 3, self.pause: 2, self.cut: 2, self.partition: 3, self.restart: 2}
            what = self.random.choices(list(weighted), list(weighted.values()))[0]
            self.done[what.__name__] += 1
            what()
            time.sleep(self.random.uniform(*THEN))

    def kill(self, among=FIVE):
        name = self.random.choice(among)
        self.say(f"kill -9 {name}")
        self.lan.kill(name)
        self.hold()
        self.lan.start(name)
        self.awake(name)

    def restart(self):
        name = self.random.choice(FIVE)
        start = time.monotonic()
        code = self.lan.stop(name)
        took = time.monotonic() - start
        self.say(f"restart {name}: ended after {took:.1f} s")
        self.slowest_stop = max(self.slowest_stop, took)
        if code != 0:
            raise Failed(f"{name} ended with exit code {code} when it was told to stop")
        self.lan.start(name)
        self.awake(name)

    def pause(self):
        name = self.random.choice(FIVE)
        self.say(f"pause {name}")
        self.lan.pause(name)
        self.hold()
        self.lan.resume(name)

    def cut(self):
        self.split([self.random.choice(FIVE)])

    def partition(self):
        self.split(self.random.sample(FIVE, 2))

    def split(self, group):
        others = [name for name in FIVE if name not in group]
        self.say(f"partition: {', '.join(group)} | {', '.join(others)}")
        self.lan.split(group, others)
        self.hold()
        if self.random.random() < 0.4:
            self.done["kill"] += 1
            self.kill(others)
        self.lan.heal()

    def awake(self, name):
        eventually(f"{name} is back", lambda: self.lan.ask(name, "status", timeout=PATIENCE)["running"])


def everything(lan, loads, chaos):
    """Checks the nodes at the end. Returns a list of (claim, violations)."""
    print("All is healed; now what was promised.", flush=True)
    results = []

    def claim(text, wrong):
        wrong = list(wrong)
        results.append((text, wrong))
        print(f"  {'held  ' if not wrong else 'BROKEN'}  {text}", flush=True)
        for one in wrong[:5]:
            print(f"            {one}", flush=True)

    claim("no node ended by itself, and none panicked", [
        *(f"{name} ended by itself" for name in FIVE if lan.fell_over(name)),
        *(f"{name} panicked" for name in FIVE if "panicked" in lan.log(name)),
    ])
    claim("every answer was one", [one for load in loads for one in load.broken])
    tried, refused = (sum(counters, collections.Counter()) for counters in ([load.tried for load in loads], [load.refused for load in loads]))
    claim("the load got through", [
        *(f"{load.name} still waits for an answer" for load in loads if load.is_alive()),
        # A lack of coins or a stopped node refuses some commands, but not nine in ten.
        *(f"{refused[what]} of {tried[what]} × {what} were refused" for what in ("send", "note", "chat") if refused[what] * 10 >= tried[what] * 9),
    ])
    claim(f"SIGTERM ended nodes within 15 s (the slowest took {chaos.slowest_stop:.1f} s)", [chaos.slowest_stop] if chaos.slowest_stop > 15 else [])

    def settled():
        every = lan.status(FIVE)
        quiet = all(one["mempool"] == 0 for one in every) and len({one["tip"] for one in every}) == 1
        return every[0] if quiet else None

    try:
        tip = eventually("one tip everywhere, and nothing waits", settled, HEALING)
        claim(f"one tip everywhere, at height {tip['height']}", [])
    except Failed as failed:
        claim("one tip everywhere", [str(failed)])
        return results

    audits = lan.every(FIVE, lambda name: lan.ask(name, "verify-chain", timeout=120))
    claim(f"the supply is the sum of the subsidies: {audits[0]['supply']} coins", [
        audit for audit in audits
        if not audit["ok"] or audit["supply"] != str(100 * (audit["height"] + 1)) or audit["coins_hash"] != audits[0]["coins_hash"]
    ])

    blocks = lan.ask(FIVE[0], "print-chain", "--limit", "1000000", timeout=120)["blocks"]
    chain = [tx for block in blocks for tx in block["transactions"]]
    count = collections.Counter(tx["txid"] for tx in chain)
    notes = collections.Counter(tx.get("memo") for tx in chain if tx["kind"] == "note")
    claim(f"nothing is on the chain twice, of {len(chain)} transactions", [txid for txid, times in count.items() if times != 1])

    void = []
    spent = {(coin["txid"], coin["index"]) for tx in chain for coin in tx["inputs"]}

    def fate(load, txid):
        if count[txid] == 1:
            return None
        seen = load.lan.ask(load.name, "tx", txid)
        # A trade is rightly void only if one of its coins is spent or not on the chain.
        hopeless = any((coin["txid"], coin["index"]) in spent or not count[coin["txid"]] for coin in seen["inputs"])
        if seen["state"] == "void" and seen.get("reason") and hopeless:
            void.append(txid)
            return None
        return f"trade {txid} of {load.name}: {seen['state']} ({seen.get('reason')}), {count[txid]} times on the chain"

    trades = [(load, txid) for load in loads for txid in load.trades]
    wrong = [fate(*one) for one in trades]
    claim(f"each of {len(trades)} acknowledged trades is on the chain once, or void with its reason ({len(void)} of them)", filter(None, wrong))

    written = [(text, txid) for load in loads for text, txid in load.notes.items()]
    acknowledged = [one for one in written if one[1]]
    claim(f"each of {len(acknowledged)} acknowledged notes is on the chain once", [
        one for one in acknowledged if count[one[1]] != 1 or notes[one[0]] != 1
    ])
    claim("a note of which nothing is known is there at most once", [one for one in written if notes[one[0]] > 1])

    def kept():
        every = lan.every(FIVE, lambda name: lan.ask(name, "history", "--limit", "1000000")["messages"])
        return {name: collections.Counter(one["text"] for one in messages) for name, messages in zip(FIVE, every)}

    lines = [(text, *what) for load in loads for text, what in load.lines.items()]
    told = [one for one in lines if one[2]]

    def missing():
        at = kept()
        return [one for one in told if at[one[1]][one[0]] == 0]

    try:
        eventually("the outboxes are empty", lambda: not missing(), HEALING)
    except Failed:
        pass
    at = kept()
    delivered = sum(one[2] == "delivered" for one in told)
    claim(f"each of {len(told)} acknowledged lines is kept by its receiver exactly once ({delivered} were delivered at once)", [
        one for one in told if at[one[1]][one[0]] != 1
    ])
    claim("no line and no broadcast is kept twice anywhere", [
        (name, text) for name in FIVE for text, times in at[name].items() if times > 1
    ])
    return results


def main():
    parser = argparse.ArgumentParser(prog="chaos.sh", description="Disturbances under load, and what holds after them.")
    parser.add_argument("--minutes", type=float, default=5, help="how long [default: 5]")
    parser.add_argument("--seed", type=int, default=1, help="which disturbances [default: 1]")
    options = lans.arguments(parser).parse_args()
    with lans.opened(options) as lan:
        lan.up()
        lan.await_friends(FIVE)
        for name in FIVE:
            lan.ask(name, "mine", "2")
        lan.await_one_tip(FIVE, 1)
        print(f"{lan.describe()}; {options.minutes:g} minutes, seed {options.seed}", flush=True)
        loads = [Load(lan, name, options.seed) for name in FIVE]
        chaos = Chaos(lan, options.seed)
        for load in loads:
            load.start()
        try:
            chaos.play(options.minutes * 60)
        finally:
            for load in loads:
                load.ended.set()
            for load in loads:
                load.join(PATIENCE * 3)
        eventually("all answer", lambda: all(one["running"] for one in lan.status(FIVE)))
        results = everything(lan, loads, chaos)
        quietly(lan.collect)

        print("\nDone to them:  " + ", ".join(f"{count} × {what}" for what, count in sorted(chaos.done.items())))
        for title, counters in (("tried", [load.tried for load in loads]), ("not acknowledged", [load.refused for load in loads])):
            total = sum(counters, collections.Counter())
            print(f"Load, {title}:  " + ", ".join(f"{count} × {what}" for what, count in sorted(total.items())))
        broken = [text for text, wrong in results if wrong]
        print(f"{'All held' if not broken else 'BROKEN: ' + '; '.join(broken)}.  Logs: {lan.out}")
        if broken:
            sys.exit(1)


if __name__ == "__main__":
    main()
