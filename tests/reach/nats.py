"""Checks of the laboratory itself: each kind of NAT works as its name says, and hole punching
between two of them succeeds exactly where theory says so. No node takes part."""

import contextlib
import select
import socket
import time

from net import NATS, Internet, inside

PORT = 7000
# The longest wait for a packet that may not come, in seconds. A packet takes 20 ms.
SILENCE = 0.4


def possible(one, two):
    """True if theory allows a direct connection between two kinds of NAT."""
    return "symmetric" not in (one, two) or "cone" in (one, two)


def udp(namespace, port, address="0.0.0.0"):
    with inside(namespace):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
    made.settimeout(SILENCE)
    return made


def tcp(namespace, port):
    with inside(namespace):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("0.0.0.0", port))
    return made


def heard(receiver):
    """Returns the sender of the next packet, or None."""
    with contextlib.suppress(OSError):
        return receiver.recvfrom(100)[1]
    return None


def udp_figures(net, nat):
    """Returns the properties for UDP that the NAT does not have."""
    one, two = net["one"], net["two"]
    home = udp(net["a"].host, PORT)
    ones = [udp(one.host, 9001), udp(one.host, 9002)]
    twos = [udp(two.host, 9001), udp(two.host, 9002)]
    outside = net["a"].public
    ones[0].sendto(b"before", (outside, PORT))
    wrong = []
    if heard(home) is not None:
        wrong.append("a packet came in before any went out")
    seen = []
    for receiver, peer in ((ones[0], one), (ones[1], one), (twos[0], two)):
        home.sendto(b"out", (peer.public, receiver.getsockname()[1]))
        seen.append(heard(receiver))
    if None in seen:
        return [*wrong, f"packets do not go out: {seen}"]
    if (len(set(seen)) == 1) != (nat != "symmetric"):
        wrong.append(f"mappings {seen}")
    if nat != "symmetric" and seen[0][1] != PORT:
        wrong.append(f"the port became {seen[0]}")
    ones[0].sendto(b"back", seen[0])
    if heard(home) is None:
        wrong.append("an answer does not come in")
    # An endpoint to which the home has sent nothing.
    twos[1].sendto(b"unasked", seen[0])
    if (heard(home) is not None) != (nat == "cone"):
        wrong.append("filtering of an unknown endpoint")
    twos[0].sendto(b"at another's mapping", seen[0])
    if (heard(home) is not None) != (nat != "symmetric"):
        wrong.append("filtering of a known endpoint at another's mapping")
    return wrong


def tcp_figures(net, nat):
    """Returns the properties for TCP that the NAT does not have."""
    wrong, seen = [], []
    listeners = []
    for name in ("one", "two"):
        with inside(net[name].host):
            listeners.append(socket.create_server((net[name].public, 9101)))
    kept = []
    for listener in listeners:
        dialer = tcp(net["a"].host, PORT + 1)
        dialer.settimeout(2)
        dialer.connect(listener.getsockname())
        listener.settimeout(2)
        accepted, address = listener.accept()
        kept += [dialer, accepted]
        seen.append(address)
    if (len(set(seen)) == 1) != (nat != "symmetric"):
        wrong.append(f"TCP mappings {seen}")
    home = tcp(net["a"].host, PORT + 1)
    home.listen()
    home.settimeout(SILENCE)
    stranger = tcp(net["two"].host, 9102)
    stranger.setblocking(False)
    stranger.connect_ex(seen[0])
    came = heard_connection(home)
    if came != (nat == "cone"):
        wrong.append("filtering of an unknown TCP endpoint")
    return wrong


def heard_connection(listener):
    with contextlib.suppress(OSError):
        listener.accept()
        return True
    return False


def observed(net, name, kind, port):
    """Returns a home's socket, and its public address as the host `one` sees it."""
    if kind == "udp":
        home, server = udp(net[name].host, port), udp(net["one"].host, 9200)
        home.sendto(b"who am I", (net["one"].public, 9200))
        seen = heard(server)
        server.close()
        return home, seen
    with inside(net["one"].host):
        server = socket.create_server((net["one"].public, 9201))
    dialer = tcp(net[name].host, port)
    dialer.settimeout(2)
    dialer.connect((net["one"].public, 9201))
    accepted, seen = server.accept()
    server.close()
    return (dialer, accepted), seen


def punch_udp(net):
    ends = {name: observed(net, name, "udp", PORT + 2) for name in ("a", "b")}
    (a, at_a), (b, at_b) = ends["a"], ends["b"]
    got = set()
    until = time.monotonic() + 1.5
    while time.monotonic() < until and len(got) < 2:
        for mine, theirs in ((a, at_b), (b, at_a)):
            mine.sendto(b"punch", theirs)
        for ready in select.select([a, b], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):
                data, sender = ready.recvfrom(100)
                # If a mapping differs from the observed one, only an answer arrives.
                ready.sendto(b"answer", sender)
                if data == b"answer":
                    got.add(ready)
    return bool(got)


def punch_tcp(net):
    ends = {name: observed(net, name, "tcp", PORT + 3) for name in ("a", "b")}
    listeners = []
    for name in ("a", "b"):
        listener = tcp(net[name].host, PORT + 3)
        listener.listen()
        listener.setblocking(False)
        listeners.append(listener)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        dials = []
        for name, other in (("a", "b"), ("b", "a")):
            dial = tcp(net[name].host, PORT + 3)
            dial.setblocking(False)
            dial.connect_ex(ends[other][1])
            dials.append(dial)
        again = time.monotonic() + 0.5
        while time.monotonic() < again:
            readable, writable, _ = select.select(listeners, dials, [], 0.1)
            if readable or any(dial.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 for dial in writable):
                return True
            dials = [dial for dial in dials if dial not in writable]
            if not dials:
                time.sleep(0.1)
        for dial in dials:
            dial.close()
    return False


def check():
    """Prints a bar for each kind of NAT and for each pair."""
    for nat in NATS:
        with Internet(one="none", two="none", a=nat) as net:
            wrong = udp_figures(net, nat) + tcp_figures(net, nat)
            said = "; ".join(wrong) or "mapping and filtering of UDP and TCP as named"
            print(f"bar nat-{nat}: {said} {'MISSED' if wrong else 'ok'}", flush=True)
    for one in NATS:
        for two in NATS:
            with Internet(one="none", a=one, b=two) as net:
                want = possible(one, two)
                got = {"UDP": punch_udp(net), "TCP": punch_tcp(net)}
                said = ", ".join(f"{kind} {'direct' if done else 'closed'}" for kind, done in got.items())
                held = all(done == want for done in got.values())
                theory = "direct" if want else "closed"
                print(f"bar punch-{one}-{two}: {said} (theory: {theory}) {'ok' if held else 'MISSED'}", flush=True)


if __name__ == "__main__":
    check()
