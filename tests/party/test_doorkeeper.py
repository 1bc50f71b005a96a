"""Connections that nobody may hold open, and messages that never end, at a real listener."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import zmq

from party.doorkeeper import Doorkeeper, connections
from shared.transport import Connection, CurvePair, Listener, Transport

MOST = 10
PIECE = 900_000  # below the largest message
BACKLOG = 4 << 20


class Door:
    """A listener, a client that it knows, and its doorkeeper."""

    def __init__(self, stack: ExitStack) -> None:
        self.keys = [CurvePair(*zmq.curve_keypair()) for _ in range(2)]
        here, there = (stack.enter_context(Transport(key)) for key in self.keys)
        self.listener: Listener = here.listen(
            "tcp://127.0.0.1:*",
            [self.keys[1].public],
            domain="door",
            queue=10,
            max_message=1 << 20,
        )
        self.transport = there
        self.keeper = Doorkeeper(self.listener, most=MOST, backlog=BACKLOG)
        self.address = ("127.0.0.1", int(self.listener.endpoint().rpartition(":")[2]))
        self.stack = stack

    def connect(self) -> Connection:
        """One more connection of the known client."""
        return self.transport.connect(
            self.listener.endpoint(), self.keys[0].public, queue=10_000, max_message=1 << 20
        )

    def strangers(self, count: int) -> list[socket.socket]:
        """Connections that say nothing."""
        return [
            self.stack.enter_context(socket.create_connection(self.address)) for _ in range(count)
        ]

    def until(self, wanted: int) -> None:
        """Until so many are open at the listener."""
        deadline = time.monotonic() + 30
        while len(list(connections(self.address[1]))) != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def take(self, seconds: float = 30.0) -> int:
        """Waits for a message and takes it; its number of frames, 0 when none comes."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.listener.receive()
            if found is not None:
                return len(found.frames)
            time.sleep(0.005)
        return 0


@pytest.fixture
def door() -> Iterator[Door]:
    with ExitStack() as stack:
        yield Door(stack)


def ended(end: socket.socket) -> bool:
    """Whether the other side has closed this connection."""
    end.settimeout(20)
    try:
        while end.recv(1000):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_strangers_are_let_wait_while_there_is_room(door: Door) -> None:
    strangers = door.strangers(MOST - 2)
    door.until(MOST - 2)
    for seconds in (0.0, 1.0, 2.0):
        assert door.keeper.look(seconds) == []
    strangers[0].settimeout(20)
    assert strangers[0].recv(10)  # the greeting


def test_where_room_is_short_those_who_said_nothing_have_to_go(door: Door) -> None:
    known = door.connect()
    known.send([b"hello"])
    assert door.take() == 1
    strangers = door.strangers(MOST + 5)
    door.until(MOST + 6)
    assert door.keeper.look(0.0) == []  # they may still say something
    (line,) = door.keeper.look(1.0)
    assert line == f"{MOST + 5} connections that said nothing, of {MOST + 6}"
    assert all(ended(one) for one in strangers)
    assert door.keeper.look(2.0) == []
    known.send([b"still here"])
    assert door.take() == 1


def test_far_too_many_have_to_go_at_once(door: Door) -> None:
    strangers = door.strangers(4 * MOST + 1)
    door.until(4 * MOST + 1)
    (line,) = door.keeper.look(0.0)
    assert line.startswith(f"{4 * MOST + 1} connections")
    assert all(ended(one) for one in strangers)


def test_a_connection_that_leaves_too_much_unread_is_shut_and_its_memory_is_free(
    door: Door,
) -> None:
    other, greedy = door.connect(), door.connect()
    other.send([b"hello"])
    assert door.take() == 1
    assert door.keeper.look(0.0) == []
    for _ in range(8):  # one message after the other, none is taken
        greedy.send([bytes(PIECE)])
    deadline = time.monotonic() + 30
    lines: list[str] = []
    while not lines and time.monotonic() < deadline:
        time.sleep(0.02)
        lines = door.keeper.look(0.5)
    (line,) = lines
    assert line.startswith("127.0.0.1: ")
    assert line.endswith(" MiB of it can not be taken")
    greedy.socket.close(linger=0)
    door.until(1)
    while door.listener.receive() is not None:
        pass
    other.send([b"still here"])
    assert door.take() == 1


def test_whoever_is_listened_to_may_send_any_amount(door: Door) -> None:
    busy = door.connect()
    for round_number in range(12):
        busy.send([bytes(PIECE), b"x"])
        assert door.take() == 2
        assert door.listener.receive() is None
        assert door.keeper.look(float(round_number)) == []


def test_a_descriptor_that_is_given_again_is_another_connection(door: Door) -> None:
    first = door.connect()
    first.send([bytes(1000)])
    assert door.take() == 1
    door.keeper.look(0.0)
    first.socket.close(linger=0)
    door.until(0)
    strangers = door.strangers(MOST + 2)
    door.until(MOST + 2)
    door.keeper.look(1.0)
    (line,) = door.keeper.look(2.0)
    assert line.startswith(f"{MOST + 2} connections")
    assert len(strangers) == MOST + 2


LIMITED = """
import resource
from party.doorkeeper import raise_open_files
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
raise_open_files()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - min(hard, 1 << 16))
"""


def test_a_process_may_have_as_many_open_files_as_the_machine_allows() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
