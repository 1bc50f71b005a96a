"""The channel between the parties of a session: ZeroMQ with CURVE, in order, with deadlines.

P1 listens, P0 connects, as in the matching.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from shared.codec import Buffer
from shared.engine_messages import ENGINE_CODEC, MESSAGE_LIMIT, EngineMessage, EngineRefused
from shared.errors import PeerVanished, ResourceError, SecurityError
from shared.transport import Connection, CurvePair, Listener, Poller, Transport

_QUEUE = 64
_SEND_PAUSE = 0.001
DEADLINE_SECONDS = 60.0


class Link(Protocol):
    """What a session needs of its channel."""

    def meet(self) -> None:
        """Waits, at the end that connects, until the other one is there. Raises PeerVanished."""

    def send(self, message: EngineMessage) -> None:
        """Sends a message. Raises PeerVanished when it cannot be sent in time."""

    def receive(self) -> EngineMessage:
        """The peer's next message. Raises PeerVanished, FormatError, or the peer's refusal."""

    def close(self) -> None:
        """Ends the channel."""


class SocketLink:
    """A link over a socket; counts the bytes of all frames, without ZeroMQ's own."""

    def __init__(
        self, transport: Transport, end: Listener | Connection, peer_key: bytes, deadline: float
    ) -> None:
        self._transport = transport
        self._end = end
        self._peer_key = peer_key
        self._poller = Poller(end)
        self._peer: bytes | None = None
        self._deadline = deadline
        self.bytes_sent = 0
        self.bytes_received = 0

    def meet(self) -> None:
        """As `Link.meet`: nothing has been sent when it fails."""
        if isinstance(self._end, Connection) and not self._end.reachable(self._deadline):
            raise PeerVanished(f"engine peer: not reached in {self._deadline:.0f} s")

    def send(self, message: EngineMessage) -> None:
        """As `Link.send`."""
        if self._peer is None and not isinstance(self._end, Connection):
            raise PeerVanished("engine peer: has not been heard of yet")
        frames = ENGINE_CODEC.encode(message)
        limit = time.monotonic() + self._deadline
        while not self._send(frames):
            if time.monotonic() > limit:
                raise PeerVanished(f"engine peer: nothing taken in {self._deadline:.0f} s")
            time.sleep(_SEND_PAUSE)
        self.bytes_sent += sum(map(_size, frames))

    def receive(self) -> EngineMessage:
        """As `Link.receive`."""
        limit = time.monotonic() + self._deadline
        while True:
            frames = self._receive()
            if frames is not None:
                break
            left = limit - time.monotonic()
            if left <= 0:
                raise PeerVanished(f"engine peer: no message in {self._deadline:.0f} s")
            self._poller.ready(max(1, int(1000 * left)))
        self.bytes_received += sum(map(_size, frames))
        message: EngineMessage = ENGINE_CODEC.decode(frames)
        if isinstance(message, EngineRefused):
            raise SecurityError(f"the peer ended the session: {message.error}: {message.detail}")
        return message

    def close(self) -> None:
        """As `Link.close`."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def endpoint(self) -> str:
        """The address of a listening link."""
        if isinstance(self._end, Connection):
            raise ResourceError("this link connects, it does not listen")
        return self._end.endpoint()

    def _send(self, frames: list[Buffer]) -> bool:
        if isinstance(self._end, Connection):
            return self._end.send(frames)
        return self._peer is not None and self._end.send(self._peer, frames)

    def _receive(self) -> list[Buffer] | None:
        if isinstance(self._end, Connection):
            return self._end.receive()
        found = self._end.receive()
        if found is None:
            return None
        if found.key != self._peer_key or self._peer not in (None, found.sender):
            return None  # not of this session
        self._peer = found.sender
        return found.frames


def connect(
    own: CurvePair, peer: bytes, endpoint: str, *, deadline: float = DEADLINE_SECONDS
) -> SocketLink:
    """P0's end. peer: P1's CURVE key. deadline: seconds for each message. Raises ConfigError."""
    with ExitStack() as cleanup:
        transport = cleanup.enter_context(Transport(own))
        end = transport.connect(
            endpoint,
            peer,
            identity=b"p0",
            queue=_QUEUE,
            max_message=MESSAGE_LIMIT,
            ahead=False,
        )
        cleanup.pop_all()
    return SocketLink(transport, end, peer, deadline)


def listen(
    own: CurvePair, peer: bytes, endpoint: str, *, deadline: float = DEADLINE_SECONDS
) -> SocketLink:
    """P1's end. peer: P0's CURVE key, the only one admitted. Raises ResourceError."""
    with ExitStack() as cleanup:
        transport = cleanup.enter_context(Transport(own))
        end = transport.listen(
            endpoint, [peer], domain="engine", queue=_QUEUE, max_message=MESSAGE_LIMIT
        )
        cleanup.pop_all()
    return SocketLink(transport, end, peer, deadline)


def _size(frame: Buffer) -> int:
    return frame.nbytes if isinstance(frame, memoryview) else len(frame)
