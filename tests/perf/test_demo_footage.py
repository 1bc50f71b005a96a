"""The demonstration's video shows what its table says, seen by the real pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camera.pipeline import Pipeline
from camera.source import frames
from party.enroll import enroll
from perf.demo_footage import SCENES, expected_frames, write_portrait, write_video
from shared.errors import InputError, ResourceError
from shared.fixedpoint import plaintext_matches
from shared.vision.detect import Detector
from shared.vision.embed import DlibResnet
from shared.vision.models import DEFAULT_MODEL, MODELS
from shared.watchlist import load
from tests.vision_support import NEEDS_VISION


def test_the_table_has_matches_others_and_empty_frames() -> None:
    table = expected_frames()
    assert [row.time_ms for row in table] == [250 * i for i in range(len(table))]
    assert {row.change for row in table if row.matches} == {s.change for s in SCENES if s.change}
    assert any(row.faces > 1 and row.matches for row in table)
    assert any(row.faces == 0 for row in table)


class TestWithPictures:
    pytestmark = NEEDS_VISION

    def test_a_place_that_can_not_be_written_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(ResourceError, match="can't be written"):
            write_video(tmp_path / "no" / "v.mp4")
        with pytest.raises(ResourceError, match="can't be written"):
            write_portrait(tmp_path / "no" / "p.png")
        with pytest.raises(InputError, match="must end"):
            write_video(tmp_path / "v.mkv")

    def test_the_astronaut_matches_in_every_change_and_nobody_else_does(
        self, tmp_path: Path
    ) -> None:
        write_portrait(tmp_path / "portrait.png")
        enroll(tmp_path / "portrait.png", "Commander", tmp_path / "w.jsonl")
        params = MODELS[DEFAULT_MODEL].parameters(places=1)
        entries = np.array(
            [entry.coordinates for entry in load(tmp_path / "w.jsonl").entries(params)]
        )
        table = write_video(tmp_path / "v.mp4")
        pipeline = Pipeline(Detector(), DlibResnet(), params)
        # One frame of each scene here, all of them in the demonstration itself.
        step = len(table) // len(SCENES)
        found, expected = [], []
        for row, frame in zip(table, frames(tmp_path / "v.mp4", 0), strict=True):
            if row.time_ms % (250 * step) == 250:
                faces = pipeline.process(frame).faces
                hits = plaintext_matches(faces, entries, params.threshold).sum()
                found.append((frame.position_ms, len(faces), int(hits)))
                expected.append((row.time_ms, row.faces, row.matches))
        assert found == expected
        assert len(found) == len(SCENES)
