"""`twokey-perf network`: the same figures when the parties are far from each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from perf.conditions import Conditions, Progress, sustained_ahead
from perf.measure import Distance, Measured, Setting, measure
from perf.report import machine
from perf.workload import random_workload

DISTANCES = (
    Distance(0.0, 0.0),
    Distance(10.0, 1000.0),
    Distance(40.0, 1000.0),
    Distance(40.0, 100.0),
)
_LATENCY_FACES = 100


@dataclass(frozen=True, slots=True)
class Far:
    """What one distance gave, medians over the runs."""

    distance: Distance
    online: float
    sustained: float
    p50: float
    p99: float

    def as_map(self) -> dict[str, float]:
        """For the JSON object."""
        return {
            "round_trip_ms": self.distance.round_trip_ms,
            "megabits": self.distance.megabits,
            "faces_per_second_online": self.online,
            "faces_per_second_sustained": self.sustained,
            "latency_ms_p50": self.p50,
            "latency_ms_p99": self.p99,
        }


def network(wanted: Conditions, progress: Progress) -> tuple[list[Far], dict[str, object]]:
    """Throughput and latency at each of `DISTANCES`. Raises ResourceError."""
    work = random_workload(wanted.faces, wanted.entries, wanted.dim)
    alone = replace(work, faces=work.faces[:_LATENCY_FACES])
    ahead = sustained_ahead(wanted.faces)
    found = []
    mismatches = 0
    for distance in DISTANCES:
        progress(f"{distance.round_trip_ms:g} ms, {distance.megabits:g} Mbit/s")
        runs: list[tuple[Measured, Measured, Measured]] = []
        for _ in range(wanted.runs):
            setting: Setting = wanted.setting(distance=distance)
            runs.append(
                (
                    measure(work, setting),
                    measure(work, replace(setting, ahead=ahead)),
                    measure(alone, replace(setting, faces_per_message=1), one_by_one=True),
                )
            )
        mismatches += sum(m.mismatches for run in runs for m in run)
        latencies = np.concatenate([one.latencies for _, _, one in runs])
        found.append(
            Far(
                distance,
                median(online.faces_per_second for online, _, _ in runs),
                median(sustained.faces_per_second for _, sustained, _ in runs),
                float(np.percentile(latencies, 50)),
                float(np.percentile(latencies, 99)),
            )
        )
    result: dict[str, object] = {
        "distances": [far.as_map() for far in found],
        "mismatches": mismatches,
        "conditions": wanted.as_map(),
        "machine": machine(),
    }
    return found, result
