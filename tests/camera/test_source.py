"""Frames come in order with their time; what is no source is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camera.source import frames
from shared.errors import InputError
from shared.vision import extra
from tests.vision_support import NEEDS_VISION


def test_a_missing_source_is_refused_at_once(tmp_path: Path) -> None:
    for name in ("gone.png", "gone.mp4", "gone"):
        with pytest.raises(InputError, match=f"{name}: No such file"):
            frames(tmp_path / name, 0)


def test_a_folder_without_pictures_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InputError, match="no picture in this folder"):
        frames(tmp_path, 0)


def picture(path: Path, level: int) -> Path:
    extra.opencv().imwrite(str(path), np.full((48, 64, 3), level, dtype=np.uint8))
    return path


def video(path: Path, count: int = 10, rate: float = 5.0) -> Path:
    """Frame i of ten has the level 20 i."""
    cv2 = extra.opencv()
    codec = "mp4v" if path.suffix == ".mp4" else "MJPG"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, (64, 48))
    for index in range(count):
        writer.write(np.full((48, 64, 3), 20 * (index % 10), dtype=np.uint8))
    writer.release()
    return path


class TestDecoding:
    pytestmark = NEEDS_VISION

    def test_a_picture_is_one_frame(self, tmp_path: Path) -> None:
        (found,) = frames(picture(tmp_path / "a.png", 70), 1_000)
        assert (found.position_ms, found.capture_ms, found.origin) == (0, 1_000, "a.png")
        assert (found.image == 70).all()

    def test_a_folder_is_its_pictures_by_name_a_second_apart(self, tmp_path: Path) -> None:
        for name, level in (("b.png", 20), ("a.PNG", 10), ("c.bmp", 30)):
            picture(tmp_path / name, level)
        (tmp_path / "notes.txt").write_text("no picture")
        found = [(f.capture_ms, f.origin, int(f.image[0, 0, 0])) for f in frames(tmp_path, 500)]
        assert found == [(500, "a.PNG", 10), (1500, "b.png", 20), (2500, "c.bmp", 30)]

    @pytest.mark.parametrize("name", ["v.mp4", "v.avi"])
    def test_a_video_gives_every_frame_at_its_time(self, name: str, tmp_path: Path) -> None:
        found = [
            (f.position_ms, f.capture_ms, round(f.image.mean() / 20))
            for f in frames(video(tmp_path / name), 7_000)
        ]
        assert found == [(200 * i, 7_000 + 200 * i, i) for i in range(10)]

    def test_an_interval_thins_a_video_out(self, tmp_path: Path) -> None:
        path = video(tmp_path / "v.mp4")
        assert [f.position_ms for f in frames(path, 0, interval_ms=500)] == [0, 600, 1200, 1800]
        assert [f.position_ms for f in frames(path, 0, interval_ms=9_000)] == [0]

    @pytest.mark.parametrize("name", ["v.mp4", "v.avi", "v.png", "%02d.mp4"])
    def test_a_file_that_is_no_video_is_refused_quietly(
        self, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / name).write_bytes(b"\x00\x00\x00\x18ftypmp42 but nothing else")
        with pytest.raises(InputError, match="not a picture"):
            frames(tmp_path / name, 0)
        assert capfd.readouterr().err == ""

    def test_a_video_cut_in_its_middle_says_so(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = video(tmp_path / "v.avi", count=40)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        found = list(frames(path, 0))
        assert 0 < len(found) < 40
        assert f"ended after {len(found)} of" in caplog.text

    def test_a_broken_picture_in_a_folder_is_named(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.png", 10)
        (tmp_path / "b.png").write_bytes(b"not a picture")
        source = frames(tmp_path, 0)
        assert next(source).origin == "a.png"
        with pytest.raises(InputError, match=r"b\.png: not a picture"):
            next(source)
