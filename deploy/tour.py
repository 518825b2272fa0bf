"""How a tour reads: numbered steps, and claims that were checked."""

import os
import sys
import time

from lan import Failed

PLAIN = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))
BEGUN = time.monotonic()
# The longest time that a tour may take, in seconds.
LONGEST = 180
steps = 0


def paint(code, text):
    return text if PLAIN else f"\033[{code}m{text}\033[0m"


def step(title):
    global steps
    steps += 1
    print(f"\n{paint('1;36', f'{steps:2}  {title}')}  {paint('2', f'{seconds():.0f} s')}", flush=True)


def shown(claim):
    print(f"    {paint('32', 'ok')}  {claim}", flush=True)


def must(holds, claim):
    if not holds:
        raise Failed(claim)


def begin():
    """Starts the clock: images are made before."""
    global BEGUN
    BEGUN = time.monotonic()


def seconds():
    return time.monotonic() - BEGUN


def seconds_since(start):
    return f"{time.monotonic() - start:.1f} s"


def finish(lan):
    """Ends a tour of which each step has held."""
    must(seconds() < LONGEST, f"it takes under three minutes: {seconds():.0f} s")
    print(f"\n{paint('1;32', 'All of it works')}: {steps} steps in {seconds():.0f} s; logs and report in {lan.out}")


def received(lan, name, text):
    """Returns a node's kept chat lines with a text."""
    return [line for line in lan.ask(name, "history")["messages"] if line["text"] == text]


def books(lan, names):
    """Checks all chains from genesis, which must agree. Returns one report."""
    audits = lan.every(names, lambda name: lan.ask(name, "verify-chain"))
    must(all(one["ok"] and one["supply"] == str(100 * (one["height"] + 1)) for one in audits), f"100 coins a block: {audits}")
    must(len({one["coins_hash"] for one in audits}) == 1, "the same coins everywhere")
    return audits[0]


def report(lan, tip):
    """Shows the report of `observe`, which must know the tip."""
    lan.collect()
    page = lan.out / "report.html"
    text = lan.observe(page)
    must(tip[:16] in text and tip[:16] in page.read_text(), f"the report knows block {tip}")
    for line in text.splitlines():
        print(f"    {line}")
    shown(f"the same with plots: {page}")


def stop_all(lan, names):
    """Stops all nodes, which must end cleanly and soon."""
    start = time.monotonic()
    must(not any(map(lan.fell_over, names)), "nobody has ended by itself")
    must(not any("panicked" in lan.log(name) for name in names), "no part of a node has panicked")
    codes = lan.every(names, lan.stop)
    took = time.monotonic() - start
    must(codes == [0] * len(names) and took < 15, f"SIGTERM ends them with exit code 0, soon: {codes} after {took:.1f} s")
    shown(f"SIGTERM, and all {len(names)} have ended with exit code 0 after {took:.1f} s")
    if lan.keep:
        lan.every(names, lan.start)
