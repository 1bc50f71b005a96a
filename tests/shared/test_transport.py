"""What a socket keeps for a server that is away."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from shared.codec import Buffer
from shared.transport import CurvePair, Listener, Transport

ROOT = Path(__file__).parents[2]
QUEUE = 1000
LARGEST = 1 << 20


def keys() -> CurvePair:
    public, secret = zmq.curve_keypair()
    return CurvePair(public, secret)


def wait(found: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not found():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def listen(end: Transport, address: str, allowed: bytes) -> Listener:
    return end.listen(address, [allowed], domain="peer", queue=QUEUE, max_message=LARGEST)


@pytest.mark.parametrize("ahead", [False, True])
def test_messages_pile_up_for_a_server_that_is_away_only_where_that_is_wanted(ahead: bool) -> None:
    own, other = keys(), keys()
    received: list[list[Buffer]] = []
    with Transport(own) as here, Transport(other) as there:
        with Transport(other) as probe:
            address = listen(probe, "tcp://127.0.0.1:*", own.public).endpoint()
        connection = here.connect(
            address, other.public, identity=b"p0", queue=QUEUE, max_message=LARGEST, ahead=ahead
        )
        assert connection.send([b"before"]) is ahead
        listener = listen(there, address, own.public)

        def arrived() -> bool:
            connection.send([b"after"])
            message = listener.receive()
            if message is not None:
                received.append(message.frames)
            return message is not None

        assert wait(arrived)
    assert received == [[b"before" if ahead else b"after"]]


# A client floods until the listener's queue is full, and is killed; then the listener reads.
FLOODED = """
import os, signal, time, zmq
from shared.transport import CurvePair, Transport

own, other = (CurvePair(*zmq.curve_keypair()) for _ in range(2))
with Transport(own) as here:
    listener = here.listen(
        "tcp://127.0.0.1:*", [other.public], domain="cameras", queue=50, max_message=1 << 20
    )
    address = listener.endpoint()
    client = os.fork()
    if client == 0:
        connection = Transport(other).connect(
            address, own.public, identity=b"door", queue=1000, max_message=1 << 20
        )
        while True:
            connection.send([bytes(20_000)])
            time.sleep(0.001)
    time.sleep(2)
    os.kill(client, signal.SIGKILL)
    os.waitpid(client, 0)
    time.sleep(3)
    while listener.receive() is not None:
        pass
    print("alive")
    os._exit(0)  # the fork shares a context that would wait for the client
"""


def test_a_client_that_dies_while_its_queue_is_full_does_no_harm() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FLOODED], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")
