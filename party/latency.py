"""How long faces wait, from their arrival at this party to their verification, in few numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Upper bounds in seconds; what is above the last counts as endless.
BOUNDS: Final = (
    0.0002, 0.0003, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075,
    0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0,
)  # fmt: skip


class LatencyCounts:
    """A histogram: faces by bucket of `BOUNDS`, one more for what is above; and their sum."""

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(len(BOUNDS) + 1, dtype=np.int64)
        self.seconds = 0.0

    def add(self, arrived: Sequence[float], faces: Sequence[int], now: float) -> None:
        """Messages of a batch, once: monotonic seconds of arrival, faces in each."""
        for since, count in zip(arrived, faces, strict=True):
            self.counts[bisect_left(BOUNDS, now - since)] += count
            self.seconds += (now - since) * count

    def include(self, other: LatencyCounts) -> None:
        """Adds another histogram."""
        self.counts += other.counts
        self.seconds += other.seconds
