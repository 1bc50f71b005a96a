"""A running party as its Prometheus metrics tell of it."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from shared.errors import FormatError, InputError, ResourceError

_SECONDS = 5.0
_LIMIT = 1 << 24
_PREFIX = "twokey_"


Number = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True, slots=True)
class LiveParty:
    """One scrape. numbers: metric, its labels, its value. buckets: upper bound in s, faces."""

    address: str
    numbers: tuple[Number, ...]
    buckets: tuple[tuple[float, float], ...]


def scrape(address: str) -> LiveParty:
    """Reads a party's metrics. Raises InputError, ResourceError, FormatError."""
    if not address.startswith(("http://", "https://")):
        raise InputError(f"{address:.100}: expected http://host:port")
    url = address if address.rstrip("/").endswith("/metrics") else f"{address.rstrip('/')}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - http only
            text = answer.read(_LIMIT).decode()
    except (urllib.error.URLError, OSError) as error:
        raise ResourceError(f"{url}: {getattr(error, 'reason', error)}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{url}: not text") from None
    try:
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    except ValueError:
        raise FormatError(f"{url}: not in Prometheus' text format") from None
    own = [sample for sample in samples if sample.name.startswith(_PREFIX)]
    if not own:
        raise FormatError(f"{url}: has no metric of a twokey party")
    return LiveParty(address, tuple(_numbers(own)), _buckets(own))


def _numbers(samples: Iterable[Sample]) -> Iterable[Number]:
    for sample in samples:
        if "_latency_" not in sample.name:
            name = sample.name.removeprefix(_PREFIX).removesuffix("_total").replace("_", " ")
            yield name, sample.labels, sample.value


def _buckets(samples: Iterable[Sample]) -> tuple[tuple[float, float], ...]:
    total = [
        (float(s.labels["le"]), s.value)
        for s in samples
        if s.name == f"{_PREFIX}face_latency_seconds_bucket"
    ]
    before = [0.0, *(value for _, value in total)]
    return tuple((bound, value - less) for (bound, value), less in zip(total, before, strict=False))
