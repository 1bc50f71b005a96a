"""Pictures as arrays: RGB, uint8, (height, width, 3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from shared.vision import extra

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def check_image(image: Image) -> None:
    """Raises InputError unless image is uint8 (height, width, 3), not empty."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(
            f"image: found {image.dtype} {image.shape}, expected uint8 (height, width, 3)"
        )


def read_image(path: Path) -> Image:
    """Read and decode a picture file, turned upright by its EXIF orientation.

    Returns uint8 (height, width, 3), RGB. Raises InputError when it is missing, unreadable or no
    picture.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'not readable'}") from error
    cv2 = extra.opencv()
    decoded = None
    if content:
        try:
            decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # too many pixels, or a damaged header
            decoded = None
    if decoded is None:
        raise InputError(f"{path}: not a picture that OpenCV can decode")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
