"""The link to the peer: every message is numbered, so that a lost one is noticed (encodings E7)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from shared.codec import Buffer
from shared.errors import FormatError, StaleMessage
from shared.transport import Connection, Listener

ROUTE = b"p0"  # by which P1 knows the connection of P0
_NUMBER = struct.Struct("<8sQ")  # which process, and its how many-th message


class Arrived(NamedTuple):
    """Frames of a message, and how many of the peer's messages before it never came."""

    frames: list[Buffer]
    lost: int


class PeerLink:
    """Numbers what is sent, checks the numbers of what comes.

    ZeroMQ keeps the order, but a connection that breaks may take messages with it, and a queue
    that is full takes no more. random: fresh random bytes, to tell this process from the last.
    """

    def __init__(self, end: Listener | Connection, random: Callable[[int], bytes]) -> None:
        self.end = end
        self._own = random(8)
        self._sent = 0
        self._peer = b""
        self._expected = 0

    def send(self, frames: list[Buffer]) -> bool:
        """False when the message is lost already; the peer will notice."""
        numbered = [_NUMBER.pack(self._own, self._sent), *frames]
        self._sent += 1
        if isinstance(self.end, Connection):
            return self.end.send(numbered)
        return self.end.send(ROUTE, numbered)

    def receive(self) -> Arrived | None:
        """The next message, or None when there is none now.

        Raises FormatError without a number, StaleMessage for a number that was there before.
        """
        if isinstance(self.end, Connection):
            frames = self.end.receive()
        else:
            received = self.end.receive()
            frames = None if received is None else received.frames
        if frames is None:
            return None
        return self._checked(frames)

    def _checked(self, frames: list[Buffer]) -> Arrived:
        head = bytes(frames[0])
        if len(head) != _NUMBER.size:
            raise FormatError(f"message number: found {len(head)} bytes, expected {_NUMBER.size}")
        peer, number = _NUMBER.unpack(head)
        if peer != self._peer:  # it was started anew: no session with it can have missed anything
            self._peer, self._expected = peer, number
        lost = number - self._expected
        if lost < 0:
            raise StaleMessage(f"message {number} of the peer came again")
        self._expected = number + 1
        return Arrived(frames[1:], lost)
