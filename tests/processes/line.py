"""Two hosts and the line between them: network namespaces, and a wire that this process is.

Each namespace has a TAP device; a thread hands frames from one to the other, delayed, lost or not
at all. So TCP sees a real line, without `tc netem`, which not every kernel has.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

ADDRESSES = ("10.77.0.1", "10.77.0.2")
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_FRAME = 1 << 16


@dataclass
class Line:
    """The line as it is now. delay: seconds one way. loss: part of the frames. cut: no frame."""

    hosts: tuple[str, str]
    delay: float = 0.0
    loss: float = 0.0
    cut: bool = False
    carried: int = 0
    lost: int = 0
    _ends: tuple[int, int] = (-1, -1)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def inside(self, host: int) -> tuple[str, ...]:
        """What to put before a command that is to run on this host."""
        return ("ip", "netns", "exec", self.hosts[host])

    def run(self) -> None:
        """Carries frames until it is stopped."""
        chance = random.Random(1)
        due: list[tuple[float, int, int, bytes]] = []
        number = 0
        while not self._stopping.is_set():
            wait = 0.05 if not due else max(0.0, min(0.05, due[0][0] - time.monotonic()))
            for end in select.select(self._ends, [], [], wait)[0]:
                frame = os.read(end, _FRAME)
                if self.cut or chance.random() < self.loss:
                    self.lost += 1
                    continue
                number += 1
                other = self._ends[1 - self._ends.index(end)]
                heapq.heappush(due, (time.monotonic() + self.delay, number, other, frame))
            while due and due[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(due)
                if not self.cut:
                    os.write(end, frame)
                    self.carried += 1


@contextmanager
def two_hosts() -> Iterator[Line]:
    """Two namespaces with a line between them; the test is skipped where they cannot be made."""
    if os.geteuid() != 0:
        pytest.skip("only root may make network namespaces")
    names = (f"twokey{os.getpid()}a", f"twokey{os.getpid()}b")
    with ExitStack() as stack:
        ends = []
        for host, name in enumerate(names):
            _ip("netns", "add", name)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True)
            device = f"tk{os.getpid()}{'ab'[host]}"[-15:]
            end = _tap(device)
            stack.callback(os.close, end)
            ends.append(end)
            _ip("link", "set", device, "netns", name)
            for command in (
                ("link", "set", "lo", "up"),
                ("addr", "add", f"{ADDRESSES[host]}/24", "dev", device),
                ("link", "set", device, "up"),
            ):
                _ip("-n", name, *command)
        line = Line(names, _ends=(ends[0], ends[1]))
        thread = threading.Thread(target=line.run, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(line._stopping.set)
        yield line


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no network namespaces here: ip {' '.join(arguments)}: {done.stderr.strip()}")


def _tap(name: str) -> int:
    try:
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"no TAP devices here: {error.strerror}")
    try:
        wish = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(end, _TUNSETIFF, wish)
    except OSError as error:
        os.close(end)
        pytest.skip(f"no TAP devices here: {error.strerror}")
    return end
