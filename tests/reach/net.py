"""The laboratory's internet: hosts with public addresses, and homes behind routers with real NAT.

Each host and router is a network namespace. A router translates by nftables:
- `cone`: full cone. A mapping keeps its port, and any endpoint may send to it.
- `port`: port-restricted. A mapping keeps its port; only an endpoint that got a packet may answer.
- `symmetric`: each destination gets a mapping at a random port; only it may send to that port.
- `none`: the host has a public address itself.
"""

import contextlib
import ctypes
import itertools
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NATS = ["cone", "port", "symmetric"]
# The delay of a frame, in ms. A round trip between two homes through the public node takes 40 ms.
DELAY_MS = 10
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = itertools.count()

RULES = """
table ip nat {
  map mapped { type inet_proto . inet_service : ipv4_addr; flags dynamic; size 4096; }
  chain inward {
    type nat hook prerouting priority dstnat;
    %(inward)s
  }
  chain outward {
    type nat hook postrouting priority srcnat;
    %(outward)s
  }
}
table ip filter {
  set friends { type ipv4_addr; }
  counter direct {}
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" icmp type echo-request accept
    iifname "wan" drop
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "lan" oifname "wan" accept
    iifname "wan" ct state established ip saddr @friends counter name direct
    iifname "wan" ct state established,related accept
    iifname "wan" ct status dnat accept
  }
}
"""


def rules(nat):
    """Returns the rules of a router."""
    if nat == "cone":
        # A packet from inside makes the mapping. After that any endpoint may send to it.
        make = "add @mapped { meta l4proto . th sport : ip saddr }"
        outward = f'oifname "wan" meta l4proto {{ tcp, udp }} {make} masquerade'
        inward = 'iifname "wan" meta l4proto { tcp, udp } dnat to meta l4proto . th dport map @mapped'
    else:
        inward = ""
        outward = 'oifname "wan" masquerade' + (" random,fully-random" if nat == "symmetric" else "")
    return RULES % {"inward": inward, "outward": outward}


def ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True)


@contextlib.contextmanager
def inside(namespace):
    """Runs the body in a network namespace, so that the sockets it opens belong there."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        if LIBC.setns(there.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        try:
            yield
        finally:
            LIBC.setns(home.fileno(), CLONE_NEWNET)


def why_not():
    """Returns the reason why this machine cannot run the laboratory, or None."""
    missing = [tool for tool in ("ip", "nft", "nsenter") if shutil.which(tool) is None]
    if missing:
        return f"it needs the programs {', '.join(missing)}: install iproute2, nftables and util-linux"
    if os.geteuid() != 0:
        return "it needs root, for network namespaces"
    if not os.access("/dev/net/tun", os.W_OK):
        return "it needs /dev/net/tun"
    probe = f"fr{os.getpid()}probe"
    if subprocess.run(["ip", "netns", "add", probe], check=False, capture_output=True).returncode != 0:
        return "network namespaces are not allowed here"
    try:
        for nat in NATS:
            check = ["nsenter", f"--net=/run/netns/{probe}", "nft", "--check", "--file", "-"]
            done = subprocess.run(check, input=rules(nat), text=True, capture_output=True, check=False)
            if done.returncode != 0:
                return f"this kernel lacks a part of nftables: {done.stderr.strip()}"
    finally:
        ip("netns", "del", probe)
    return None


class Home:
    """A host, and the router before it unless its NAT is `none`."""

    def __init__(self, unique, number, name, nat):
        self.name, self.nat = name, nat
        # Each home is in a network of its own, since nodes limit the peers of one network.
        self.public = f"5.{number}.0.1"
        self.router = f"{unique}r{number}" if nat != "none" else None
        self.host = f"{unique}h{number}"
        # All homes begin with the same private network, as most real ones do.
        self.subnet = "192.168.1"
        self.number = number + 10

    @property
    def edge(self):
        """The namespace that has the public address."""
        return self.router or self.host


def run_in(namespace, *words, **options):
    """Runs a program in a namespace, which must succeed, and returns its output."""
    command = ["nsenter", f"--net=/run/netns/{namespace}", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


class Internet:
    """Homes by name, such as `Internet(pub="none", a="cone")`. Use it in a `with` statement."""

    def __init__(self, delay_ms=DELAY_MS, **nats):
        self.unique = f"fr{os.getpid()}x{next(NUMBERS)}"
        self.delay_ms = delay_ms
        self.homes = {
            name: Home(self.unique, number, name, nat) for number, (name, nat) in enumerate(nats.items(), 1)
        }
        self.switch = None

    def __getitem__(self, name):
        return self.homes[name]

    def __enter__(self):
        try:
            for home in self.homes.values():
                for namespace in filter(None, (home.host, home.router)):
                    ip("netns", "add", namespace)
                    ip("-n", namespace, "link", "set", "lo", "up")
            edges = [home.edge for home in self.homes.values()]
            self.switch = subprocess.Popen(
                [sys.executable, HERE / "switch.py", str(self.delay_ms), *edges],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            if self.switch.stdout.readline() != "ready\n":
                raise OSError("the switch does not start")
            for home in self.homes.values():
                self.wire(home)
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.switch:
            self.switch.stdin.close()
            self.switch.wait(10)
        for home in self.homes.values():
            for namespace in filter(None, (home.host, home.router)):
                subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def wire(self, home):
        edge = home.edge
        ip("-n", edge, "addr", "add", f"{home.public}/8", "dev", "wan")
        ip("-n", edge, "link", "set", "wan", "up")
        if home.router:
            self.set_nat(home, home.nat)
            ip("link", "add", "lan", "netns", edge, "type", "veth", "peer", "name", "eth0", "netns", home.host)
            self.plug(home, home)

    def set_nat(self, home, nat):
        """Gives a router its kind of NAT."""
        home.nat = nat
        run_in(home.router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run_in(home.router, "nft", "--file", "-", input=f"flush ruleset\n{rules(nat)}")
        others = ", ".join(other.public for other in self.homes.values() if other.router and other is not home)
        if others:
            run_in(home.router, "nft", f"add element ip filter friends {{ {others} }}")

    def plug(self, host, home):
        """Gives a host that is wired to the router of `home` its address and its gateway."""
        ip("-n", home.router, "addr", "add", f"{home.subnet}.1/24", "dev", "lan")
        ip("-n", home.router, "link", "set", "lan", "up")
        ip("-n", host.host, "addr", "add", f"{home.subnet}.{host.number}/24", "dev", "eth0")
        ip("-n", host.host, "link", "set", "eth0", "up")
        ip("-n", host.host, "route", "replace", "default", "via", f"{home.subnet}.1")

    def unplug(self, home):
        """Removes a host's address and gateway, as if its cable were unplugged."""
        ip("-n", home.host, "link", "set", "eth0", "down")
        ip("-n", home.host, "addr", "flush", "dev", "eth0")

    def move(self, host, home):
        """Moves an unplugged host to another home, whose own host is disconnected for good."""
        ip("-n", home.router, "link", "del", "lan")
        ip("-n", host.router, "link", "set", "lan", "netns", home.router)
        self.plug(host, home)

    def direct_bytes(self, name):
        """Returns the bytes that other homes sent to this one directly, over answered connections."""
        said = run_in(self[name].router, "nft", "list", "counter", "ip", "filter", "direct")
        return int(said.split("bytes")[1].split()[0])
