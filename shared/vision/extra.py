"""The optional packages of the `camera` extra, loaded when first used."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from shared.errors import InputError


def load(name: str) -> ModuleType:
    """Import a package of the camera extra. Raises InputError when it can't be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{name} does not load ({reason}): pictures need the camera extra, "
            "pip install 'twokey[camera]'"
        ) from error


def opencv() -> ModuleType:
    """OpenCV, told to leave standard error to us. Raises InputError as `load` does."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, when FFmpeg is first used
    cv2 = load("cv2")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
