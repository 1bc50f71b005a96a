"""A camera of an endurance run: the real one, its frames rows of a pool instead of pictures.

`python -m tests.processes.endurance.camera CONFIG POOL SENT ENOUGH FRAME RATE`. Every frame that
was handed over is told in the file SENT: capture time (u64, unix ms, unique) and faces (u32).
It ends once the file ENOUGH is there. RATE: faces a second, 0 for as fast as it goes.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from camera.config import CameraConfig
from camera.pipeline import Captured
from camera.runner import CameraRunner
from shared import config, logs
from tests.processes.endurance.people import rows

SENT: Final = struct.Struct("<QI")
_LONGEST_SLEEP = 0.25


class Film:
    """Frames at their due times; what was late is made up for."""

    def __init__(self, pool: Path, sent: BinaryIO, enough: Path, frame: int, rate: float) -> None:
        self._pool = np.load(pool, allow_pickle=False)
        self._sent = sent
        self._enough = enough
        self._frame = frame
        self._pause = frame / rate if rate else 0.0

    def captured(self, runner: CameraRunner) -> Iterator[Captured]:
        """Until it is enough."""
        due = time.monotonic()
        last = 0
        window, left = "", 0
        while not self._enough.exists():
            if self._pause:
                due += self._pause
            elif runner.set.window.id != window:
                window, left = runner.set.window.id, runner.set.slots - 2 * self._frame
            elif left < self._frame and time.time_ns() // 1_000_000 < runner.set.window.end_ms:
                due = time.monotonic() + _LONGEST_SLEEP  # its slots are used up
            while (wait := due - time.monotonic()) > 0 and not self._enough.exists():
                time.sleep(min(wait, _LONGEST_SLEEP))
                yield Captured(0, self._pool[:0], ())  # no face: what came back is taken in
            moment = max(time.time_ns() // 1_000_000, last + 1)
            last = moment
            left -= self._frame
            yield Captured(moment, self._pool[rows(moment, self._frame)], ())
            self._sent.write(SENT.pack(moment, self._frame))
            self._sent.flush()


def main(arguments: list[str]) -> None:
    """Films until it is enough, then waits for the last outcomes."""
    path, pool, sent, enough = map(Path, arguments[:4])
    logs.configure("info")
    settings = config.load(CameraConfig, path)
    with sent.open("ab") as told, CameraRunner(path.parent, settings) as runner:
        film = Film(pool, told, enough, int(arguments[4]), float(arguments[5]))
        summary = runner.run(film.captured(runner))
        print(f"{summary.faces} faces were sent, {runner.outcomes()}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
