"""Frames with their capture time, from a picture, a folder of pictures or a video file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InputError
from shared.vision import extra
from shared.vision.images import IMAGE_SUFFIXES, Image, read_image

_LOG = logging.getLogger(__name__)

FOLDER_SPACING_MS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a camera.

    position_ms: since the start of its source. capture_ms: Unix time in milliseconds.
    image: uint8 (height, width, 3), RGB. origin: file and position, for messages.
    """

    position_ms: int
    capture_ms: int
    image: Image = field(repr=False)
    origin: str


def frames(path: Path, start_ms: int, interval_ms: int = 0) -> Iterator[Frame]:
    """Open a source; its frames in order, each when it is asked for.

    path: a picture, a folder (its pictures by name, a second apart) or a video file.
    start_ms: Unix time of its first frame. interval_ms: of a video, the least time between two
    frames; 0 takes every one.
    Raises InputError at once for a source that is missing, empty or undecodable, and later for
    a picture of a folder that is.
    """
    if path.is_dir():
        return _folder(_pictures(path), start_ms)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return iter([Frame(0, start_ms, read_image(path), path.name)])
    return _video(path, _open_video(path), start_ms, interval_ms)


def _pictures(folder: Path) -> list[Path]:
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise InputError(f"{folder}: found no picture in this folder")
    return found


def _folder(pictures: list[Path], start_ms: int) -> Iterator[Frame]:
    for index, picture in enumerate(pictures):
        position = index * FOLDER_SPACING_MS
        yield Frame(position, start_ms + position, read_image(picture), picture.name)


def _open_video(path: Path) -> Any:
    # Only after this is the name given to OpenCV, which would take it for a pattern or an address.
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or 'not readable'}") from error
    cv2 = extra.opencv()
    video = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    if not video.isOpened() or not video.grab():
        raise InputError(f"{path}: not a picture or video that OpenCV can decode")
    return video


def _video(path: Path, video: Any, start_ms: int, interval_ms: int) -> Iterator[Frame]:
    cv2 = extra.opencv()
    rate = video.get(cv2.CAP_PROP_FPS)
    expected = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    index, due = 0, 0
    try:
        grabbed = True
        while grabbed:
            # The position of the grabbed frame; some containers have none, all have a rate.
            stamp = video.get(cv2.CAP_PROP_POS_MSEC)
            position = round(stamp if stamp > 0 or not rate else index * 1000 / rate)
            if position >= due:
                decoded, picture = video.retrieve()
                if not decoded:
                    break
                image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
                yield Frame(position, start_ms + position, image, f"{path.name} {position} ms")
                due = position + interval_ms
            index += 1
            grabbed = video.grab()
    finally:
        video.release()
    if index < expected:
        _LOG.warning("%s: ended after %d of %d frames", path, index, expected)
