"""From real embeddings to the integers of protocol section 2, and what the kernels take.

Nothing is ever clipped: what is out of range is refused, and no message shows a coordinate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.errors import RangeError
from shared.params import Parameters

Int64Array = NDArray[np.int64]

COORDINATE_LIMIT = 1 << 16  # the largest norm bound there is (params.py), so of a coordinate too
_BLOCK = 1 << 22  # products held at a time by the plaintext reference


def quantise(values: ArrayLike, fraction_bits: int) -> Int64Array:
    """Real embeddings in fixed point: rint(values 2^f) in float64, ties to even.

    values: float16, float32 or float64, any shape; upcast before the scaling, so that a float32
    embedding gives the same integers everywhere. Returns int64 of the same shape.
    Raises RangeError for another dtype, NaN, infinity, and beyond 32-bit integers (section 2).
    """
    array = np.asarray(values)
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise RangeError(f"embedding: found dtype {array.dtype}, expected float32 or float64")
    exact = array.astype(np.float64)
    if not np.isfinite(exact).all():
        raise RangeError("embedding: found NaN or infinity, expected finite numbers")
    if (np.abs(exact) >= 1 << (31 - fraction_bits)).any():
        raise RangeError(f"embedding: a coordinate is not below 2^{31 - fraction_bits}")
    return np.rint(exact * (1 << fraction_bits)).astype(np.int64)


def within_norm(vectors: Int64Array, bound: int) -> NDArray[np.bool_]:
    """Which rows have a Euclidean norm of at most bound, exactly, for any int64 input.

    vectors: int64 (F, d), d up to 4096. bound: integer, 0 to 2^16. Returns bool (F,).
    """
    # A coordinate beyond the bound settles its row; zeroed, its square can't overflow the sum.
    beyond = (vectors > bound) | (vectors < -bound)
    kept = np.where(beyond, 0, vectors)
    return np.asarray(~beyond.any(axis=1) & ((kept * kept).sum(axis=1) <= bound * bound))


def check_faces(faces: Int64Array, params: Parameters) -> None:
    """Raises RangeError unless faces is int64 (F, d) with all norms at most Bx (section 2)."""
    _check_vectors("face", faces, params.dim, params.face_bound)


def check_entries(entries: Int64Array, params: Parameters) -> None:
    """Raises RangeError unless entries is int64 (N, d) with all norms at most Bc (section 2)."""
    _check_vectors("entry", entries, params.dim, params.entry_bound)


def check_threshold(threshold: int, n: int) -> None:
    """Raises RangeError unless 0 <= T <= 2^(n-1) (section 2)."""
    if not 0 <= threshold <= 1 << (n - 1):
        raise RangeError(f"threshold: found {threshold}, expected 0 to 2^{n - 1}")


def face_input(faces: Int64Array) -> NDArray[np.uint32]:
    """What a camera masks: xh = (x_1..x_d, sum x_i^2) mod 2^32 (encodings E6).

    faces: int64 (F, d). Returns uint32 (F, d + 1). The squared norm may wrap: only its residue
    is ever used.
    """
    _check_shape("face", faces)
    wrapping = faces.view(np.uint64)
    xh = np.empty((faces.shape[0], faces.shape[1] + 1), dtype=np.uint32)
    xh[:, :-1] = wrapping & np.uint64(0xFFFFFFFF)
    xh[:, -1] = (wrapping * wrapping).sum(axis=1, dtype=np.uint64) & np.uint64(0xFFFFFFFF)
    return xh


def entry_matrix(entries: Int64Array) -> tuple[NDArray[np.int32], Int64Array]:
    """The public linear form of each entry: ch = (-2c_1..-2c_d, 1) and C = sum c_i^2 (E6).

    entries: int64 (N, d), coordinates within 2^16. Returns int32 (N, d + 1) and int64 (N,).
    Raises RangeError.
    """
    _check_coordinates("entry", entries)
    ch = np.ones((entries.shape[0], entries.shape[1] + 1), dtype=np.int32)
    ch[:, :-1] = -2 * entries
    return ch, (entries * entries).sum(axis=1)


def plaintext_matches(faces: Int64Array, entries: Int64Array, threshold: int) -> NDArray[np.bool_]:
    """The plaintext answer that the protocol must give: D = sum (x_i - c_i)^2 < T.

    faces: int64 (F, d), entries: int64 (N, d), coordinates within 2^16. Returns bool (F, N).
    Raises RangeError.
    """
    _check_coordinates("face", faces)
    _check_coordinates("entry", entries)
    if faces.shape[1] != entries.shape[1]:
        raise RangeError(f"faces have {faces.shape[1]} coordinates, entries {entries.shape[1]}")
    face_squares = (faces * faces).sum(axis=1)
    entry_squares = (entries * entries).sum(axis=1)
    # d 2^32 <= 2^44: every partial sum is an integer that float64 holds, so BLAS is exact.
    columns = np.ascontiguousarray(entries.T, dtype=np.float64)
    matches = np.empty((faces.shape[0], entries.shape[0]), dtype=np.bool_)
    step = max(1, _BLOCK // max(1, entries.shape[0]))
    for start in range(0, faces.shape[0], step):
        rows = slice(start, start + step)
        inner = (faces[rows].astype(np.float64) @ columns).astype(np.int64)
        matches[rows] = face_squares[rows, None] + entry_squares - 2 * inner < threshold
    return matches


def _check_shape(what: str, vectors: Int64Array) -> None:
    if vectors.dtype != np.int64 or vectors.ndim != 2:
        raise RangeError(
            f"{what}: found {vectors.dtype} {vectors.shape}, expected int64 of two dimensions"
        )


def _check_vectors(what: str, vectors: Int64Array, dim: int, bound: int) -> None:
    _check_shape(what, vectors)
    if vectors.shape[1] != dim:
        raise RangeError(f"{what}: found {vectors.shape[1]} coordinates, expected {dim}")
    outside = np.flatnonzero(~within_norm(vectors, bound))
    if outside.size:
        raise RangeError(f"{what} {outside[0]}: its norm is above the bound {bound}")


def _check_coordinates(what: str, vectors: Int64Array) -> None:
    _check_shape(what, vectors)
    if ((vectors > COORDINATE_LIMIT) | (vectors < -COORDINATE_LIMIT)).any():
        raise RangeError(f"{what}: a coordinate is beyond {COORDINATE_LIMIT}")
    if vectors.shape[1] > 4096:
        raise RangeError(f"{what}: found {vectors.shape[1]} coordinates, expected at most 4096")
