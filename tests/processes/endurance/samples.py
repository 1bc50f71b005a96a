"""What the roles take of the machine while they run, and whether it stays flat."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from perf.measure import anonymous_bytes

MIB = 1 << 20
_YOUNG_SECONDS = 60.0  # a process warms up: kernels, caches
_MEMORY_SLACK = 16 * MIB
_DISK_SLACK = 16 * MIB
_SHARE = 0.10
_COUNT_SLACK = 8
# What is kept for ever grows with the faces, all else must not.
KEPT = ("events.sqlite", "log")


class Sample(NamedTuple):
    """One process at one moment. at: seconds since the run began; age: of the process."""

    at: float
    age: float
    memory: int
    files: int
    threads: int


class Flatness(NamedTuple):
    """A series over the second half of the run. slope: per hour, in the series' unit."""

    what: str
    flat: bool
    first: float
    last: float
    slope: float

    def line(self) -> str:
        """For a person."""
        verdict = "flat" if self.flat else "GROWS"
        return f"{self.what}: {verdict}, {self.first:.1f} to {self.last:.1f}, {self.slope:+.2f}/h"


@dataclass
class Samples:
    """Series by role and by kind of file. bounds: of the windows, to compare equal phases."""

    began: float = field(default_factory=time.monotonic)
    processes: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    disk: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    @property
    def now(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.began

    def take(self, running: Mapping[str, tuple[int, float]], root: Path) -> None:
        """running: process id and beginning (seconds of the run) of each role that runs now."""
        at = self.now
        for role, (pid, since) in running.items():
            found = _look(pid)
            if found is not None:
                self.processes[role].append(Sample(at, at - since, *found))
        for kind, size in disk_usage(root).items():
            self.disk[kind].append((at, size))

    def most(self) -> dict[str, dict[str, float]]:
        """The largest of everything, by role."""
        return {
            role: {
                "memory_mib": round(max(s.memory for s in series) / MIB, 1),
                "files": max(s.files for s in series),
                "threads": max(s.threads for s in series),
            }
            for role, series in sorted(self.processes.items())
        }

    def judged(self, window_seconds: float) -> list[Flatness]:
        """Each series over the run's second half; disk in whole windows, as it goes up and down."""
        found: list[Flatness] = []
        half = self.now / 2
        for role, series in sorted(self.processes.items()):
            old = [s for s in series if s.at >= half and s.age >= _YOUNG_SECONDS]
            points = [(s.at, s.memory) for s in old]
            found += _judge(f"memory of {role}, MiB", points, _MEMORY_SLACK, MIB)
            files = [(s.at, s.files) for s in old]
            found += _judge(f"files of {role}", files, _COUNT_SLACK, 1)
            threads = [(s.at, s.threads) for s in old]
            found += _judge(f"threads of {role}", threads, _COUNT_SLACK, 1)
        for kind, sizes in sorted(self.disk.items()):
            if kind in KEPT:
                continue
            found += _peaks(f"disk of {kind}, MiB", sizes, window_seconds)
        return found


def disk_usage(root: Path) -> dict[str, int]:
    """Bytes on the disk by kind of file: material, journals, events, lines, logs, the rest."""
    found: dict[str, int] = defaultdict(int)
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                size = path.stat().st_blocks * 512
            except FileNotFoundError:
                continue
            found[_kind(path)] += size
    return found


def _kind(path: Path) -> str:
    if path.suffix == ".tkm" or ".tkm." in path.name:
        return "material"
    for name in ("events.sqlite", "events.jsonl", "journal.sqlite"):
        if path.name.startswith(name):
            return name
    if path.suffix in (".log", ".sent"):
        return "log"
    return "the rest"


def _look(pid: int) -> tuple[int, int, int] | None:
    try:
        files = len(os.listdir(f"/proc/{pid}/fd"))
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return None
    return anonymous_bytes(pid), files, threads


def _judge(
    what: str, points: Sequence[tuple[float, int]], slack: float, unit: float
) -> Iterable[Flatness]:
    """Flat: the line through the points rises by no more than the slack and a tenth."""
    if len(points) < 8:
        return
    at, values = np.array(points, dtype=np.float64).T
    slope, _ = np.polyfit(at, values, 1)
    risen = slope * (at[-1] - at[0])
    middle = float(np.median(values))
    third = len(points) // 3
    yield Flatness(
        what,
        bool(risen <= max(slack, _SHARE * middle)),
        float(np.median(values[:third])) / unit,
        float(np.median(values[-third:])) / unit,
        float(slope) * 3600 / unit,
    )


def _peaks(
    what: str, points: Sequence[tuple[float, int]], window_seconds: float
) -> Iterable[Flatness]:
    """Flat: the last whole window's peak is not above that of one in the middle.

    Within a single window it is the line through the second half.
    """
    peaks: dict[int, int] = defaultdict(int)
    for at, size in points:
        peaks[int(at // window_seconds)] = max(peaks[int(at // window_seconds)], size)
    whole = sorted(peaks)[:-1]  # the last one has only begun
    if not whole:
        half = points[len(points) // 2 :]
        yield from _judge(what, half, _DISK_SLACK, MIB)
    if len(whole) < 3:
        return
    first, last = peaks[whole[len(whole) // 2 - 1]], peaks[whole[-1]]
    hours = (whole[-1] - whole[len(whole) // 2 - 1]) * window_seconds / 3600
    yield Flatness(
        what,
        last <= first * (1 + _SHARE) + _DISK_SLACK,
        first / MIB,
        last / MIB,
        (last - first) / MIB / hours,
    )
