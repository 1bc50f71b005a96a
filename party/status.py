"""The status file of a party process: written every second, read by `twokey-party status`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from shared.atomicfile import read_small
from shared.errors import FormatError

STATUS_FILE = "status.json"
STALE_SECONDS = 5.0
_LIMIT = 1 << 24


def read_status(path: Path, now: float) -> tuple[dict[str, Any], bool]:
    """The last status, and whether its process still writes it. now: unix seconds.

    Raises ConfigError when there is none, FormatError when it is not one.
    """
    try:
        found = orjson.loads(read_small(path, "status", _LIMIT))
    except orjson.JSONDecodeError:
        raise FormatError(f"status {path}: not JSON") from None
    if not isinstance(found, dict) or not {"state", "written_ms", "windows"} <= set(found):
        raise FormatError(f"status {path}: not a party's status")
    try:
        age = now - found["written_ms"] / 1000
        render_status(found, alive=True)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        raise FormatError(f"status {path}: a field is missing or of another type") from None
    return found, found["state"] == "running" and age < STALE_SECONDS


def render_status(found: dict[str, Any], alive: bool) -> str:
    """The status as text for a person."""
    state = found["state"] if alive or found["state"] != "running" else "not responding"
    lines = [
        (
            f"P{found['party']}: {state}, {found['faces_per_second']:.0f} faces/s, "
            f"{found['watchlist_entries']} watchlist entries"
        )
    ]
    for window in found["windows"]:
        peer = "peer up" if window["peer_up"] else "PEER DOWN"
        closed = f", CLOSED: {window['closed']}" if window["closed"] else ""
        lines.append(
            f"window {window['window']}: {peer}{closed}, {window['places_live']} places live, "
            f"{window['faces_matched']} faces matched, {window['faces_held']} held, "
            f"{window['faces_unresolved']} unresolved"
        )
        for camera, numbers in window["cameras"].items():
            lines.append(
                f"  {camera}: {numbers['slots_left']} of {numbers['slots']} slots left, "
                f"{numbers['prepared']} prepared, {numbers['burned']} burned"
            )
    return "\n".join(lines)
