"""Held faces are shared out over the cameras: a flood of one does not shut the others out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from party.intake import HeldFaces, Intake
from shared.errors import ResourceError
from shared.messages import Run

LIMIT = 4 * 1024


def held(camera: str, first: int, length: int) -> HeldFaces:
    owner: Any = SimpleNamespace(name=SimpleNamespace(camera=camera))
    run = Run(camera.encode().ljust(8), first, length)
    digest = bytes([first % 251]) * 32
    times = np.zeros(length, dtype=np.uint64)
    return HeldFaces(run, owner, times, np.zeros((length, 1), dtype=np.uint32), digest, 0.0)


def flooded(intake: Intake, camera: str, size: int) -> int:
    """How many faces it takes before it refuses."""
    first = 0
    while True:
        try:
            intake.add(held(camera, first, size))
        except ResourceError:
            return first
        first += size


def test_one_camera_alone_may_use_the_whole_limit() -> None:
    assert flooded(Intake(LIMIT, 1), "a", 64) == LIMIT


@pytest.mark.parametrize("cameras", [2, 4, 100])
def test_however_much_one_camera_sends_every_other_has_room_for_a_message(cameras: int) -> None:
    intake = Intake(LIMIT, cameras)
    for camera in range(cameras):
        assert flooded(intake, f"c{camera}", 1024) >= 1024
    assert intake.faces <= max(LIMIT, cameras * 1024)


def test_what_is_matched_makes_room_again_for_its_camera() -> None:
    intake = Intake(LIMIT, 2)
    assert flooded(intake, "a", 64) == LIMIT // 2
    intake.remove(Run(b"a       ", 0, 64))
    assert intake.add(held("a", LIMIT, 64))
    with pytest.raises(ResourceError, match="camera a: 2048 faces are held, its share is 2048"):
        intake.add(held("a", LIMIT + 64, 64))
