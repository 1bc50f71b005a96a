"""What a socket keeps for a server that is away, and what one client can do to another."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from shared.codec import Buffer
from shared.transport import MOST_FRAMES, MOST_HANDSHAKES, CurvePair, Listener, Received, Transport

ROOT = Path(__file__).parents[2]
QUEUE = 1000
LARGEST = 1 << 20


def keys() -> CurvePair:
    public, secret = zmq.curve_keypair()
    return CurvePair(public, secret)


def wait(found: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not found():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def listen(end: Transport, address: str, *allowed: bytes) -> Listener:
    return end.listen(address, allowed, domain="peer", queue=QUEUE, max_message=LARGEST)


def next_message(listener: Listener) -> Received:
    """The next message; AssertionError when none comes."""
    found: list[Received] = []

    def arrived() -> bool:
        message = listener.receive()
        if message is not None:
            found.append(message)
        return message is not None

    assert wait(arrived)
    return found[0]


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


def test_a_client_that_claims_the_route_of_another_gets_none_of_its_answers() -> None:
    own, honest, thief = keys(), keys(), keys()
    with Transport(own) as there, Transport(honest) as one, Transport(thief) as other:
        listener = listen(there, "tcp://127.0.0.1:*", honest.public, thief.public)
        address = listener.endpoint()
        victim = one.connect(address, own.public, queue=QUEUE, max_message=LARGEST)
        victim.send([b"here I am"])
        route = next_message(listener).sender
        claim = other.connect(address, own.public, identity=route, queue=QUEUE, max_message=LARGEST)
        claim.send([b"I have that route"])
        for _ in range(10):
            time.sleep(0.05)
            assert listener.receive() is None
            assert listener.send(route, [b"an answer"])
            assert wait(lambda: victim.receive() == [b"an answer"])
        assert claim.receive() is None
        victim.send([b"still here"])
        message = next_message(listener)
        assert (message.sender, message.key) == (route, honest.public)


def test_a_client_that_connects_without_end_is_let_in_again_at_a_slow_pace_only() -> None:
    own, hasty, calm = keys(), keys(), keys()
    with Transport(own) as there, Transport(hasty) as one, Transport(calm) as other:
        listener = listen(there, "tcp://127.0.0.1:*", hasty.public, calm.public)
        address = listener.endpoint()

        def connects(end: Transport) -> bool:
            connection = end.connect(address, own.public, queue=QUEUE, max_message=LARGEST)
            connection.send([b"here I am"])
            deadline = time.monotonic() + 0.5
            message = None
            while message is None and time.monotonic() < deadline:
                message = listener.receive()
                time.sleep(0.001)
            connection.socket.close(linger=0)
            return message is not None

        let_in = 0
        while connects(one):
            let_in += 1
            assert let_in <= MOST_HANDSHAKES + 20
        assert let_in >= MOST_HANDSHAKES
        assert connects(other)  # another one is not held up
        assert wait(lambda: connects(one))


@pytest.mark.parametrize("frames", [MOST_FRAMES, MOST_FRAMES + 1, 20_000])
def test_of_a_message_no_more_frames_are_kept_than_any_message_has(frames: int) -> None:
    own, other = keys(), keys()
    with Transport(own) as here, Transport(other) as there:
        listener = listen(there, "tcp://127.0.0.1:*", own.public)
        connection = here.connect(
            listener.endpoint(), other.public, queue=QUEUE, max_message=LARGEST
        )
        connection.send([b"x"] * frames)
        connection.send([b"the next"])
        assert len(next_message(listener).frames) == min(frames, MOST_FRAMES + 1)
        assert next_message(listener).frames == [b"the next"]
        listener.send(next_route(listener, connection.send), [b"y"] * frames)
        found: list[list[Buffer]] = []

        def answered() -> bool:
            message = connection.receive()
            if message is not None:
                found.append(message)
            return message is not None

        assert wait(answered)
        assert len(found[0]) == min(frames, MOST_FRAMES + 1)


def next_route(listener: Listener, send: Callable[[list[Buffer]], bool]) -> bytes:
    send([b"where am I?"])
    return next_message(listener).sender


NOISE = {
    "nothing": b"",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no CURVE": b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48),
    "a forged handshake": b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(47) + b"\x04\x10" * 99,
}


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("ahead", [False, True])
def test_a_client_that_met_noise_comes_back_to_its_server(noise: str, ahead: bool) -> None:
    """One changed bit on the line must not part two ends for ever."""
    own, other = keys(), keys()
    with Transport(own) as here, Transport(other) as there:
        with socket.create_server(("127.0.0.1", 0)) as sham:
            port = sham.getsockname()[1]
            address = f"tcp://127.0.0.1:{port}"
            connection = here.connect(
                address, other.public, queue=QUEUE, max_message=LARGEST, ahead=ahead
            )
            with sham.accept()[0] as end:
                end.sendall(NOISE[noise])
                time.sleep(0.2)
            time.sleep(0.2)
        listener = listen(there, address, own.public)
        received: list[list[Buffer]] = []

        def arrived() -> bool:
            connection.send([b"here I am"])
            assert connection.receive() is None
            message = listener.receive()
            if message is not None:
                received.append(message.frames)
            return message is not None

        assert wait(arrived, 20)
        assert received[0] == [b"here I am"]


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
