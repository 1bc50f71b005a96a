"""From frames to integers: what fits is kept in order, what does not is dropped and counted."""

from __future__ import annotations

import numpy as np
import pytest

from camera.pipeline import Pipeline, in_range
from camera.source import Frame
from shared.errors import InputError, ModelMismatch
from shared.params import for_bounds
from shared.vision.detect import Detector
from shared.vision.embed import DlibResnet
from shared.vision.models import DEFAULT_MODEL, MODELS
from tests.vision_support import MISSING, NEEDS_VISION

if not MISSING:
    from skimage import data

SMALL = for_bounds(dim=3, places=1, threshold=0.1, face_norm=1.0, entry_norm=1.0, model="small")


def test_rows_out_of_range_are_dropped_and_the_others_keep_their_order() -> None:
    rows = [[0.5, 0, 0], [1.1, 0, 0], [np.nan, 0, 0], [0, -1.0, 0], [0, 0, 1e9], [0, 0.25, 0]]
    faces, dropped = in_range(np.array(rows), SMALL)
    assert faces.tolist() == [[2048, 0, 0], [0, -4096, 0], [0, 1024, 0]]
    assert [str(error).split(":")[0] for error in dropped] == ["face 0", "embedding", "embedding"]


def test_nothing_is_clipped() -> None:
    faces, dropped = in_range(np.array([[1.0 + 1 / 4096, 0, 0]]), SMALL)
    assert faces.shape == (0, 3)
    assert faces.dtype == np.int64
    assert len(dropped) == 1


def test_no_faces_give_an_empty_array_of_the_right_width() -> None:
    faces, dropped = in_range(np.empty((0, 3)), SMALL)
    assert (faces.shape, dropped) == ((0, 3), ())


class TestWithPictures:
    pytestmark = NEEDS_VISION

    def test_a_face_comes_out_as_integers_in_range(self) -> None:
        params = MODELS[DEFAULT_MODEL].parameters(places=1)
        pipeline = Pipeline(Detector(), DlibResnet(), params)
        image = np.asarray(data.astronaut(), dtype=np.uint8)
        captured = pipeline.process(Frame(0, 1_700_000_000_000, image, "here"))
        assert captured.capture_ms == 1_700_000_000_000
        assert (captured.faces.shape, captured.dropped) == ((1, 128), ())
        assert 1.2 < np.sqrt((captured.faces**2).sum()) / 4096 < 1.7
        assert pipeline.counters.faces == 1

    def test_a_face_beyond_the_bound_is_counted_and_not_sent(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        params = for_bounds(
            dim=128,
            places=1,
            threshold=0.1,
            face_norm=1.0,
            entry_norm=1.0,
            model=DEFAULT_MODEL,
        )
        pipeline = Pipeline(Detector(), DlibResnet(), params)
        image = np.asarray(data.astronaut(), dtype=np.uint8)
        captured = pipeline.process(Frame(0, 5, image, "frame 7"))
        assert (len(captured.faces), len(captured.dropped)) == (0, 1)
        assert (pipeline.counters.faces, pipeline.counters.out_of_range) == (0, 1)
        assert "frame 7: a face is dropped" in caplog.text

    def test_a_frame_that_breaks_the_detector_is_counted_and_the_next_one_works(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        detector = Detector()
        pipeline = Pipeline(detector, DlibResnet(), MODELS[DEFAULT_MODEL].parameters(places=1))
        image = np.asarray(data.astronaut(), dtype=np.uint8)

        def fail(_: object) -> None:
            raise InputError("image: the face detector failed on this picture")

        with monkeypatch.context() as broken:
            broken.setattr(detector, "detect", fail)
            assert pipeline.process(Frame(0, 5, image, "a")).faces.shape == (0, 128)
        assert pipeline.process(Frame(0, 6, image, "b")).faces.shape == (1, 128)
        assert (pipeline.counters.frames, pipeline.counters.failed_frames) == (2, 1)

    def test_parameters_of_another_model_are_refused(self) -> None:
        with pytest.raises(ModelMismatch, match="expected facenet-vggface2 with 512"):
            Pipeline(Detector(), DlibResnet(), MODELS["facenet-vggface2"].parameters(places=1))
