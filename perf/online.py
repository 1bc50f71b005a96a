"""`twokey-perf online` and `latency`: the whole stack at the goals' conditions."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from perf.measure import Measured, Setting, measure
from perf.report import Figure, machine, summary
from perf.workload import random_workload

SINGLE_CAMERAS = 100
_SUSTAINED_AHEAD = 1_024
_CHECK = 256


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a benchmark's flags say. batch: faces in a batch at most."""

    faces: int = 20_000
    entries: int = 150
    dim: int = 128
    batch: int = 1_024
    faces_per_message: int = 64
    runs: int = 3
    threads: int = 1

    def setting(self, **changes: object) -> Setting:
        """The parties on a core each."""
        base = Setting(
            faces_per_message=self.faces_per_message,
            cpus=party_cores(),
            threads=self.threads,
            limits={"batch_faces": self.batch},
        )
        return replace(base, **changes)  # type: ignore[arg-type]

    def as_map(self) -> dict[str, int]:
        """For the JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


def party_cores() -> tuple[int | None, int | None]:
    """A core for each party, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


def sustained_ahead(faces: int) -> int:
    """Slots prepared ahead when prepare is to go on beside matching: whole checks, or less."""
    ahead = min(_SUSTAINED_AHEAD, max(1, faces // 4))
    return ahead - ahead % _CHECK if ahead > _CHECK else ahead


Progress = Callable[[str], None]


def online(
    wanted: Conditions, progress: Progress, *, cold: bool = False
) -> tuple[list[Figure], dict[str, object]]:
    """Throughput with slots prepared before, in large and single messages, and sustained.

    cold: also with the material on the disk only. Figures, and the JSON object. ResourceError.
    """
    work = random_workload(wanted.faces, wanted.entries, wanted.dim)
    single_cameras = min(SINGLE_CAMERAS, wanted.faces)
    kinds: dict[str, Setting] = {
        "online": wanted.setting(),
        "online_single": wanted.setting(cameras=single_cameras, faces_per_message=1),
        "sustained": wanted.setting(ahead=sustained_ahead(wanted.faces)),
    }
    if cold:
        kinds["online_cold"] = wanted.setting(cold=True)
    found: dict[str, list[Measured]] = {kind: [] for kind in kinds}
    for run in range(wanted.runs):
        for kind, setting in kinds.items():
            progress(f"run {run + 1} of {wanted.runs}: {kind.replace('_', ' ')}")
            found[kind].append(measure(work, setting))
    figures = [
        Figure(f"faces_per_second_{kind}", tuple(m.faces_per_second for m in runs))
        for kind, runs in found.items()
    ]
    figures += _counted(found["online"])
    everything = [m for runs in found.values() for m in runs]
    figures += [
        Figure("anonymous_mib", tuple(m.anonymous_mib for m in everything)),
        Figure("seconds_start", tuple(m.seconds_start for m in everything)),
    ]
    return figures, _result(figures, wanted, everything)


def latency(wanted: Conditions, progress: Progress) -> tuple[list[Figure], dict[str, object]]:
    """One face after the other, from the camera's send to both parties' event lines.

    Figures, and the JSON object with the distribution. Raises ResourceError.
    """
    work = random_workload(wanted.faces, wanted.entries, wanted.dim)
    setting = wanted.setting(faces_per_message=1)
    runs = []
    for run in range(wanted.runs):
        progress(f"run {run + 1} of {wanted.runs}: one face after the other")
        runs.append(measure(work, setting, one_by_one=True))
    figures = [
        Figure(
            f"latency_ms_p{percent}",
            tuple(float(np.percentile(m.latencies, percent)) for m in runs),
        )
        for percent in (50, 90, 99)
    ]
    both = np.concatenate([m.latencies for m in runs])
    percents = [0.0, 1.0, 5.0, *range(10, 100, 5), 99.0, 99.9, 100.0]
    distribution = {
        "percent": percents,
        "ms": [round(float(v), 4) for v in np.percentile(both, percents)],
    }
    result = _result(figures, wanted, runs)
    return figures, {**result, "distribution": distribution}


def _counted(runs: list[Measured]) -> list[Figure]:
    """What does not depend on time, a face."""
    figures = [
        Figure(f"{phase}_bytes_per_face", tuple(m.wire_bytes[phase] / m.faces for m in runs))
        for phase in ("online", "prepare")
    ]
    return [
        *figures,
        Figure("camera_bytes_per_face", tuple(m.camera_bytes / m.faces for m in runs)),
        Figure(
            "material_bytes_per_face_party",
            tuple(max(m.material["p0"], m.material["p1"]) for m in runs),
        ),
    ]


def _result(figures: list[Figure], wanted: Conditions, runs: list[Measured]) -> dict[str, object]:
    return {
        **summary(figures),
        "mismatches": sum(m.mismatches for m in runs),
        "conditions": wanted.as_map(),
        "machine": machine(),
    }
