"""A frame's way to integers: detect, embed, quantise, check the range. Masking comes after."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from camera.source import Frame
from shared.errors import InputError, ModelMismatch, RangeError
from shared.fixedpoint import Int64Array, check_faces, quantise
from shared.params import Parameters
from shared.vision.detect import Detector, Float64Array
from shared.vision.embed import Embedder

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """What a frame gave. capture_ms: Unix time in milliseconds.

    faces: int64 (k, d), all in range, the largest face first. dropped: one error for each face
    that is out of range; such a face is never clipped and never sent.
    """

    capture_ms: int
    faces: Int64Array = field(repr=False)
    dropped: tuple[RangeError, ...]


@dataclass(slots=True)
class Counters:
    """Since the start: frames, those the detector failed on, faces in and out of range."""

    frames: int = 0
    failed_frames: int = 0
    faces: int = 0
    out_of_range: int = 0


class Pipeline:
    """Detector and embedder for one set of parameters. Raises ModelMismatch if they don't fit."""

    def __init__(self, detector: Detector, embedder: Embedder, params: Parameters) -> None:
        model = embedder.model
        if (model.id, model.dim) != (params.model, params.dim):
            raise ModelMismatch(
                f"embedder: found model {model.id} with {model.dim} coordinates, "
                f"expected {params.model} with {params.dim}"
            )
        self._detector = detector
        self._embedder = embedder
        self._params = params
        self.counters = Counters()

    def process(self, frame: Frame) -> Captured:
        """The faces of a frame as integers. A frame on which detection fails counts as failed."""
        self.counters.frames += 1
        try:
            found = self._detector.detect(frame.image)
        except InputError as error:
            self.counters.failed_frames += 1
            _LOG.warning("%s: %s", frame.origin, error)
            return Captured(frame.capture_ms, np.empty((0, self._params.dim), np.int64), ())
        faces, dropped = in_range(self._embedder.embed(frame.image, found), self._params)
        for reason in dropped:
            _LOG.warning("%s: a face is dropped: %s", frame.origin, reason)
        self.counters.faces += len(faces)
        self.counters.out_of_range += len(dropped)
        return Captured(frame.capture_ms, faces, dropped)


def in_range(
    embeddings: Float64Array, params: Parameters
) -> tuple[Int64Array, tuple[RangeError, ...]]:
    """Quantise; keep the rows that protocol section 2 allows, in order.

    embeddings: float64 (k, d). Returns int64 (kept, d) and an error for each other row.
    """
    kept: list[Int64Array] = []
    dropped: list[RangeError] = []
    for row in range(len(embeddings)):
        try:
            integers = quantise(embeddings[row : row + 1], params.fraction_bits)
            check_faces(integers, params)
        except RangeError as error:
            dropped.append(error)
        else:
            kept.append(integers)
    if not kept:
        return np.empty((0, params.dim), np.int64), tuple(dropped)
    return np.concatenate(kept), tuple(dropped)
