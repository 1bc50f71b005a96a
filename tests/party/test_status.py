"""The status file: shown, or refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from party.status import read_status, render_status
from shared.errors import FormatError

WINDOW: dict[str, Any] = {
    "window": "monday",
    "peer_up": True,
    "closed": None,
    "places_live": 3,
    "faces_matched": 5,
    "faces_held": 0,
    "faces_unresolved": 0,
    "cameras": {"door": {"slots": 9, "slots_left": 4, "prepared": 2, "burned": 0}},
}
STATUS: dict[str, Any] = {
    "party": 0,
    "state": "running",
    "written_ms": 1_000_000,
    "faces_per_second": 12.5,
    "watchlist_entries": 3,
    "windows": [WINDOW],
}


def test_a_status_is_shown_and_is_fresh_for_a_few_seconds(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(orjson.dumps(STATUS))
    found, alive = read_status(path, 1_001.0)
    assert alive
    assert "door: 4 of 9 slots left" in render_status(found, alive)
    assert read_status(path, 1_010.0)[1] is False


@pytest.mark.parametrize("field", [*STATUS, *(f"windows.{name}" for name in WINDOW)])
def test_a_status_without_a_field_is_refused(tmp_path: Path, field: str) -> None:
    name = field.removeprefix("windows.")
    status = {**STATUS, "windows": [dict(WINDOW)]}
    del (status if name == field else status["windows"][0])[name]
    path = tmp_path / "status.json"
    path.write_bytes(orjson.dumps(status))
    with pytest.raises(FormatError, match="status"):
        read_status(path, 1_001.0)
