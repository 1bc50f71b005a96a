"""`twokey-perf scale`: faces a second against entries, coordinates, faces and threads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from perf.conditions import Conditions, Progress
from perf.measure import Measured, measure
from perf.report import Figure, machine, summary
from perf.workload import random_workload

ENTRIES = (15, 1_000, 10_000)
DIMS = (512,)
FACES = (500, 2_000)
THREADS = (2,)
# Material grows with the comparisons: so many slots and places at most, some 5 GB.
_COMPARISONS = 4_000_000


@dataclass(frozen=True, slots=True)
class Point:
    """One place on an axis, and what its runs gave."""

    axis: str
    conditions: Conditions
    runs: tuple[Measured, ...]

    @property
    def value(self) -> int:
        """Where on the axis."""
        return int(getattr(self.conditions, self.axis))

    def figures(self) -> list[Figure]:
        """What is told of a point."""
        entries = self.conditions.entries
        return [
            Figure("faces_per_second_online", tuple(m.faces_per_second for m in self.runs)),
            Figure(
                "ns_per_comparison",
                tuple(1e9 / (m.faces_per_second * entries) for m in self.runs),
            ),
            Figure(
                "online_bytes_per_face", tuple(m.wire_bytes["online"] / m.faces for m in self.runs)
            ),
            Figure(
                "prepare_bytes_per_face",
                tuple(m.wire_bytes["prepare"] / m.faces for m in self.runs),
            ),
            Figure(
                "material_bytes_per_face_party",
                tuple(max(m.material["p0"], m.material["p1"]) for m in self.runs),
            ),
            Figure("anonymous_mib", tuple(m.anonymous_mib for m in self.runs)),
        ]

    def as_map(self) -> dict[str, object]:
        """For the JSON object."""
        return {
            "axis": self.axis,
            "value": self.value,
            **self.conditions.as_map(),
            **summary(self.figures()),
        }


def scale(wanted: Conditions, progress: Progress) -> tuple[list[Point], dict[str, object]]:
    """Each axis around the given conditions. Raises ResourceError.

    Faces are fewer where entries are many, so that the material fits a disk.
    """
    points = []
    base: dict[Conditions, tuple[Measured, ...]] = {}
    for axis, at in _grid(wanted):
        if at not in base:
            progress(
                f"{at.faces:,} faces, {at.entries:,} entries, d = {at.dim}, {at.threads} threads"
            )
            base[at] = _runs(at)
        points.append(Point(axis, at, base[at]))
    result: dict[str, object] = {
        "points": [point.as_map() for point in points],
        "mismatches": sum(m.mismatches for runs in base.values() for m in runs),
        "conditions": wanted.as_map(),
        "machine": machine(),
    }
    return points, result


def _runs(at: Conditions) -> tuple[Measured, ...]:
    work = random_workload(at.faces, at.entries, at.dim)
    setting = at.setting()
    if at.threads > 1:
        setting = replace(setting, cpus=(None, None))
    return tuple(measure(work, setting) for _ in range(at.runs))


def _grid(wanted: Conditions) -> Iterator[tuple[str, Conditions]]:
    for axis, others in (
        ("entries", ENTRIES),
        ("dim", DIMS),
        ("faces", FACES),
        ("threads", THREADS),
    ):
        for value in sorted({getattr(wanted, axis), *others}):
            at = replace(wanted, **{axis: value})
            yield axis, replace(at, faces=max(1, min(at.faces, _COMPARISONS // at.entries)))
