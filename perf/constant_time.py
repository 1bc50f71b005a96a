"""Whether a kernel's time depends on its secrets: fixed against random ones, as dudect does it.

[RBV17] Reparaz, Balasch, Verbauwhede, Dude, is my code constant time?, 2017 (eprint 2016/1123):
both classes of inputs are measured in a random order, and Welch's t is taken of all times and of
those below each of many percentiles, since long times are mostly the operating system's.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perf.conditions import Progress
from perf.constant_time_kernels import CONTROL, Experiment, experiments
from perf.report import machine
from shared.kernels import kernel_name

F64 = NDArray[np.float64]

SURE: Final = 10.0  # [RBV17]: above it there is a difference beyond doubt
DOUBTFUL: Final = 5.0
LEAST: Final = 1_000  # times of each class below a percentile, for its t to count
_PERCENTILES: Final = 100
_WARM_UP: Final = 500


@dataclass(frozen=True, slots=True)
class Verdict:
    """t: the largest of all percentiles in size. nanoseconds: median of both classes together."""

    name: str
    t: float
    nanoseconds: float
    control: bool

    @property
    def as_expected(self) -> bool:
        """A kernel shows no sure difference; the control, which leaks, does."""
        return (abs(self.t) > SURE) == self.control

    @property
    def text(self) -> str:
        """In a word or two."""
        if abs(self.t) > SURE:
            return "depends on the secret"
        return "in doubt" if abs(self.t) > DOUBTFUL else "no difference"


def constant_time(measurements: int, progress: Progress) -> tuple[list[Verdict], dict[str, object]]:
    """All kernels, then the control. `mismatches` counts verdicts that are not as expected."""
    rng = np.random.default_rng()
    found = []
    for experiment in experiments(rng):
        verdict = measure(experiment, measurements, rng)
        progress(f"{verdict.name}: t = {verdict.t:+.2f}")
        found.append(verdict)
    result: dict[str, object] = {
        "kernel": kernel_name(),
        "measurements": measurements,
        "t": {verdict.name: verdict.t for verdict in found},
        "nanoseconds": {verdict.name: verdict.nanoseconds for verdict in found},
        "mismatches": sum(not verdict.as_expected for verdict in found),
        "machine": machine(),
    }
    return found, result


def measure(experiment: Experiment, measurements: int, rng: np.random.Generator) -> Verdict:
    """Times so many calls, each with a fixed or a random secret, in random order."""
    classes = rng.integers(0, 2, measurements + _WARM_UP)
    rows = rng.integers(0, len(experiment.pools[0]), measurements + _WARM_UP)
    times = _times(experiment, classes.tolist(), rows.tolist())[_WARM_UP:]
    fixed = classes[_WARM_UP:].astype(np.bool_)
    t = largest_t(times[fixed], times[~fixed])
    return Verdict(experiment.name, t, float(np.median(times)), experiment.name == CONTROL)


def _times(experiment: Experiment, fixed: Sequence[int], rows: Sequence[int]) -> F64:
    """Nanoseconds of each call."""
    place, run, clock = experiment.place, experiment.run, time.perf_counter_ns
    found = np.empty(len(rows), dtype=np.float64)
    enabled = gc.isenabled()
    gc.disable()
    try:
        for number, (chosen, row) in enumerate(zip(fixed, rows, strict=True)):
            place(row, fixed=bool(chosen))
            start = clock()
            run()
            found[number] = clock() - start
    finally:
        if enabled:
            gc.enable()
    return found


def largest_t(fixed: F64, random: F64) -> float:
    """Welch's t of all times, or of those below a percentile: the one of the greatest size."""
    together = np.concatenate([fixed, random])
    share = 1 - 0.5 ** (10 * np.arange(1, _PERCENTILES + 1) / _PERCENTILES)
    found = [welch_t(fixed, random)]
    for limit in np.unique(np.quantile(together, share)):
        below = fixed[fixed < limit], random[random < limit]
        if min(map(len, below)) >= LEAST:
            found.append(welch_t(*below))
    return max(found, key=abs)


def welch_t(a: F64, b: F64) -> float:
    """Welch's t statistic of two samples, of at least two values each."""
    spread = a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)
    return float((a.mean() - b.mean()) / np.sqrt(spread)) if spread > 0 else 0.0
