"""What a camera's own journal costs: the durable write before a message is sent."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camera.journal import CameraJournal, RatchetState
from shared.params import Parameters
from shared.sets import SetName

_HEADER_BYTES = 120
_TIME_BYTES = 8
_LIMB_BYTES = 4


def journal_milliseconds(params: Parameters, messages: int) -> NDArray[np.float64]:
    """Ms of each of so many durable appends of one face, on the disk of temporary files."""
    name = SetName(os.urandom(16), "window", "camera")
    frames = [
        os.urandom(_HEADER_BYTES),
        os.urandom(_TIME_BYTES),
        os.urandom(_LIMB_BYTES * params.coordinates),
    ]
    took = []
    with (
        tempfile.TemporaryDirectory(prefix="twokey-perf-") as folder,
        CameraJournal(Path(folder) / "journal.sqlite", limit_bytes=1 << 30) as journal,
    ):
        journal.adopt_set(name, messages, RatchetState(0, os.urandom(64)))
        set_id = name.set_id()
        for slot in range(messages):
            start = time.perf_counter_ns()
            journal.append(set_id, slot, 1, frames)
            took.append((time.perf_counter_ns() - start) / 1e6)
    return np.array(took)
