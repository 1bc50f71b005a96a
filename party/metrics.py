"""Prometheus metrics of a party process: what its status says, and how long faces wait.

The process hands its status over once a second; a scrape reads only that, so that it costs the
matching nothing. No metric is about a face or an entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from party.latency import BOUNDS, LatencyCounts
from shared.errors import ConfigError, ResourceError

_COUNTED: Final = {
    "prepare_attempts": "Prepare checks that were begun and did not pass.",
    "outages": "Outages of the peer with something in flight.",
    "failures": "Failed checks: tampering by the peer.",
}
_PER_CAMERA: Final = {
    "slots_left": "Slots never used.",
    "prepared": "Slots prepared ahead of the faces.",
    "burned": "Slots burned.",
}


class PartyMetrics(Collector):
    """The last status as metrics. `serve` makes them readable; close it in the end."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._status: Mapping[str, Any] = {}
        self._latency = LatencyCounts()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._server: Any = None

    def update(self, status: Mapping[str, Any], latency: LatencyCounts) -> None:
        """Replaces what a scrape reads; neither is changed by the caller afterwards."""
        with self._lock:
            self._status, self._latency = status, latency

    def serve(self, address: str) -> None:
        """Answers scrapes of http://address/metrics. Raises ConfigError, ResourceError."""
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ConfigError(f"metrics_listen: found {address:.80}, expected host:port")
        try:
            self._server, _ = start_http_server(int(port), host.strip("[]"), self._registry)
        except OSError as error:
            raise ResourceError(f"metrics_listen {address}: {error.strerror}") from None

    def close(self) -> None:
        """Answers no more. Closing twice is no error."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def collect(self) -> Iterable[Metric]:
        """All metrics as they are now."""
        with self._lock:
            status, latency = self._status, self._latency
        if not status:
            return
        yield _gauge("faces_per_second", "Faces matched in the last second.", status)
        yield _gauge("watchlist_entries", "Entries of this party's watchlist.", status)
        for what, sums in (("bytes", "bytes_sent"), ("messages", "messages_sent")):
            sent = CounterMetricFamily(
                f"twokey_peer_{what}_sent", f"To the other party, in {what}.", labels=["phase"]
            )
            for phase, value in status["wire"][sums].items():
                sent.add_metric([phase], value)
            yield sent
        windows = status["windows"]
        yield from _window_metrics(windows)
        yield from _camera_metrics(windows)
        yield _histogram(latency)


def _gauge(name: str, text: str, status: Mapping[str, Any]) -> Metric:
    return GaugeMetricFamily(f"twokey_{name}", text, value=status[name])


def _window_metrics(windows: list[Mapping[str, Any]]) -> Iterable[Metric]:
    matched = CounterMetricFamily("twokey_faces_matched", "Faces verified.", labels=["window"])
    gauges = {
        "batches_in_flight": "Batches that are not settled.",
        "faces_held": "Faces that wait for a batch.",
        "faces_unresolved": "Faces whose last confirmation is awaited.",
        "places_live": "Entry places in force.",
        "peer_up": "1 while there is a session with the peer.",
    }
    families = {
        name: GaugeMetricFamily(f"twokey_{name}", text, labels=["window"])
        for name, text in gauges.items()
    }
    counters = {
        name: CounterMetricFamily(f"twokey_{name}", text, labels=["window"])
        for name, text in _COUNTED.items()
    }
    closed = GaugeMetricFamily(
        "twokey_window_closed", "1 when the window was closed for good.", labels=["window"]
    )
    for window in windows:
        labels = [window["window"]]
        matched.add_metric(labels, window["faces_matched"])
        closed.add_metric(labels, float(window["closed"] is not None))
        for name, gauge in families.items():
            gauge.add_metric(labels, float(window[name]))
        for name, counter in counters.items():
            counter.add_metric(labels, window["counts"][name])
    return [matched, closed, *families.values(), *counters.values()]


def _camera_metrics(windows: list[Mapping[str, Any]]) -> Iterable[Metric]:
    families = {
        name: GaugeMetricFamily(f"twokey_{name}", text, labels=["window", "camera"])
        for name, text in _PER_CAMERA.items()
    }
    for window in windows:
        for camera, numbers in window["cameras"].items():
            for name, gauge in families.items():
                gauge.add_metric([window["window"], camera], numbers[name])
    return families.values()


def _histogram(latency: LatencyCounts) -> Metric:
    total = latency.counts.cumsum().tolist()
    names = [*(repr(bound) for bound in BOUNDS), "+Inf"]
    buckets = list(zip(names, map(float, total), strict=True))
    family = HistogramMetricFamily(
        "twokey_face_latency_seconds", "From a face's arrival here to its verification."
    )
    family.add_metric([], buckets, latency.seconds)
    return family
