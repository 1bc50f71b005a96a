"""What a socket keeps for a server that is away."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import zmq

from shared.codec import Buffer
from shared.transport import CurvePair, Listener, Transport

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
