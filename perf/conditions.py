"""What a benchmark's flags say, and how long it may take."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perf.measure import Setting

SINGLE_CAMERAS = 100
TIME_SECONDS = 220.0
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
        from perf.measure import Setting  # loads the whole stack

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


def runs_in_time(runs: int, progress: Progress) -> Iterator[int]:
    """0, 1, ... up to the runs asked for, or fewer where more would take over four minutes."""
    start = time.monotonic()
    for run in range(runs):
        if run and (time.monotonic() - start) * (run + 1) / run > TIME_SECONDS:
            progress(f"{run} runs: there is no time for more")
            return
        yield run
