"""What the numbers of the peer's messages tell of those that never came."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import zmq

from party.peerlink import ROUTE, Arrived, PeerLink
from shared.codec import Buffer
from shared.errors import FormatError, StaleMessage
from shared.transport import Connection, CurvePair, Listener, Transport


class Ends:
    """Both parties' ends of one link, on real sockets."""

    def __init__(self, stack: ExitStack) -> None:
        keys = [CurvePair(*zmq.curve_keypair()) for _ in range(2)]
        p0, p1 = (stack.enter_context(Transport(key)) for key in keys)
        listener = p1.listen(
            "tcp://127.0.0.1:*",
            [keys[0].public],
            domain="peer",
            queue=100,
            max_message=1 << 20,
            handover=True,
        )
        connection = p0.connect(
            listener.endpoint(), keys[1].public, identity=ROUTE, queue=100, max_message=1 << 20
        )
        self.raw: tuple[Connection, Listener] = (connection, listener)
        self.p0, self.p1 = PeerLink(connection, os.urandom), PeerLink(listener, os.urandom)


@pytest.fixture
def ends() -> Iterator[Ends]:
    with ExitStack() as stack:
        yield Ends(stack)


def arrived(link: PeerLink) -> Arrived:
    deadline = time.monotonic() + 10
    while (found := link.receive()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return found


def test_messages_arrive_as_they_were_sent_in_both_directions(ends: Ends) -> None:
    for text in (b"one", b"two"):
        assert ends.p0.send([text, b"", text])
        assert arrived(ends.p1) == Arrived([text, b"", text], 0)
        assert ends.p1.send([text])
        assert arrived(ends.p0) == Arrived([text], 0)


def test_what_is_lost_is_counted_at_the_next_message(ends: Ends) -> None:
    ends.p0.send([b"first"])
    assert arrived(ends.p1).lost == 0
    ends.p0.end = _Deaf()
    for _ in range(3):
        assert not ends.p0.send([b"lost"])
    ends.p0.end = ends.raw[0]
    ends.p0.send([b"next"])
    assert arrived(ends.p1) == Arrived([b"next"], 3)
    ends.p0.send([b"after"])
    assert arrived(ends.p1) == Arrived([b"after"], 0)


class _Deaf(Connection):
    def __init__(self) -> None:
        pass

    def send(self, frames: list[Buffer]) -> bool:
        return False


def test_a_process_that_was_started_anew_has_lost_nothing(ends: Ends) -> None:
    for _ in range(5):
        ends.p0.send([b"of the first"])
        assert arrived(ends.p1).lost == 0
    again = PeerLink(ends.raw[0], os.urandom)
    again.send([b"of the second"])
    assert arrived(ends.p1) == Arrived([b"of the second"], 0)


@pytest.mark.parametrize("back", [1, 2])
def test_a_number_that_was_there_before_is_stale(ends: Ends, back: int) -> None:
    for _ in range(2):
        ends.p0.send([b"new"])
        arrived(ends.p1)
    ends.p0._sent -= back
    ends.p0.send([b"again"])
    with pytest.raises(StaleMessage, match="came again"):
        arrived(ends.p1)
    ends.p0._sent = 2
    ends.p0.send([b"new"])
    assert arrived(ends.p1) == Arrived([b"new"], 0)


@pytest.mark.parametrize("head", [b"", b"x" * 15, b"x" * 17, b"x" * 1000])
def test_a_message_without_a_number_is_refused(ends: Ends, head: bytes) -> None:
    ends.raw[0].send([head, b"text"])
    with pytest.raises(FormatError, match="expected 16"):
        arrived(ends.p1)
