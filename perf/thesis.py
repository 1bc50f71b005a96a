"""`twokey-perf thesis`: time and data against threads, in the columns of [K20]'s table."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perf.conditions import Conditions, Progress, sustained_ahead
from perf.measure import measure
from perf.report import machine
from perf.workload import random_workload

THREADS = (1, 2, 4, 8, 16)
_ALONE = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One number of threads. Times in ms a face, data in bytes a face, both directions.

    online: one face alone. sustained: prepare and match of one among many. mint: making its
    material. material: of both parties and the camera.
    """

    threads: int
    online_ms: float
    online_bytes: float
    sustained_ms: float
    prepare_bytes: float
    mint_ms: float
    material_bytes: float

    @property
    def total_ms(self) -> float:
        """Everything that one face among many costs, from nothing to its verified bits."""
        return self.mint_ms + self.sustained_ms

    def as_map(self) -> dict[str, float]:
        """For the JSON object."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "total_ms": self.total_ms}


def thesis(wanted: Conditions, progress: Progress) -> tuple[list[Row], dict[str, object]]:
    """A row for each of `THREADS`, of the dealer and of each party. Raises ResourceError."""
    work = random_workload(wanted.faces, wanted.entries, wanted.dim)
    alone = replace(work, faces=work.faces[:_ALONE])
    ahead = sustained_ahead(wanted.faces)
    rows = []
    mismatches = 0
    for threads in THREADS:
        progress(f"{threads} threads")
        setting = replace(wanted, threads=threads).setting(mint_workers=threads)
        if threads > 1:
            setting = replace(setting, cpus=(None, None))
        many = measure(work, replace(setting, ahead=ahead))
        one = measure(alone, replace(setting, faces_per_message=1), one_by_one=True)
        mismatches += many.mismatches + one.mismatches
        rows.append(
            Row(
                threads,
                float(np.median(one.latencies)),
                one.wire_bytes["online"] / one.faces,
                1000 / many.faces_per_second,
                many.wire_bytes["prepare"] / many.faces,
                1000 * many.seconds_mint / many.faces,
                sum(many.material.values()),
            )
        )
    result: dict[str, object] = {
        "rows": [row.as_map() for row in rows],
        "mismatches": mismatches,
        "conditions": wanted.as_map(),
        "machine": machine(),
    }
    return rows, result
