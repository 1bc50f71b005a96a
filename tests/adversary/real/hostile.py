"""Clients of a real socket that hold whatever keys they like, and send whatever they like."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Self

import zmq

from shared.codec import Buffer
from shared.messages import CAMERA_CODEC, CameraRefused, FaceAck
from shared.transport import CurvePair


class Hostile:
    """A DEALER socket to one listener. Use as a context manager.

    own: its keys, none for a connection without CURVE. route: the routing id that it claims.
    """

    def __init__(
        self,
        address: str,
        server: bytes,
        own: CurvePair | None,
        *,
        route: bytes = b"",
        plain: bool = False,
    ) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = 100_000
        if own is not None:
            self.socket.curve_publickey, self.socket.curve_secretkey = own.public, own.secret
            self.socket.curve_serverkey = server
        if plain:
            self.socket.plain_username, self.socket.plain_password = b"gate", b"gate"
        if route:
            self.socket.routing_id = route
        self.socket.connect(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(linger=0)
        self._context.term()

    def send(self, frames: Sequence[Buffer]) -> None:
        """All frames as one message; none where the connection was ended for good."""
        if self.socket.poll(2000, zmq.POLLOUT):
            with suppress(zmq.Again):  # it may end just now
                self.socket.send_multipart(list(frames), zmq.NOBLOCK)

    def answers(self, seconds: float) -> list[list[bytes]]:
        """All that comes within this time."""
        deadline = time.monotonic() + seconds
        found = []
        while (left := deadline - time.monotonic()) > 0:
            if self.socket.poll(max(1, int(1000 * left))):
                found.append(self.socket.recv_multipart())
        return found

    def verdict(self, slots: Iterable[int] = (), seconds: float = 60.0) -> str:
        """What becomes of a message: an error's name, `welcome`, or `acknowledged`.

        slots: all of them are to be acknowledged. Empty when no answer comes.
        """
        waiting = set(slots)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not self.socket.poll(max(1, int(1000 * left))):
                continue
            message = CAMERA_CODEC.decode(self.socket.recv_multipart())
            if isinstance(message, CameraRefused):
                return message.error
            if isinstance(message, FaceAck):
                for first, length, _ in message.outcomes:
                    waiting -= set(range(first, first + length))
                if not waiting:
                    return "acknowledged"
            elif not slots:  # a party welcomes of its own accord too, when slots burned
                return "welcome"
        return ""


def fresh_keys() -> CurvePair:
    """A key pair that nobody knows."""
    return CurvePair(*zmq.curve_keypair())
