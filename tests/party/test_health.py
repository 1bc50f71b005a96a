"""Health and readiness: each thing that must be there makes the answer no when it is missing."""

from __future__ import annotations

import copy
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from party.health import Demands, Health, check_alive, check_ready, lacks_successor
from perf.deployment import free_ports
from shared.errors import ConfigError, ResourceError
from shared.windowkeys import Window

NOW = 1_800_000_000_000
DEMANDS = Demands(5.0, 100)
FREE = 200 << 20
GOOD: dict[str, Any] = {
    "state": "running",
    "written_ms": NOW - 900,
    "windows": [
        {
            "window": "w1",
            "start_ms": NOW - 1000,
            "end_ms": NOW + 1000,
            "closed": None,
            "peer_up": True,
            "peer_clock_offset_ms": -120,
            "cameras": {"gate": {"slots_left": 7}, "hall": {"slots_left": 1}},
        }
    ],
}


def failed(status: dict[str, Any], free: int = FREE) -> set[str]:
    return {c.name for c in check_ready(status, NOW, free, DEMANDS) if not c.passed}


def test_a_party_that_lacks_nothing_is_ready() -> None:
    assert failed(GOOD) == set()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda s: s.update(written_ms=NOW - 6000), {"loop"}),
        (lambda s: s.update(state="stopped"), {"loop"}),
        (lambda s: s["windows"].clear(), {"window", "peer", "slots"}),
        (lambda s: s["windows"][0].update(end_ms=NOW), {"window", "peer", "slots"}),
        (lambda s: s["windows"][0].update(start_ms=NOW + 1), {"window", "peer", "slots"}),
        (lambda s: s["windows"][0].update(closed="tampering"), {"window", "peer", "slots"}),
        (lambda s: s["windows"][0].update(peer_up=False), {"peer"}),
        (lambda s: s["windows"][0]["cameras"]["hall"].update(slots_left=0), {"slots"}),
        (lambda s: s["windows"][0].update(peer_clock_offset_ms=-5001), {"clocks"}),
    ],
)
def test_what_is_missing_is_named(spoil: Callable[[Any], None], expected: set[str]) -> None:
    status = copy.deepcopy(GOOD)
    spoil(status)
    assert failed(status) == expected


def test_a_disk_that_is_nearly_full_is_not_ready() -> None:
    assert failed(GOOD, (100 << 20) - 1) == {"disk"}


def test_before_its_first_round_a_party_is_neither_alive_nor_ready() -> None:
    assert not check_alive({}, NOW).passed
    assert "loop" in failed({})


def test_a_window_without_a_successor_is_told_with_its_end() -> None:
    window = Window("w1", NOW, NOW + 3_600_000)
    after = Window("w2", NOW + 3_600_000, NOW + 7_200_000)
    assert lacks_successor(window, [window, after]) == ""
    assert "w1 ends at 2027-01-15T09:00:00Z" in lacks_successor(window, [window])


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
            return found.status, orjson.loads(found.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, orjson.loads(error.read())


def test_the_answers_over_http_follow_the_status(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    health = Health(f"127.0.0.1:{port}", tmp_path, DEMANDS)
    try:
        assert get(port, "/healthz")[0] == 503
        with pytest.raises(ResourceError, match="health_listen"):
            Health(f"127.0.0.1:{port}", tmp_path, DEMANDS)
        health.update({**GOOD, "written_ms": 1 << 60})
        assert get(port, "/healthz") == (
            200,
            {
                "status": "ok",
                "checks": {"loop": {"passed": True, "detail": "running, last round 0 ms ago"}},
            },
        )
        code, found = get(port, "/readyz")
        assert (code, found["checks"]["window"]["passed"]) == (503, False)
        assert get(port, "/secrets")[0] == 404
    finally:
        health.close()


@pytest.mark.parametrize("address", ["9703", ":9703", "localhost:", "localhost:70000", "a:b"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="health_listen"):
        Health(address, tmp_path, DEMANDS)
