"""A slow line between the parties: `python -m perf.relay LISTEN TARGET DELAY_MS MBIT`.

It hands on what comes on one TCP port to another, each direction delayed by DELAY_MS and limited
to MBIT megabits a second (0: no limit), as a long line would; bytes are neither lost nor
reordered. It needs no rights, unlike `tc netem`, and takes some of the machine's own time.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

_PIECE = 64 << 10
_QUEUED = 4096  # pieces under way in one direction


@dataclass(frozen=True, slots=True)
class Line:
    """delay: seconds one way. rate: bytes a second, 0 for no limit."""

    delay: float
    rate: float


def pump(source: socket.socket, sink: socket.socket, line: Line) -> None:
    """Hands on until the source ends, then ends the sink."""
    under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(_QUEUED)
    writer = threading.Thread(target=_deliver, args=(under_way, sink), daemon=True)
    writer.start()
    free_at = 0.0  # when the line has taken in what came before
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            free_at = max(free_at, time.monotonic())
            if line.rate:
                free_at += len(piece) / line.rate
            under_way.put((free_at + line.delay, piece))
    under_way.put((0.0, b""))
    writer.join()


def _deliver(under_way: queue.Queue[tuple[float, bytes]], sink: socket.socket) -> None:
    with suppress(OSError):
        while True:
            due, piece = under_way.get()
            if not piece:
                break
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def serve(listen: int, target: int, line: Line) -> None:
    """Hands on every connection to `listen` on this machine; does not return."""
    with socket.create_server(("127.0.0.1", listen)) as server:
        while True:
            near, _ = server.accept()
            try:
                far = socket.create_connection(("127.0.0.1", target))
            except OSError:  # the other side is not there yet; who asks will ask again
                near.close()
                continue
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=pump, args=(source, sink, line), daemon=True).start()


if __name__ == "__main__":
    listen_port, target_port, delay_ms, megabits = sys.argv[1:]
    serve(
        int(listen_port),
        int(target_port),
        Line(float(delay_ms) / 1000, float(megabits) * 1e6 / 8),
    )
