"""The LAN of demo, crowd and chaos: containers of docker-compose.yml, or plain processes (--local).

Both have the same operations: start, kill, stop, pause, split and heal, and each command of a node
with `--json`.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
FIVE = ["yzw", "yjf", "sr", "xzq", "hjs"]
PROJECT = "friendchain-demo"
IMAGE = os.environ.get("FRIENDCHAIN_IMAGE", "friendchain")


class Failed(Exception):
    """A check of a script failed."""


class Refused(Exception):
    """A command failed, or was refused by the node."""


def run(*command, timeout=120, **options):
    """Runs a command that must succeed, and returns its output."""
    command = [str(word) for word in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **options)
    except subprocess.TimeoutExpired as late:
        raise Refused(f"{' '.join(command)}: no answer within {timeout} s") from late
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)}: {why(done)}")
    return done.stdout


def why(done):
    """Returns the reason of a failed command as one line."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return json.loads(done.stdout)["error"]["message"]
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return said[-1] if said else f"exit code {done.returncode}"


def must_be_friendchain(*command):
    """Checks the program at once: any other one would make the script wait for answers in vain."""
    try:
        said = run(*command, "--version", timeout=30, stdin=subprocess.DEVNULL)
    except (Refused, OSError, ValueError) as failed:
        raise Failed(f"it does not run as friendchain ({failed}): give another program with --binary") from failed
    if not said.startswith("friendchain "):
        raise Failed(f"{' '.join(map(str, command))} is not friendchain: give another program with --binary")


def revision():
    """Returns the commit for the image's labels: FRIENDCHAIN_REVISION, else that of this tree."""
    given = os.environ.get("FRIENDCHAIN_REVISION")
    if given:
        return given
    try:
        changed = run("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no").strip()
        return run("git", "-C", ROOT, "rev-parse", "HEAD").strip() + ("-dirty" if changed else "")
    except (Refused, OSError):
        return "unknown"


def quietly(action, *arguments, **options):
    """Runs a step of clearing up, which may fail because there is nothing to clear."""
    with contextlib.suppress(Refused, OSError):
        action(*arguments, **options)


def eventually(what, attempt, within=60):
    """Retries until the answer is truthy, and returns it. Retries after a refusal too."""
    until = time.monotonic() + within
    seen = None
    while True:
        try:
            answer = attempt()
            if answer:
                return answer
            seen = answer
        except Refused as refused:
            seen = refused
        if time.monotonic() > until:
            raise Failed(f"not within {within} s: {what} (last seen: {seen!r})")
        time.sleep(0.25)


class Lan:
    """The common part of both kinds of LAN."""

    keep = False

    def __init__(self, out):
        self.out = pathlib.Path(out) if out else pathlib.Path(tempfile.mkdtemp(prefix="friendchain-"))
        self.out.mkdir(parents=True, exist_ok=True)

    def ask(self, name, *words, timeout=60):
        """Runs a command with `--json`, and returns its answer."""
        answer = run(*self.friendchain(name), "--json", *words, timeout=timeout)
        try:
            return json.loads(answer)
        except ValueError as broken:
            raise Refused(f"{name} {words[0]}: not a whole answer: {answer!r}") from broken

    def every(self, names, ask):
        """Asks several nodes at once, and returns the answers in order."""
        with ThreadPoolExecutor(max(len(names), 1)) as pool:
            return list(pool.map(ask, names))

    def status(self, names):
        return self.every(names, lambda name: self.ask(name, "status"))

    def await_one_tip(self, names, height=0, within=60):
        """Waits for the same tip on all nodes, at `height` or above. Returns one status."""

        def same():
            every = self.status(names)
            tips = {one["tip"] for one in every}
            return every[0] if len(tips) == 1 and every[0]["height"] >= height else None

        return eventually(f"one tip on {', '.join(map(str, names))}, at {height} or above", same, within)

    def await_friends(self, names, within=60):
        """Waits until each node sees all the others online."""

        def all_there():
            def missing(name):
                online = {one["name"] for one in self.ask(name, "friends")["friends"] if one["online"]}
                return set(names) - {name} - online

            return not any(self.every(names, missing))

        eventually(f"{', '.join(names)} see each other", all_there, within)


class Compose(Lan):
    """A LAN of containers. Commands run inside them, so that a partition does not affect them."""

    names = FIVE
    profile = "crowd"
    # Advice for a machine without Docker.
    instead = "try --local"

    pausing = "SIGSTOP"
    splitting = "docker network disconnect, and connect to another network"

    def __init__(self, out=None):
        super().__init__(out)
        self.away = f"{PROJECT}-away"
        # Without known peers, so that mDNS alone must find the others.
        self.environment = {**os.environ, "FRIENDCHAIN_PEERS": ""}
        self.moved = {}
        self.fallen = set()
        if shutil.which("docker") is None:
            raise Failed(f"there is no docker here: {self.instead}")
        for words in (["docker", "compose"], ["docker-compose"]):
            with contextlib.suppress(Refused, OSError):
                self.version = run(*words, "version", "--short").strip()
                self.which = " ".join(words)
                self.compose_words = [*words, "-p", PROJECT, "-f", str(HERE / "docker-compose.yml"), "--profile", self.profile]
                break
        else:
            raise Failed(f"there is neither `docker compose` nor `docker-compose` here: {self.instead}")
        try:
            run("docker", "info")
        except Refused as refused:
            raise Failed(f"no Docker engine answers ({refused}): {self.instead}") from refused

    def describe(self):
        bytes_ = int(run("docker", "image", "inspect", "-f", "{{.Size}}", IMAGE))
        return f"containers ({self.which} {self.version}); image {IMAGE}, {bytes_ / 1e6:.1f} MB"

    def make_image(self, binary):
        """Builds the image from a binary, else from source if there is no image yet."""
        build = ["docker", "build", "-q", "-f", HERE / "Dockerfile", "-t", IMAGE, ROOT]
        build += ["--build-arg", f"REVISION={revision()}"]
        environment = {**self.environment, "DOCKER_BUILDKIT": "1"}
        if binary:
            (HERE / "image").mkdir(exist_ok=True)
            shutil.copy2(binary, HERE / "image" / "friendchain")
            run(*build, "--build-arg", "BINARY=host", env=environment)
            return
        try:
            run("docker", "image", "inspect", IMAGE)
        except Refused:
            print("The image is built from source; this takes some minutes.", flush=True)
            run(*build, env=environment, timeout=3600)

    def compose(self, *words, timeout=300):
        return run(*self.compose_words, *words, env=self.environment, timeout=timeout)

    def make_room(self, containers):
        """Removes what is left of a run that was ended. Others' containers of these names stay."""
        quietly(self.compose, "down", "-v", "--remove-orphans", "-t", "5")
        quietly(run, "docker", "network", "rm", self.away)
        taken = [name for name in containers if run("docker", "ps", "-aq", "--filter", f"name=^/{name}$").strip()]
        if taken:
            raise Failed(
                f"there are containers named {', '.join(taken)} already: end them first "
                "(docker compose -f deploy/docker-compose.yml down; their volumes stay)"
            )

    def up(self):
        self.make_room(self.names)
        self.compose("up", "-d", *self.names)
        run("docker", "network", "create", self.away)

    def down(self):
        for name in list(self.moved):
            quietly(run, "docker", "network", "disconnect", "-f", self.away, name)
        # A paused node does not stop.
        for name in self.names:
            quietly(self.resume, name)
        quietly(self.compose, "down", "-v", "--remove-orphans", "-t", "5")
        quietly(run, "docker", "network", "rm", self.away)

    def crowd(self, count):
        """Starts `count` more friends without configuration, and returns their containers."""
        self.compose("up", "-d", "--no-recreate", "--scale", f"friend={count}", "friend")
        return self.compose("ps", "-q", "friend").split()

    def friendchain(self, name):
        return ["docker", "exec", name, "friendchain"]

    def start(self, name):
        run("docker", "start", name)

    def kill(self, name):
        self.fell_over(name)
        run("docker", "kill", "-s", "KILL", name)

    def stop(self, name):
        """Stops a node as an orchestrator does, and returns its exit code."""
        self.fell_over(name)
        run("docker", "stop", "-t", "30", name)
        return int(run("docker", "inspect", "-f", "{{.State.ExitCode}}", name))

    def pause(self, name):
        # `docker pause` freezes the commands in the container too, and may fail under load.
        run("docker", "kill", "--signal", "STOP", name)

    def resume(self, name):
        run("docker", "kill", "--signal", "CONT", name)

    def fell_over(self, name):
        """Returns true if the node ever ended by itself.

        The engine resets its count at each start, so this is called before each kill and stop.
        """
        state = run("docker", "inspect", "-f", "{{.RestartCount}} {{.State.OOMKilled}}", name).split()
        if state != ["0", "false"]:
            self.fallen.add(name)
        return name in self.fallen

    def split(self, group, _others):
        """Moves a group to a network of its own."""
        for name in group:
            home = run("docker", "inspect", "-f", "{{range $n, $_ := .NetworkSettings.Networks}}{{$n}}{{end}}", name)
            self.moved[name] = home.strip()
            run("docker", "network", "disconnect", self.moved[name], name)
        # A single node needs no network.
        if len(group) > 1:
            for name in group:
                run("docker", "network", "connect", self.away, name)

    def heal(self):
        for name, home in list(self.moved.items()):
            quietly(run, "docker", "network", "disconnect", self.away, name)
            run("docker", "network", "connect", home, name)
            del self.moved[name]

    def healthy(self, name):
        return run("docker", "inspect", "-f", "{{.State.Health.Status}}", name).strip() == "healthy"

    def collect(self):
        """Copies the logs out of the containers, and returns their folder."""
        logs = self.out / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        run("docker", "cp", f"{self.names[0]}:/logs", logs)
        for name in self.names:
            # The output before the log was open, or at a crash.
            (self.out / f"{name}.err").write_text(self.log(name))
        return logs

    def log(self, name):
        """Returns the whole log of a node."""
        both = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=False)
        return both.stdout + both.stderr

    def observe(self, page):
        """Returns the report of all logs as text, and writes it as a page."""
        text = run(*self.friendchain(self.names[0]), "observe", "/logs", "--limit", "12", "--html", "/logs/report.html")
        run("docker", "cp", f"{self.names[0]}:/logs/report.html", page)
        return text


class Local(Lan):
    """A LAN of processes on loopback, where mDNS does not work: each gets the first as its peer."""

    pausing = "SIGSTOP"
    splitting = "each side bans the other: without root there is no network to cut"

    def __init__(self, binary, out=None):
        super().__init__(out)
        self.binary = pathlib.Path(binary).resolve() if binary else self.built()
        if not os.access(self.binary, os.X_OK) or self.binary.is_dir():
            raise Failed(f"{self.binary} is no program: give another with --binary")
        must_be_friendchain(self.binary)
        self.data = self.out / "data"
        self.logs = self.out / "logs"
        self.processes = {}
        self.banned = []
        self.fallen = set()
        self.ports = {}

    @staticmethod
    def built():
        print("The program is built, if it is not yet.", flush=True)
        done = subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=False)
        if done.returncode != 0:
            raise Failed("it does not build: give a program with --binary")
        return ROOT / "target" / "release" / "friendchain"

    def describe(self):
        return f"plain processes of {self.binary.name}"

    def up(self):
        for folder in (self.data, self.logs):
            shutil.rmtree(folder, ignore_errors=True)
        for said_before in self.out.glob("*.err"):
            said_before.unlink()
        for name in FIVE:
            self.start(name)

    def down(self):
        for process in self.processes.values():
            quietly(process.send_signal, signal.SIGCONT)
            quietly(process.terminate)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.data, ignore_errors=True)

    def crowd(self, count):
        names = [f"friend{number}" for number in range(1, count + 1)]
        for name in names:
            self.start(name, mine="off")
        return names

    def friendchain(self, name):
        return [self.binary, "--data-dir", self.data, "--node-id", name]

    def start(self, name, mine="on-demand"):
        peers = [f"--peer=127.0.0.1:{self.ports[FIVE[0]]}"] if name != FIVE[0] and FIVE[0] in self.ports else []
        if name not in self.ports:
            # The others get the first node's port as a flag, so it must be known before it starts.
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.ports[name] = probe.getsockname()[1]
        flags = [f"--listen=127.0.0.1:{self.ports[name]}", "--no-mdns", f"--mine={mine}", "--threads=1", *peers]
        flags += ["--log-format=json", f"--log-dir={self.logs}"]
        with open(self.out / f"{name}.err", "ab") as err:
            self.processes[name] = subprocess.Popen(
                [*map(str, self.friendchain(name)), "start-node", *flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
            )

    def end(self, name, how):
        process = self.processes[name]
        if process.poll() is not None:
            self.fallen.add(name)
        process.send_signal(how)
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"{name} has not ended within 30 s of signal {how}") from late

    def kill(self, name):
        self.end(name, signal.SIGKILL)

    def stop(self, name):
        return self.end(name, signal.SIGTERM)

    def pause(self, name):
        self.processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name):
        self.processes[name].send_signal(signal.SIGCONT)

    def fell_over(self, name):
        return name in self.fallen or self.processes[name].poll() is not None

    def split(self, group, others):
        ids = {name: self.ask(name, "status")["peer_id"] for name in [*group, *others]}
        self.banned = [(a, ids[b]) for one, two in ((group, others), (others, group)) for a in one for b in two]
        for name, peer in self.banned:
            self.ask(name, "ban", peer)

    def heal(self):
        for name, peer in self.banned:
            self.ask(name, "unban", peer)
        self.banned = []

    def healthy(self, name):
        return self.ask(name, "status")["running"]

    def collect(self):
        return self.logs

    def log(self, name):
        files = [*sorted(self.logs.glob(f"{name}.*.log")), self.out / f"{name}.err"]
        return "".join(path.read_text(errors="replace") for path in files if path.exists())

    def observe(self, page):
        return run(*self.friendchain(FIVE[0]), "observe", self.logs, "--limit", "12", "--html", page)


def arguments(parser):
    """Adds the options that all scripts have."""
    parser.add_argument("--local", action="store_true", help="plain processes instead of containers")
    parser.add_argument("--binary", metavar="FILE", help="the program: what --local runs, or what the image is made of")
    parser.add_argument("--out", metavar="DIR", help="where logs and reports are left [default: a new folder in /tmp]")
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    return parser


@contextlib.contextmanager
def opened(options, compose=Compose):
    """Yields the LAN that the options describe, and always clears it away at the end."""

    def end(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    lan = None
    try:
        lan = Local(options.binary, options.out) if options.local else compose(options.out)
        if not options.local:
            lan.make_image(options.binary)
            must_be_friendchain("docker", "run", "--rm", IMAGE)
        lan.keep = options.keep
        yield lan
    except (Failed, Refused) as failed:
        print(f"\nFAILED: {failed}", file=sys.stderr, flush=True)
        if lan:
            quietly(lan.collect)
            print(f"What the nodes said is in {lan.out}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if lan and not options.keep:
            lan.down()
