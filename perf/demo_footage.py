"""A short video for the demonstration: one known face, changed in many ways, among a crowd.

The known face is scikit-image's `astronaut()`, the crowd is from its `lfw_subset()`. Both are
deterministic, so who is to be found when is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import InputError, ResourceError
from shared.vision import extra
from shared.vision.images import Image

WIDTH, HEIGHT = 640, 480
FRAMES_PER_SECOND = 4
FRAMES_PER_SCENE = 4
TILE = 208  # pixels of the square in which one person is shown
_DRIFT = 3  # pixels that everybody moves from frame to frame
_ORIGINAL = (slice(0, 320), slice(60, 380))  # head and shoulders of the astronaut


@dataclass(frozen=True, slots=True)
class ExpectedFrame:
    """What a frame shows. time_ms: position in the video.

    faces: how many faces, all told. matches: how many of them are the astronaut, 0 or 1.
    change: what was done to the astronaut, empty without one.
    """

    time_ms: int
    faces: int
    matches: int
    change: str


@dataclass(frozen=True, slots=True)
class Scene:
    """One second: numbers of people of the crowd, and how the astronaut looks, if there."""

    crowd: tuple[int, ...]
    change: str = ""


# Faces of lfw_subset that the detector finds without doubt and that are not alike the astronaut.
SCENES = (
    Scene((3, 12)),
    Scene((), "as enrolled"),
    Scene((17, 18, 19)),
    Scene((25,), "half size"),
    Scene(()),
    Scene((29, 33), "darkened"),
    Scene((38, 44)),
    Scene((46,), "mirrored"),
    Scene((49, 63), "turned"),
    Scene((64, 67)),
    Scene((80, 92), "in grey"),
    Scene((98,)),
)


def expected_frames() -> tuple[ExpectedFrame, ...]:
    """What every frame of the video shows, in order."""
    found: list[ExpectedFrame] = []
    for number, scene in enumerate(SCENES):
        matches = 1 if scene.change else 0
        for step in range(FRAMES_PER_SCENE):
            index = number * FRAMES_PER_SCENE + step
            time_ms = round(index * 1000 / FRAMES_PER_SECOND)
            found.append(ExpectedFrame(time_ms, len(scene.crowd) + matches, matches, scene.change))
    return tuple(found)


def write_portrait(path: Path) -> None:
    """Write the unchanged astronaut, to enrol from. Raises InputError, ResourceError."""
    cv2 = extra.opencv()
    if not cv2.imwrite(str(path), cv2.cvtColor(_astronaut(), cv2.COLOR_RGB2BGR)):
        raise ResourceError(f"{path}: the picture can't be written")


def write_video(path: Path) -> tuple[ExpectedFrame, ...]:
    """Write the video (MPEG-4, so the name ends in .mp4) and return what it shows.

    Raises InputError without OpenCV and scikit-image, ResourceError when it can't be written.
    """
    if path.suffix != ".mp4":
        raise InputError(f"{path}: the video's name must end in .mp4")
    cv2 = extra.opencv()
    codec = cv2.VideoWriter_fourcc(*"mp4v")
    video = cv2.VideoWriter(str(path), codec, FRAMES_PER_SECOND, (WIDTH, HEIGHT))
    try:
        if not video.isOpened():
            raise ResourceError(f"{path}: the video can't be written")
        for scene in SCENES:
            tiles = _tiles(scene)
            for step in range(FRAMES_PER_SCENE):
                video.write(cv2.cvtColor(_compose(tiles, step), cv2.COLOR_RGB2BGR))
    finally:
        video.release()
    return expected_frames()


def _compose(tiles: Sequence[Image], step: int) -> Image:
    """A grey wall with people side by side, each a little further on at every step."""
    shade = np.linspace(150, 90, HEIGHT).astype(np.uint8)
    frame = np.repeat(np.repeat(shade[:, None, None], WIDTH, axis=1), 3, axis=2)
    gap = (WIDTH - len(tiles) * TILE) // (len(tiles) + 1)
    for number, tile in enumerate(tiles):
        left = gap + number * (TILE + gap)
        top = (HEIGHT - TILE) // 2 + 40 * (1 - number % 2 * 2) - 2 * _DRIFT + step * _DRIFT
        frame[top : top + TILE, left : left + TILE] = tile
    return frame


def _tiles(scene: Scene) -> list[Image]:
    crowd = extra.load("skimage.data").lfw_subset() if scene.crowd else ()
    tiles = [_passer_by(crowd[number]) for number in scene.crowd]
    if scene.change:
        tiles.insert(len(tiles) // 2, CHANGES[scene.change](_astronaut()[_ORIGINAL]))
    return tiles


def _passer_by(face: Any) -> Image:
    """A 25 by 25 face of lfw_subset, enlarged, with a border that a detector needs."""
    cv2 = extra.opencv()
    side = TILE // 2
    large = cv2.resize(np.uint8(255 * face), (side, side), interpolation=cv2.INTER_CUBIC)
    border = (TILE - side) // 2
    whole = cv2.copyMakeBorder(large, border, border, border, border, cv2.BORDER_REPLICATE)
    return np.repeat(whole[:, :, None], 3, axis=2)


def _astronaut() -> Image:
    return np.asarray(extra.load("skimage.data").astronaut(), dtype=np.uint8)


def _scaled(face: Image, side: int = TILE) -> Image:
    cv2 = extra.opencv()
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    left, right = (TILE - side) // 2, TILE - side - (TILE - side) // 2
    bordered = cv2.copyMakeBorder(small, left, right, left, right, cv2.BORDER_REPLICATE)
    return np.asarray(bordered, dtype=np.uint8)


def _turned(face: Image) -> Image:
    cv2 = extra.opencv()
    side = face.shape[0]
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), 18, 1)
    turned = cv2.warpAffine(face, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return _scaled(turned)


def _grey(face: Image) -> Image:
    luminance = (face @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return _scaled(np.repeat(luminance[:, :, None], 3, axis=2))


CHANGES: dict[str, Callable[[Image], Image]] = {
    "as enrolled": _scaled,
    "half size": lambda face: _scaled(face, 160),
    "darkened": lambda face: _scaled((face * 0.4).astype(np.uint8)),
    "mirrored": lambda face: _scaled(face[:, ::-1]),
    "turned": _turned,
    "in grey": _grey,
}
