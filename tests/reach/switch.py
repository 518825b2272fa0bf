"""The internet of the laboratory: an Ethernet switch in user space that delays each frame.

usage: switch.py DELAY_MS PORT...
Each PORT is the name of a network namespace, in which the switch makes a device `wan`. The switch
prints `ready`, and runs until its input ends.
This works on kernels without netem.
"""

import collections
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEAD = 0x0002 | 0x1000
# The maximum number of frames in flight: as many as 100 Mbit/s carry in a second.
QUEUE = 8192


def tap(number, namespace):
    """Makes a TAP device, moves it to a namespace as `wan`, and returns its file descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    name = f"fc{os.getpid()}p{number}"
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP_WITHOUT_HEAD))
    subprocess.run(["ip", "link", "set", name, "netns", namespace, "name", "wan"], check=True)
    return fd


def main():
    delay = float(sys.argv[1]) / 1000
    ports = [tap(number, namespace) for number, namespace in enumerate(sys.argv[2:])]
    print("ready", flush=True)
    queue = collections.deque()
    learned = {}
    stdin = sys.stdin.fileno()
    while True:
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, out, frame = queue.popleft()
            try:
                os.write(ports[out], frame)
            except OSError:
                pass  # The device is down: the frame is lost, as on a real line.
        wait = max(0, queue[0][0] - now) if queue else None
        for fd in select.select([stdin, *ports], [], [], wait)[0]:
            if fd == stdin:
                return
            came = ports.index(fd)
            for _ in range(64):
                try:
                    frame = os.read(fd, 65536)
                except OSError:
                    break
                learned[frame[6:12]] = came
                to = None if frame[0] & 1 else learned.get(frame[:6])
                for out in range(len(ports)) if to is None else [to]:
                    if out != came and len(queue) < QUEUE:
                        queue.append((time.monotonic() + delay, out, frame))


if __name__ == "__main__":
    main()
