"""Faces in a picture: MTCNN (Zhang et al. 2016), its weights from facenet-pytorch's wheel."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from shared.vision.facenet import facenet_pytorch
from shared.vision.images import Image, check_image

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """The faces of one picture, the largest first.

    boxes: float64 (k, 4), x1, y1, x2, y2 in pixels, may reach over the edge of the picture.
    probabilities: float64 (k,). landmarks: float64 (k, 5, 2), x and y in pixels of the eyes, the
    nose and the corners of the mouth.
    """

    boxes: Float64Array
    probabilities: Float64Array
    landmarks: Float64Array

    def __len__(self) -> int:
        return len(self.boxes)

    def first(self, count: int) -> Faces:
        """The largest faces only."""
        return Faces(self.boxes[:count], self.probabilities[:count], self.landmarks[:count])


NO_FACES = Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))


class Detector:
    """MTCNN on one thread.

    min_face: smallest side of a face looked for, in pixels. probability: faces that the last
    network is less sure of are dropped. Raises InputError when the camera extra is missing.
    """

    def __init__(self, min_face: int = 40, probability: float = 0.95) -> None:
        if min_face < 12:
            raise InputError(f"min_face: found {min_face}, expected at least 12 pixels")
        if not 0.0 <= probability <= 1.0:
            raise InputError(f"probability: found {probability}, expected 0 to 1")
        self._min_face = min_face
        self._probability = probability
        self._mtcnn = facenet_pytorch().MTCNN(
            min_face_size=min_face, keep_all=True, select_largest=True
        )

    def detect(self, image: Image) -> Faces:
        """Find the faces of a picture.

        image: uint8 (height, width, 3), RGB. Raises InputError for another array, and for the
        rare picture on which MTCNN itself fails.
        """
        check_image(image)
        if min(image.shape[:2]) < self._min_face:
            return NO_FACES
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # facenet-pytorch is older than this NumPy
                boxes, probabilities, landmarks = self._mtcnn.detect(image, landmarks=True)
        except (RuntimeError, IndexError, ValueError) as error:
            # A candidate wholly outside the picture breaks its bookkeeping.
            raise InputError("image: the face detector failed on this picture") from error
        if boxes is None:
            return NO_FACES
        sure = np.asarray(probabilities, dtype=np.float64) >= self._probability
        return Faces(
            np.asarray(boxes, dtype=np.float64)[sure],
            np.asarray(probabilities, dtype=np.float64)[sure],
            np.asarray(landmarks, dtype=np.float64)[sure],
        )
