"""Health and readiness of a party over HTTP, from the status that it writes once a second.

`/healthz`: the process is at work. `/readyz`: it could verify a face now. Both answer 200 or 503
with a JSON object of the checks; nothing in it is secret.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, NamedTuple

import orjson

from shared.errors import ConfigError, ResourceError
from shared.windowkeys import Window, time_text

STALE_MS = 5_000
_TIMEOUT_SECONDS = 5.0


class Check(NamedTuple):
    """One thing that is as it should be, or not."""

    name: str
    passed: bool
    detail: str


class Demands(NamedTuple):
    """What readiness asks for. clock_tolerance: seconds. disk_mib: free space in MiB."""

    clock_tolerance: float
    disk_mib: int


def check_alive(status: Mapping[str, Any], now_ms: int) -> Check:
    """Whether the loop goes round. status: as in the status file, or empty."""
    if not status:
        return Check("loop", False, "has not begun")
    age = now_ms - status["written_ms"]
    fresh = status["state"] == "running" and age <= STALE_MS
    return Check("loop", fresh, f"{status['state']}, last round {max(age, 0)} ms ago")


def check_ready(
    status: Mapping[str, Any], now_ms: int, free_bytes: int, demands: Demands
) -> list[Check]:
    """Everything that it takes to verify a face now. free_bytes: on the disk of the state."""
    running = [
        window
        for window in status.get("windows", ())
        if window["start_ms"] <= now_ms < window["end_ms"]
    ]
    usable = [window for window in running if window["closed"] is None]
    closed = [window["window"] for window in running if window["closed"] is not None]
    peer_down = [window["window"] for window in usable if not window["peer_up"]]
    left = {
        f"{window['window']}/{camera}": numbers["slots_left"]
        for window in usable
        for camera, numbers in window["cameras"].items()
    }
    empty = sorted(name for name, slots in left.items() if slots <= 0)
    offset = max(
        (abs(window["peer_clock_offset_ms"]) for window in usable if window["peer_up"]), default=0
    )
    free_mib = free_bytes >> 20
    return [
        check_alive(status, now_ms),
        Check(
            "window",
            bool(usable),
            _names("running", [window["window"] for window in usable])
            + (f"; {_names('closed', closed)}" if closed else ""),
        ),
        Check(
            "peer",
            bool(usable) and not peer_down,
            _names("no session in", peer_down) if peer_down or not usable else "up",
        ),
        Check(
            "slots",
            bool(left) and not empty,
            _names("used up", empty) if empty else f"{min(left.values(), default=0)} at least",
        ),
        Check("clocks", offset <= demands.clock_tolerance * 1000, f"{offset} ms apart"),
        Check("disk", free_mib >= demands.disk_mib, f"{free_mib} MiB free"),
    ]


def lacks_successor(window: Window, others: Iterable[Window]) -> str:
    """A line that says so when no material is there for the time after this window, else ''."""
    if any(other.end_ms > window.end_ms for other in others):
        return ""
    return (
        f"window {window.id} ends at {time_text(window.end_ms)}, and no material is here for "
        "the time after it"
    )


class Health:
    """The HTTP server; close it in the end.

    address: host:port. state: the folder whose disk is watched. Raises ConfigError, ResourceError.
    """

    def __init__(self, address: str, state: Path, demands: Demands) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ConfigError(f"health_listen: found {address:.80}, expected host:port")
        self._state = state
        self._demands = demands
        self._lock = Lock()
        self._status: Mapping[str, Any] = {}
        health = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT_SECONDS

            def do_GET(self) -> None:  # the name that the library calls
                code, content = health.answer(self.path)
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Not logged: probes come every few seconds."""

        try:
            self._server = ThreadingHTTPServer((host.strip("[]"), int(port)), Handler)
        except OSError as error:
            raise ResourceError(f"health_listen {address}: {error.strerror}") from None
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def update(self, status: Mapping[str, Any]) -> None:
        """Replaces what is judged; it is not changed by the caller afterwards."""
        with self._lock:
            self._status = status

    def answer(self, path: str) -> tuple[int, bytes]:
        """The HTTP code and JSON body for a path."""
        with self._lock:
            status = self._status
        now_ms = time.time_ns() // 1_000_000
        if path == "/healthz":
            checks: Sequence[Check] = [check_alive(status, now_ms)]
        elif path == "/readyz":
            free = shutil.disk_usage(self._state).free
            checks = check_ready(status, now_ms, free, self._demands)
        else:
            return 404, orjson.dumps({"error": "expected /healthz or /readyz"})
        passed = all(check.passed for check in checks)
        content = {
            "status": "ok" if passed else "failed",
            "checks": {
                check.name: {"passed": check.passed, "detail": check.detail} for check in checks
            },
        }
        return (200 if passed else 503), orjson.dumps(content)

    def close(self) -> None:
        """Answers no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _names(what: str, names: Sequence[str]) -> str:
    return f"{what}: {', '.join(names) or 'none'}"
