"""`twokey-perf online` and `latency`: the whole stack at the goals' conditions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perf.camera_journal import journal_milliseconds
from perf.conditions import (
    SINGLE_CAMERAS,
    Conditions,
    Progress,
    runs_in_time,
    sustained_ahead,
)
from perf.measure import Measured, Setting, measure
from perf.report import Figure, machine, summary
from perf.workload import random_workload

_JOURNAL_MESSAGES = 500


def online(
    wanted: Conditions, progress: Progress, *, cold: bool = False, cameras: int = SINGLE_CAMERAS
) -> tuple[list[Figure], dict[str, object]]:
    """Throughput with slots prepared before, in large and single messages, and sustained.

    cold: also with the material on the disk only. cameras: of the single messages. Figures, and
    the JSON object. Raises ResourceError.
    """
    work = random_workload(wanted.faces, wanted.entries, wanted.dim)
    single_cameras = min(cameras, wanted.faces)
    kinds: dict[str, Setting] = {
        "online": wanted.setting(),
        "online_single": wanted.setting(cameras=single_cameras, faces_per_message=1),
        "sustained": wanted.setting(ahead=sustained_ahead(wanted.faces)),
    }
    if cold:
        kinds["online_cold"] = wanted.setting(cold=True)
    found: dict[str, list[Measured]] = {kind: [] for kind in kinds}
    for run in runs_in_time(wanted.runs, progress):
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
    done = replace(wanted, runs=len(found["online"]))
    return figures, _result(figures, done, everything)


def latency(wanted: Conditions, progress: Progress) -> tuple[list[Figure], dict[str, object]]:
    """One face after the other, from the camera's send to both parties' event lines.

    The camera's journal, which it writes before it sends, is measured apart.

    Figures, and the JSON object with the distribution. Raises ResourceError.
    """
    work = random_workload(wanted.faces, wanted.entries, wanted.dim)
    setting = wanted.setting(faces_per_message=1)
    runs = []
    journal = []
    for run in runs_in_time(wanted.runs, progress):
        progress(f"run {run + 1} of {wanted.runs}: one face after the other")
        runs.append(measure(work, setting, one_by_one=True))
        journal.append(journal_milliseconds(work.params, _JOURNAL_MESSAGES))
    figures = [
        Figure(
            f"latency_ms_p{percent}",
            tuple(float(np.percentile(m.latencies, percent)) for m in runs),
        )
        for percent in (50, 90, 99)
    ]
    figures += [
        Figure(
            f"camera_journal_ms_p{percent}",
            tuple(float(np.percentile(took, percent)) for took in journal),
        )
        for percent in (50, 99)
    ]
    both = np.concatenate([m.latencies for m in runs])
    percents = [0.0, 1.0, 5.0, *range(10, 100, 5), 99.0, 99.9, 100.0]
    distribution = {
        "percent": percents,
        "ms": [round(float(v), 4) for v in np.percentile(both, percents)],
    }
    result = _result(figures, replace(wanted, runs=len(runs)), runs)
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
