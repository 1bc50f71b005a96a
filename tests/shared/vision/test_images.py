"""Pictures: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.errors import InputError
from shared.vision import extra
from shared.vision.images import check_image, read_image
from tests.vision_support import NEEDS_VISION


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: No such file"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 4), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
        np.zeros((4, 4, 3), dtype=np.float32),
    ],
)
def test_an_array_that_is_no_rgb_picture_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected uint8"):
        check_image(bad)


def test_a_missing_package_is_named_with_the_extra() -> None:
    with pytest.raises(InputError, match=r"no_such_package does not load .* camera extra"):
        extra.load("no_such_package")


class TestDecoding:
    pytestmark = NEEDS_VISION

    def test_colours_come_as_rgb(self, tmp_path: Path) -> None:
        image = np.zeros((5, 7, 3), dtype=np.uint8)
        image[..., 0] = 200
        path = tmp_path / "red.png"
        extra.opencv().imwrite(str(path), image[..., ::-1])
        assert (read_image(path) == image).all()

    @pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
    def test_a_file_that_is_no_picture_is_refused_quietly(
        self, content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "bad.png"
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a picture"):
            read_image(path)
        assert capfd.readouterr().err == ""
