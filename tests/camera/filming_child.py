"""A camera's process whose frames come from a file: `python -m tests.camera.filming_child ...`.

Frame k has the captured time k + 1; its number is printed once the next one is asked for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from camera.config import CameraConfig
from camera.pipeline import Captured
from camera.runner import CameraRunner
from shared import config, logs


def main(folder: Path, faces: Path, first: int, last: int, pause: float) -> None:
    """Films the rows first to last - 1, one a frame."""
    logs.configure("info")
    rows = np.load(faces)

    def film() -> Iterator[Captured]:
        for number in range(first, last):
            yield Captured(number + 1, rows[number : number + 1], ())
            print(number, flush=True)
            time.sleep(pause)

    with CameraRunner(folder, config.load(CameraConfig, folder / "camera.toml")) as runner:
        runner.run(film())


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        int(sys.argv[3]),
        int(sys.argv[4]),
        float(sys.argv[5]),
    )
