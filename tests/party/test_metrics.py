from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from party.latency import BOUNDS, LatencyCounts
from party.metrics import PartyMetrics
from perf.deployment import free_ports
from shared.errors import ConfigError, ResourceError

STATUS: dict[str, Any] = {
    "faces_per_second": 12.5,
    "watchlist_entries": 3,
    "wire": {
        "bytes_sent": {"prepare": 7, "online": 8, "other": 9},
        "messages_sent": {"prepare": 1, "online": 2, "other": 3},
    },
    "windows": [
        {
            "window": "morning",
            "peer_up": True,
            "closed": None,
            "places_live": 3,
            "faces_matched": 40,
            "faces_held": 5,
            "faces_unresolved": 0,
            "batches_in_flight": 2,
            "counts": {"prepare_attempts": 1, "outages": 4, "failures": 0},
            "cameras": {
                "gate": {"slots": 90, "slots_left": 50, "prepared": 20, "burned": 1},
                "hall": {"slots": 90, "slots_left": 60, "prepared": 10, "burned": 0},
            },
        }
    ],
}


@pytest.fixture
def address() -> Iterator[tuple[PartyMetrics, str]]:
    metrics = PartyMetrics()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    metrics.serve(address)
    yield metrics, address
    metrics.close()


def scrape(address: str) -> list[Sample]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return [s for family in text_string_to_metric_families(text) for s in family.samples]


def values(samples: list[Sample], name: str) -> dict[str, float]:
    return {",".join(s.labels.values()): s.value for s in samples if s.name == name}


def test_a_scrape_tells_what_the_status_says(address: tuple[PartyMetrics, str]) -> None:
    metrics, where = address
    metrics.update(STATUS, LatencyCounts())
    found = scrape(where)
    assert values(found, "twokey_faces_matched_total") == {"morning": 40}
    assert values(found, "twokey_batches_in_flight") == {"morning": 2}
    assert values(found, "twokey_outages_total") == {"morning": 4}
    assert values(found, "twokey_window_closed") == {"morning": 0}
    assert values(found, "twokey_peer_up") == {"morning": 1}
    assert values(found, "twokey_slots_left") == {"gate,morning": 50, "hall,morning": 60}
    assert values(found, "twokey_prepared") == {"gate,morning": 20, "hall,morning": 10}
    assert values(found, "twokey_peer_bytes_sent_total") == {"prepare": 7, "online": 8, "other": 9}


def test_the_histogram_counts_each_face_in_its_bucket(address: tuple[PartyMetrics, str]) -> None:
    metrics, where = address
    latency = LatencyCounts()
    latency.add([9.9996, 9.0, -90.0], [64, 3, 1], 10.0)
    metrics.update(STATUS, latency)
    found = scrape(where)
    buckets = {
        float(s.labels["le"]): s.value
        for s in found
        if s.name == "twokey_face_latency_seconds_bucket"
    }
    assert list(buckets) == [*BOUNDS, np.inf]
    assert buckets[0.0003] == 0
    assert buckets[0.0005] == buckets[0.5] == 64
    assert buckets[1.0] == buckets[30.0] == 67
    assert buckets[np.inf] == 68
    assert values(found, "twokey_face_latency_seconds_sum")[""] == pytest.approx(103.0256)


def test_a_party_without_a_window_has_metrics_too(address: tuple[PartyMetrics, str]) -> None:
    metrics, where = address
    assert scrape(where) == []
    metrics.update({**STATUS, "windows": []}, LatencyCounts())
    assert values(scrape(where), "twokey_watchlist_entries") == {"": 3}


def test_histograms_of_two_windows_add_up() -> None:
    first, second = LatencyCounts(), LatencyCounts()
    first.add([0.0], [5], 0.001)
    second.add([0.0], [2], 0.001)
    first.include(second)
    assert first.counts.sum() == 7
    assert first.counts[BOUNDS.index(0.001)] == 7
    assert first.seconds == pytest.approx(0.007)


@pytest.mark.parametrize("wrong", ["9702", "host:", "127.0.0.1:0", "127.0.0.1:99999", ":9702"])
def test_an_address_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match="expected host:port"):
        PartyMetrics().serve(wrong)


def test_a_port_in_use_is_refused(address: tuple[PartyMetrics, str]) -> None:
    with pytest.raises(ResourceError, match="metrics_listen"):
        PartyMetrics().serve(address[1])
