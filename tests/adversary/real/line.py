"""A TCP line between the parties on which somebody sits who has no key."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Tamper = Callable[[bytes], bytes]
_PIECE = 1 << 16


class Line:
    """Hands on what comes for P1, changed by whoever holds the line. Use as a context manager.

    tamper: applied to the next piece of P0's (True) or P1's direction, once.
    """

    def __init__(self, port: int, target: int) -> None:
        self._server = socket.create_server(("127.0.0.1", port))
        self._target = target
        self._lock = threading.Lock()
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._tamper: dict[bool, Tamper] = {}
        self.tampered = threading.Event()
        self.connections = 0

    def __enter__(self) -> Self:
        self._start(self._serve)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(10)
        self._server.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def cut(self) -> None:
        """Ends all connections there are."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def tamper(self, change: Tamper, *, from_p0: bool) -> None:
        """The next piece in this direction is changed."""
        self.tampered.clear()
        with self._lock:
            self._tamper[from_p0] = change

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    near.close()
                    continue
                self.connections += 1
                with self._lock:
                    self._ends += [near, far]
                for source, sink, from_p0 in ((near, far, True), (far, near, False)):
                    self._start(self._pump, source, sink, from_p0)

    def _pump(self, source: socket.socket, sink: socket.socket, from_p0: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                with self._lock:
                    change = self._tamper.pop(from_p0, None)
                if change is not None:
                    piece = change(piece)
                    self.tampered.set()
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()  # the other direction closes the other one
