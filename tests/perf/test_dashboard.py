"""The page of results: from the recorded lines to HTML, and from a live party."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from party.latency import LatencyCounts
from party.metrics import PartyMetrics
from perf.cli import cli
from perf.dashboard import render
from perf.deployment import free_ports
from perf.goals import GOALS, standings
from perf.history import Record, append, latest, read
from perf.live import scrape
from shared.errors import FormatError, InputError, ResourceError
from tests.party.test_metrics import STATUS

MACHINE = {"processor": "P", "cores": 2, "memory_gib": 24, "python": "3.11.7", "commit": "<b>abc"}
CONDITIONS = {"faces": 100, "entries": 150, "dim": 128, "runs": 3}


def result(**figures: float) -> dict[str, Any]:
    """As a benchmark gives it."""
    spread = {name: {"min": value * 0.9, "max": value * 1.1} for name, value in figures.items()}
    rest = {"mismatches": 0, "conditions": CONDITIONS, "machine": MACHINE}
    return {**figures, "spread": spread, **rest}


def point(axis: str, value: int, speed: float, cost: float) -> dict[str, Any]:
    found = result(faces_per_second_online=speed, ns_per_comparison=cost)
    return {"axis": axis, "value": value, **found}


ONLINE = result(**{goal.key: goal.goal for goal in GOALS if goal.kind == "online"})
RECORDS = [
    Record("online", "2026-11-20T10:00:00Z", ONLINE),
    Record("online", "2026-11-20T11:00:00Z", ONLINE),
    Record(
        "latency",
        "2026-11-20T11:00:00Z",
        {
            **result(latency_ms_p50=0.7, latency_ms_p99=2.0),
            "distribution": {"percent": [0.0, 50.0, 100.0], "ms": [0.5, 0.7, 20.0]},
        },
    ),
    Record(
        "dealer",
        "2026-11-20T11:00:00Z",
        result(faces_per_second_mint=17_000.0, faces_per_second_mint_disk=9_000.0),
    ),
    Record(
        "scale",
        "2026-11-20T11:00:00Z",
        {
            **result(),
            "points": [
                point("entries", 150, 20_000, 333.0),
                point("entries", 10_000, 300, 334.0),
                point("threads", 1, 20_000, 333.0),
                point("threads", 2, 20_000, 333.0),
            ],
        },
    ),
    Record(
        "thesis",
        "2026-11-20T11:00:00Z",
        {
            **result(),
            "rows": [
                {
                    "threads": threads,
                    "online_ms": 0.7,
                    "online_bytes": 447.0,
                    "sustained_ms": 0.1,
                    "prepare_bytes": 4804.0,
                    "mint_ms": 0.06,
                    "material_bytes": 201_000.0,
                    "total_ms": 0.16,
                }
                for threads in (1, 16)
            ],
        },
    ),
]


@pytest.fixture(scope="module")
def page() -> str:
    return render(RECORDS)


class Tags(HTMLParser):
    """Every tag's attributes that could load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        for name in ("src", "href", "xlink:href", "data", "action"):
            value = found.get(name)
            if value is not None and not value.startswith("#"):
                self.loads.append(value)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag in ("script", "link", "iframe"):
            self.loads.append(tag)


def test_the_page_loads_nothing(page: str) -> None:
    assert Tags(page).loads == []
    assert not re.search(r"@import|url\((?!#)", page)


def test_ids_of_different_charts_do_not_meet_in_references(page: str) -> None:
    svgs = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(svgs) >= 9
    referred = [set(re.findall(r"url\(#([^)]+)\)", svg)) for svg in svgs]
    for number, ids in enumerate(referred):
        for other in referred[number + 1 :]:
            assert not ids & other


def test_what_is_measured_is_shown_and_text_is_escaped(page: str) -> None:
    assert "20,000" in page
    assert "&lt;b&gt;abc" in page
    assert "<b>abc" not in page
    assert "363 ms" in page
    assert "Over commits" in page


def test_a_page_without_results_says_that_nothing_is_measured() -> None:
    page = render([])
    assert page.count("not measured") == len(GOALS) + 1
    assert "Throughput" not in page


def test_a_goal_is_reached_by_its_own_figure_and_missed_by_a_worse_one() -> None:
    found = {standing.goal.key: standing for standing in standings(RECORDS)}
    assert found["faces_per_second_online"].reached is True
    assert found["latency_ms_p50"].reached is False
    assert found["latency_ms_p99"].reached is True
    assert found["ns_per_comparison"].value == 334.0
    assert found["ns_per_comparison"].reached is False
    assert found["faces_per_second_online"].low == pytest.approx(18_000)


def test_results_are_read_as_they_were_recorded(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert read(path) == []
    append(path, "online", {"a": 1})
    append(path, "latency", {"b": 2, "machine": {"commit": "abc"}})
    found = read(path)
    assert [(r.kind, r.result["a" if r.kind == "online" else "b"]) for r in found] == [
        ("online", 1),
        ("latency", 2),
    ]
    assert latest(found, "online") == found[0]
    assert latest(found, "dealer") is None
    assert [r.commit for r in found] == ["", "abc"]


@pytest.mark.parametrize("line", ["{", "[]", '{"kind": "a", "at": "b"}', '{"x": 1}'])
def test_a_line_that_is_no_result_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "history.jsonl"
    append(path, "online", {})
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(FormatError, match="line 2"):
        read(path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        append(tmp_path / "no" / "history.jsonl", "online", {})


@pytest.fixture
def party() -> Iterator[str]:
    metrics = PartyMetrics()
    address = f"127.0.0.1:{free_ports(1)[0]}"
    metrics.serve(address)
    latency = LatencyCounts()
    latency.add([0.0, 0.0], [5, 1], 0.0004)
    metrics.update(STATUS, latency)
    yield f"http://{address}"
    metrics.close()


def test_a_live_party_is_shown(party: str, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    history = tmp_path / "history.jsonl"
    done = CliRunner().invoke(
        cli, ["dashboard", "--out", str(out), "--history", str(history), "--live", party]
    )
    assert done.exit_code == 0, done.output
    page = out.read_text()
    assert f"Live: {party}" in page
    assert "slots left" in page
    assert re.search(r"<td>hall</td><td>60</td>", page)
    assert "up to 0.5 ms" in page


def test_live_latencies_are_by_bucket(party: str) -> None:
    assert [faces for bound, faces in scrape(party).buckets if bound == 0.0005] == [6.0]


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("file:///etc/hostname", InputError),
        ("127.0.0.1:1", InputError),
        ("http://127.0.0.1:1", ResourceError),
    ],
)
def test_a_live_address_that_does_not_answer_is_refused(
    address: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        scrape(address)
