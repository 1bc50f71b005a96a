"""ZeroMQ with CURVE: both ends are authenticated by keys known beforehand.

Keys are 40-character Z85 text as bytes, the form that ZeroMQ uses.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import zmq
from zmq.auth.thread import ThreadAuthenticator

from shared.codec import Buffer
from shared.errors import ConfigError, ResourceError

# That a peer is gone, the kernel notices. Not ZeroMQ's own heartbeats: in its version 4.3.5 they
# abort the process when a peer goes away of whose messages a whole queue is not read yet. Long
# enough for a receiver that is behind: a new connection would only add a queue to the one it has.
SILENCE_MS = 30_000
_CONNECT_MS = 3_000
_PROBE_SECONDS = 2
_LINGER_MS = 1_000
HANDSHAKE_MS = 5_000
RECONNECT_MS = 50
RECONNECT_MAX_MS = 2_000
_LOOK_SECONDS = 0.5
_REVIVE_SECONDS = 4.0
MOST_FRAMES = 8  # of a message; none that a codec knows has more
MOST_HANDSHAKES = 60  # of one key at once
_HANDSHAKE_SECONDS = 1.0  # and then one in so many: no client reconnects more often for long


@dataclass(frozen=True, slots=True)
class CurvePair:
    """A CURVE key pair; the secret half never prints."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Received:
    """A multipart message and who sent it: routing id and the authenticated public key."""

    sender: bytes
    key: bytes
    frames: list[Buffer]


class _KnownKeys:
    """The credentials provider of a listener: only listed keys get in, and none too often.

    Without end a client could guess the route that a listener makes up next for another one, at
    which ZeroMQ ends the process.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.keys = set(keys)
        self._free_at: dict[bytes, float] = {}  # when all handshakes of a key are paid for

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether this 40-character public key may connect now."""
        if key not in self.keys:
            return False
        now = time.monotonic()
        free_at = max(self._free_at.get(key, now), now)
        if free_at - now > (MOST_HANDSHAKES - 1) * _HANDSHAKE_SECONDS:
            return False
        self._free_at[key] = free_at + _HANDSHAKE_SECONDS
        return True


class Transport:
    """One ZeroMQ context with its authenticator. Close it, or use it as a context manager."""

    def __init__(self, own: CurvePair) -> None:
        if not zmq.has("curve"):
            raise ConfigError("this ZeroMQ was built without CURVE")
        self._own = own
        self._context = zmq.Context()
        self._authenticator: ThreadAuthenticator | None = None
        self._sockets: list[zmq.Socket[bytes]] = []

    def listen(
        self,
        endpoint: str,
        allowed: Iterable[bytes],
        *,
        domain: str,
        queue: int,
        max_message: int,
        handover: bool = False,
    ) -> Listener:
        """A ROUTER socket that admits these public keys only. Raises ResourceError.

        handover: a new connection takes over the route that it names. Only for a listener with
        one client: among several, each could cut another one off.
        """
        if self._authenticator is None:
            self._authenticator = ThreadAuthenticator(self._context)
            self._authenticator.start()
        known = _KnownKeys(allowed)
        self._authenticator.configure_curve_callback(domain=domain, credentials_provider=known)
        socket = self._socket(zmq.ROUTER, queue, max_message)
        socket.zap_domain = domain.encode()
        socket.curve_server = True
        socket.curve_secretkey = self._own.secret
        socket.router_mandatory = True
        socket.router_handover = handover
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise ResourceError(f"cannot listen on {endpoint}: {error.strerror}") from None
        return Listener(socket, known)

    def connect(
        self,
        endpoint: str,
        server: bytes,
        *,
        identity: bytes | None = None,
        queue: int,
        max_message: int,
        ahead: bool = True,
    ) -> Connection:
        """A DEALER socket to one server, known by its public key; reconnects by itself.

        identity: the route by which the server may speak first; without one, it is a fresh one
        of the server's choice for each connection. ahead: whether messages are queued while the
        server is away.
        """
        socket = self._socket(zmq.DEALER, queue, max_message)
        socket.immediate = not ahead
        if identity is not None:
            socket.routing_id = identity
        socket.curve_publickey = self._own.public
        socket.curve_secretkey = self._own.secret
        socket.curve_serverkey = server
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise ConfigError(f"cannot use the address {endpoint}: {error.strerror}") from None
        return Connection(socket, endpoint)

    def _socket(self, kind: int, queue: int, max_message: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = queue
        socket.rcvhwm = queue
        socket.maxmsgsize = max_message
        socket.handshake_ivl = HANDSHAKE_MS
        socket.reconnect_ivl = RECONNECT_MS
        socket.reconnect_ivl_max = RECONNECT_MAX_MS
        socket.connect_timeout = _CONNECT_MS
        socket.tcp_maxrt = SILENCE_MS
        socket.tcp_keepalive = 1
        socket.tcp_keepalive_idle = _PROBE_SECONDS
        socket.tcp_keepalive_intvl = _PROBE_SECONDS
        socket.tcp_keepalive_cnt = SILENCE_MS // 1000 // _PROBE_SECONDS
        self._sockets.append(socket)
        return socket

    def close(self) -> None:
        """Closes all sockets and the context."""
        for socket in self._sockets:
            socket.close(linger=_LINGER_MS)
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Listener:
    """The server end: many known clients.

    delivered: bytes of the messages taken, by the descriptor of their connection. drained: set
    whenever no message was waiting.
    """

    def __init__(self, socket: zmq.Socket[bytes], known: _KnownKeys) -> None:
        self.socket = socket
        self._known = known
        self.delivered: Counter[int] = Counter()
        self.drained = False

    def allow(self, keys: Iterable[bytes]) -> None:
        """Replaces the set of admitted keys; live connections stay until they end."""
        self._known.keys = set(keys)

    def endpoint(self) -> str:
        """The bound address, with the real port where 0 was asked for."""
        return str(self.socket.getsockopt_string(zmq.LAST_ENDPOINT)).rstrip("\0")

    def receive(self) -> Received | None:
        """The next message, or None when there is none now."""
        taken = _receive(self.socket, MOST_FRAMES + 2)  # the route comes first
        if taken is None:
            self.idle()
            return None
        frames, size = taken
        self.delivered[frames[-1].get(zmq.SRCFD)] += size
        return Received(frames[0].bytes, _user_id(frames[-1]), _buffers(frames[1:]))

    def idle(self) -> None:
        """Nothing can be received now."""
        self.drained = True

    def send(self, receiver: bytes, frames: list[Buffer]) -> bool:
        """False when the receiver is gone or its queue is full."""
        try:
            self.socket.send_multipart([receiver, *frames], zmq.NOBLOCK, copy=True)
        except (zmq.Again, zmq.ZMQError):
            return False
        return True


class Connection:
    """The client end: one known server.

    ZeroMQ connects again by itself after most failures, but never after one that it takes for
    another protocol, as a single changed bit on the line does. So a connection that can take no
    message for a while is made anew, by whoever waits for one.
    """

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        self.socket = socket
        self._endpoint = endpoint
        self._next_look = 0.0
        self._alive = time.monotonic()

    def receive(self) -> list[Buffer] | None:
        """The next message, or None when there is none now."""
        taken = _receive(self.socket, MOST_FRAMES + 1)
        if taken is None:
            self.idle()
            return None
        return _buffers(taken[0])

    def reachable(self, seconds: float) -> bool:
        """Waits until a message can be sent; without `ahead`, until the server is there."""
        return bool(self.socket.poll(round(1000 * seconds), zmq.POLLOUT))

    def send(self, frames: list[Buffer]) -> bool:
        """False when the queue is full, or nobody is there and nothing is queued ahead."""
        try:
            self.socket.send_multipart(frames, zmq.NOBLOCK, copy=True)
        except zmq.Again:
            return False
        return True

    def idle(self) -> None:
        """Nothing can be received now: perhaps because the connection is dead."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_SECONDS
        if int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT:
            self._alive = now
        elif now - self._alive > _REVIVE_SECONDS:
            self._alive = now
            with suppress(zmq.ZMQError):  # it may be gone already
                self.socket.disconnect(self._endpoint)
            self.socket.connect(self._endpoint)


class Poller:
    """Waits until one of several sockets has a message."""

    def __init__(self, *ends: Listener | Connection) -> None:
        self._poller = zmq.Poller()
        self._ends: dict[object, Listener | Connection] = {end.socket: end for end in ends}
        for end in ends:
            self._poller.register(end.socket, zmq.POLLIN)

    def ready(self, milliseconds: int) -> list[Listener | Connection]:
        """Where something can be received; returns at once if there is any."""
        ready = [self._ends[socket] for socket, _ in self._poller.poll(milliseconds)]
        for end in self._ends.values():
            if end not in ready:
                end.idle()
        return ready


def _receive(socket: zmq.Socket[bytes], most: int) -> tuple[list[zmq.Frame], int] | None:
    """The next message: its frames, the first `most` of them, and the bytes of all.

    None when there is none now.
    """
    try:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return None
    frames, size = [frame], len(frame)
    while frame.more:
        frame = socket.recv(zmq.NOBLOCK, copy=False)  # a message arrives as a whole
        size += len(frame)
        if len(frames) < most:
            frames.append(frame)
    return frames, size


def _user_id(frame: zmq.Frame) -> bytes:
    """The authenticated CURVE public key of the sender, or nothing."""
    try:
        value = frame.get("User-Id")
    except zmq.ZMQError:
        return b""
    return value.encode() if isinstance(value, str) else bytes(value)


def _buffers(frames: list[zmq.Frame]) -> list[Buffer]:
    """Small frames as bytes, large ones without a copy."""
    return [f.bytes if len(f) < 256 else memoryview(f.buffer) for f in frames]
