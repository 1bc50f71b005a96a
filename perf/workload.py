"""Random faces and a watchlist to measure with; half of the faces are on the list."""

from __future__ import annotations

import numpy as np

from perf.replay import Workload, prepare_workload

FRACTION_BITS = 12
THRESHOLD = 0.36  # on the squared distance, that of the dlib model
_NORM = 1.5
_NEAR = 0.55  # distances below and above the threshold's 0.6 both occur around it
_SEED = 20


def random_workload(faces: int, entries: int, dim: int) -> Workload:
    """Embeddings of norm 1.5 as the dlib model gives them; the same for the same sizes.

    Every other face lies around a distance of 0.55 from an entry, so both bits occur.
    """
    rng = np.random.default_rng(_SEED)
    listed = _directions(rng, entries, dim) * _NORM
    seen = _directions(rng, faces, dim) * _NORM
    near = np.arange(0, faces, 2)
    distance = rng.uniform(_NEAR - 0.15, _NEAR + 0.15, (len(near), 1))
    seen[near] = listed[rng.integers(0, entries, len(near))]
    seen[near] += _directions(rng, len(near), dim) * distance
    return prepare_workload(seen, listed, THRESHOLD, FRACTION_BITS)


def _directions(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((count, dim))
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found
