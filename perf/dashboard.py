"""`twokey-perf dashboard`: all collected results on one page that needs no network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

from perf.charts import Line, bars, lines
from perf.goals import standings
from perf.history import Record, latest
from perf.live import LiveParty
from perf.peers.published import CONDITIONS, SYSTEMS, THESIS, THESIS_TRAFFIC
from perf.report import number
from shared.errors import ConfigError

try:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
except ImportError:
    raise ConfigError(
        "jinja2 is missing, which fills the page; install it with: pip install twokey[perf]"
    ) from None

_TEMPLATE = "dashboard.html.j2"
_THROUGHPUT = "faces a second"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and the words around it. svg: made by `perf.charts`, not from outside."""

    title: str
    svg: str
    note: str = ""


def render(records: list[Record], live: Sequence[LiveParty] = (), refresh: float = 0) -> str:
    """The page as HTML. refresh: seconds after which a browser loads it again, 0 for never."""
    found = {kind: latest(records, kind) for kind in _KINDS}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment.get_template(_TEMPLATE).render(
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        refresh=refresh,
        standings=standings(records),
        records=found,
        throughput=_throughput(found["scale"]),
        latency=_latency(found["latency"]),
        beside=_beside(found["online"], found["latency"]),
        systems=SYSTEMS,
        conditions=CONDITIONS,
        thesis={row.threads: row for row in THESIS},
        thesis_traffic=THESIS_TRAFFIC,
        history=_history(records),
        live=[_live(party) for party in live],
    )


_KINDS = ("online", "latency", "dealer", "scale", "network", "thesis", "peers")


def _throughput(record: Record | None) -> list[Chart]:
    """Faces a second along each axis of `scale`, where it was measured."""
    if record is None:
        return []
    charts = []
    for axis, label, log in (
        ("entries", "entries N", True),
        ("threads", "threads of a party", False),
        ("faces", "faces F", True),
        ("dim", "coordinates d", False),
    ):
        points = [p for p in record.result["points"] if p["axis"] == axis]
        if len(points) < 2:
            continue
        charts.append(
            Chart(
                f"Throughput against {label}",
                lines(
                    f"throughput {axis}",
                    [_line(_THROUGHPUT, points, "faces_per_second_online")],
                    x_label=label,
                    y_label=_THROUGHPUT,
                    log_x=log,
                    log_y=axis == "entries",
                ),
            )
        )
        if axis == "entries":
            charts.append(
                Chart(
                    "Cost of one comparison",
                    lines(
                        "cost of a comparison",
                        [_line("ns", points, "ns_per_comparison")],
                        x_label=label,
                        y_label="ns, the whole system",
                        log_x=True,
                    ),
                )
            )
    return charts


def _line(name: str, points: Sequence[Mapping[str, Any]], key: str) -> Line:
    return Line(
        name,
        [p["value"] for p in points],
        [p[key] for p in points],
        [p["spread"][key]["min"] for p in points],
        [p["spread"][key]["max"] for p in points],
    )


def _latency(record: Record | None) -> list[Chart]:
    """The share of faces that is verified within a time."""
    if record is None:
        return []
    found = record.result["distribution"]
    svg = lines(
        "latency distribution",
        [Line("faces", found["ms"], found["percent"])],
        x_label="ms from the camera's send to both event lines",
        y_label="percent of faces",
        log_x=True,
        x_ticks=(0.5, 1, 2, 5, 10, 20, 50, 100),
    )
    return [Chart("Latency of one face after the other", svg)]


def _beside(online: Record | None, alone: Record | None) -> list[Chart]:
    """Bytes, material and time of a face beside the peers."""
    if online is None:
        return []
    ours = online.result
    size: list[tuple[str, float, bool]] = [("twokey", ours["online_bytes_per_face"], True)]
    size += [(s.system, s.online_bytes, False) for s in SYSTEMS if s.online_bytes > 0]
    material = [("twokey", ours["material_bytes_per_face_party"], True)]
    material += [(s.system, s.material_bytes, False) for s in SYSTEMS if s.material_bytes]
    time = [("twokey", 1000 / ours["faces_per_second_online"], True)]
    time += [(s.system, s.ms_hundred, False) for s in SYSTEMS if s.ms_hundred]
    charts = [
        Chart("Online bytes of a face", bars("online bytes", _sorted(size), x_label="bytes")),
        Chart("Time of a face among many", bars("time, many", _sorted(time), x_label="ms")),
        Chart("Material files of a face", bars("material", _sorted(material), x_label="bytes")),
    ]
    if alone is not None:
        one = [("twokey", alone.result["latency_ms_p50"], True)]
        one += [(s.system, s.ms_one, False) for s in SYSTEMS if s.ms_one]
        charts.insert(1, Chart("Time of a face alone", bars("alone", _sorted(one), x_label="ms")))
    return charts


def _sorted(found: list[tuple[str, float, bool]]) -> list[tuple[str, float, bool]]:
    by_value: Callable[[tuple[str, float, bool]], float] = lambda row: row[1]  # noqa: E731
    return sorted(found, key=by_value)


def _history(records: list[Record]) -> list[Chart]:
    """The main figures over the commits that were measured."""
    charts = []
    for kind, title, label, keys in (
        (
            "online",
            "Throughput over commits",
            _THROUGHPUT,
            {
                "faces_per_second_online": "online",
                "faces_per_second_online_single": "one face a message",
                "faces_per_second_sustained": "sustained",
            },
        ),
        (
            "latency",
            "Latency over commits",
            "ms",
            {"latency_ms_p50": "p50", "latency_ms_p99": "p99"},
        ),
        (
            "dealer",
            "Minting over commits",
            "faces a second, one core",
            {"faces_per_second_mint": "memory", "faces_per_second_mint_disk": "disk"},
        ),
    ):
        found = [record for record in records if record.kind == kind]
        if len(found) < 2:
            continue
        x = list(range(len(found)))
        drawn = [
            Line(
                name,
                x,
                [r.result[key] for r in found],
                [r.result["spread"][key]["min"] for r in found],
                [r.result["spread"][key]["max"] for r in found],
            )
            for key, name in keys.items()
        ]
        names = [record.commit or record.at[:10] for record in found]
        svg = lines(title, drawn, x_label="", y_label=label, x_names=names, log_y=kind == "latency")
        charts.append(Chart(title, svg))
    return charts


def _live(party: LiveParty) -> dict[str, object]:
    """A party's numbers: of the process and its windows, by phase, by camera; its latencies."""
    windows = {labels["window"] for _, labels, _ in party.numbers if "window" in labels}
    tiles: list[tuple[str, float]] = []
    tables: dict[str, dict[str, dict[str, float]]] = {"phase": {}, "camera": {}}
    for name, labels, value in party.numbers:
        where = labels.get("window", "") if len(windows) > 1 else ""
        kind = next((kind for kind in tables if kind in labels), None)
        if kind is None:
            tiles.append((f"{name}, {where}" if where else name, value))
        else:
            row = f"{labels[kind]}, {where}" if where else labels[kind]
            tables[kind].setdefault(row, {})[name] = value
    filled = [number for number, (_, faces) in enumerate(party.buckets) if faces]
    chart = None
    if filled:
        rows = [
            (f"up to {1000 * bound:g} ms" if bound < inf else "above", faces, True)
            for bound, faces in party.buckets[filled[0] : filled[-1] + 1]
        ]
        svg = bars(f"live {party.address}", rows, x_label="faces", log=False)
        chart = Chart("From a face's arrival to its verification", svg)
    return {"address": party.address, "tiles": tiles, "tables": tables, "chart": chart}
