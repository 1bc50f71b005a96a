"""What the project set out to reach, and how a measurement stands to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from perf.history import Record, latest


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of a benchmark: its key, what it is to be, and whether more is better."""

    name: str
    kind: str
    key: str
    goal: float
    unit: str
    more: bool
    best_peer: str = ""

    def reached(self, value: float) -> bool:
        """Whether a figure is as good as the goal."""
        return value >= self.goal if self.more else value <= self.goal


GOALS: Final = (
    Goal(
        "online, 64 faces a message",
        "online",
        "faces_per_second_online",
        20_000,
        "faces/s",
        more=True,
        best_peer="SHARK 5,700",
    ),
    Goal(
        "online, one face a message, 100 cameras",
        "online",
        "faces_per_second_online_single",
        10_000,
        "faces/s",
        more=True,
    ),
    Goal(
        "sustained, prepare included",
        "online",
        "faces_per_second_sustained",
        12_000,
        "faces/s",
        more=True,
    ),
    Goal("latency of one face, p50", "latency", "latency_ms_p50", 0.6, "ms", False, "SHARK 1.1"),
    Goal("latency of one face, p99", "latency", "latency_ms_p99", 3.0, "ms", False),
    Goal(
        "between the parties, online",
        "online",
        "online_bytes_per_face",
        60,
        "B/face",
        more=False,
        best_peer="SHARK 6,400",
    ),
    Goal(
        "between the parties, prepare",
        "online",
        "prepare_bytes_per_face",
        4_900,
        "B/face",
        more=False,
    ),
    Goal(
        "minting, one core, into memory",
        "dealer",
        "faces_per_second_mint",
        12_000,
        "faces/s",
        more=True,
        best_peer="SHARK 3,000",
    ),
    Goal(
        "material of a party",
        "online",
        "material_bytes_per_face_party",
        109_000,
        "B/face",
        more=False,
        best_peer="SHARK 139,000",
    ),
    Goal("memory of a party, anonymous", "online", "anonymous_mib", 1_024, "MiB", more=False),
    Goal("start of a party to ready", "online", "seconds_start", 3, "s", more=False),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A goal and the latest figure, with its spread; reached is None without a figure."""

    goal: Goal
    value: float | None
    low: float | None
    high: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the median is as good as the goal."""
        return None if self.value is None else self.goal.reached(self.value)


def standings(records: list[Record]) -> list[Standing]:
    """Every goal with the latest figure, and the cost of a comparison in a long list."""
    found = []
    for goal in GOALS:
        record = latest(records, goal.kind)
        result: Mapping[str, Any] = record.result if record is not None else {}
        spread = result.get("spread", {}).get(goal.key, {})
        found.append(Standing(goal, result.get(goal.key), spread.get("min"), spread.get("max")))
    found.append(_long_list(latest(records, "scale")))
    return found


def _long_list(record: Record | None) -> Standing:
    points: list[Mapping[str, Any]] = list(record.result["points"]) if record is not None else []
    cost = {p["value"]: p["ns_per_comparison"] for p in points if p["axis"] == "entries"}
    short, long = cost.get(150), cost.get(10_000)
    goal = Goal(
        "a comparison among 10,000 entries",
        "scale",
        "ns_per_comparison",
        short if short is not None else 0.0,
        "ns",
        more=False,
        best_peer="that of 150 entries" if short is not None else "",
    )
    return Standing(goal, long if short is not None else None, None, None)
