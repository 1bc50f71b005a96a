"""Watches a listener's connections from outside of ZeroMQ, which bounds neither how many there are
nor how much it keeps of what they have not finished."""

from __future__ import annotations

import os
import resource
import socket
import stat
import struct
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from shared.transport import Listener

LOOK_SECONDS: Final = 0.25
OPEN_FILES: Final = 1 << 16
_SHY_SECONDS = 1.0  # after which a connection that never said anything may go, when room is short
_FAR_TOO_MANY = 4  # times as many as there may be: nobody is given that time
_RECEIVED = struct.Struct("<Q")
_RECEIVED_AT = 128  # tcpi_bytes_received in struct tcp_info, since Linux 4.1


@dataclass(slots=True)
class _Connection:
    """handle: its descriptor. since: when it was first seen. heard: whether it ever said anything.

    received, delivered: bytes from the network and bytes of messages taken, up to a moment at
    which nothing of it was waiting.
    """

    handle: int
    since: float
    heard: bool
    received: int
    delivered: int


class Doorkeeper:
    """Shuts connections that keep too much unfinished, and silent ones where there are too many.

    most: connections at a time. backlog: bytes that one may have sent of messages that nobody
    could take yet. Use: `look`, every LOOK_SECONDS.
    """

    def __init__(self, listener: Listener, *, most: int, backlog: int) -> None:
        self._listener = listener
        self._port = int(listener.endpoint().rpartition(":")[2])
        self._most = most
        self._backlog = backlog
        self._known: dict[int, _Connection] = {}  # by inode: descriptors are given again

    def look(self, seconds: float) -> list[str]:
        """Once; what was shut, a line each."""
        drained, self._listener.drained = self._listener.drained, False
        known, self._known = self._known, {}
        former = {one.handle for one in known.values()}
        shut = []
        for inode, handle, received in connections(self._port, known):
            delivered = self._listener.delivered.get(handle, 0)
            one = known.get(inode)
            if one is None:
                # What was delivered may be of the connection that had this descriptor before.
                begin = (received, delivered) if handle in former else (0, 0)
                one = _Connection(handle, seconds, False, *begin)
            self._known[inode] = one
            if delivered != one.delivered:
                one.heard = True
                if drained:
                    one.received, one.delivered = received, delivered
            kept = received - one.received - (delivered - one.delivered)
            if kept > self._backlog:
                shut.append(f"{self._shut(inode)}: {kept >> 20} MiB of it can not be taken")
        shut += self._make_room(seconds)
        present = {one.handle for one in self._known.values()}
        for handle in self._listener.delivered.keys() - present:
            del self._listener.delivered[handle]
        return shut

    def _make_room(self, seconds: float) -> list[str]:
        if len(self._known) <= self._most:
            return []
        patience = _SHY_SECONDS if len(self._known) <= _FAR_TOO_MANY * self._most else 0.0
        shy = [
            inode
            for inode, one in self._known.items()
            if not one.heard and seconds - one.since >= patience
        ]
        count = len(self._known)
        for inode in shy:
            self._shut(inode)
        if not shy:
            return []
        return [f"{len(shy)} connections that said nothing, of {count}"]

    def _shut(self, inode: int) -> str:
        """ZeroMQ finds the connection ended, and lets go of all that it kept of it."""
        handle = self._known.pop(inode).handle
        with suppress(OSError), socket.socket(fileno=os.dup(handle)) as end:
            if os.fstat(handle).st_ino == inode:
                peer = end.getpeername()[0]
                end.shutdown(socket.SHUT_RDWR)
                return str(peer)
        return "a connection"


def raise_open_files() -> None:
    """As many open files as this process may have, within reason: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections(port: int, known: Container[int] = ()) -> Iterator[tuple[int, int, int]]:
    """Inode, descriptor and bytes received of each connection to this port of this process.

    known: inodes of which that is known already. A descriptor is looked at where it is, without a
    copy of it: with a thousand cameras each call counts.
    """
    try:
        handles = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return
    for handle in handles:
        with suppress(OSError):  # it may end at any moment
            found = os.fstat(handle)
            if not stat.S_ISSOCK(found.st_mode):
                continue
            # Nothing is asked of the socket for these; the family is that of what it answers.
            end = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=handle)
            try:
                if found.st_ino not in known and not _accepted(end, port):
                    continue
                info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            finally:
                end.detach()
            received = 0
            if len(info) >= _RECEIVED_AT + _RECEIVED.size:
                (received,) = _RECEIVED.unpack_from(info, _RECEIVED_AT)
            yield found.st_ino, handle, received


def _accepted(end: socket.socket, port: int) -> bool:
    """Whether this is a connection to the port. Raises OSError for the listening one."""
    address = end.getsockname()
    if not isinstance(address, tuple) or len(address) < 2 or address[1] != port:
        return False
    end.getpeername()
    return True
