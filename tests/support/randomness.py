"""Statistics of what should be random: each is close to a standard normal variable if it is."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

FALSE_ALARM: Final = 1e-9  # of one statistic on what is random
LIMIT: Final = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)


def chi_square(statistic: F64, freedom: F64 | float) -> F64:
    """A chi-square variable made normal [Wilson and Hilferty 1931]."""
    part = 2 / (9 * np.asarray(freedom, dtype=np.float64))
    return np.asarray(((statistic / freedom) ** (1 / 3) - (1 - part)) / np.sqrt(part))


def uniformity(octets: NDArray[np.uint8]) -> F64:
    """How far the bytes of each column are from uniform. octets: (n, width), n over 1000."""
    rows, width = octets.shape
    places = octets.astype(np.int64) + 256 * np.arange(width)
    counts = np.bincount(places.ravel(), minlength=256 * width).reshape(width, 256)
    expected = rows / 256
    return chi_square(((counts - expected) ** 2 / expected).sum(axis=1), 255.0)


def correlation(a: NDArray[Any], b: NDArray[Any]) -> F64:
    """Of every column of a with every column of b. (n, p) and (n, q) numbers: (p, q).

    A column that does not vary has none.
    """
    left, right = _standard(a), _standard(b)
    found: F64 = left.T @ right / np.sqrt(len(left))
    return found


def dependence(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Of two labels of the same things: a contingency table's chi-square."""
    _, rows = np.unique(a, return_inverse=True)
    _, columns = np.unique(b, return_inverse=True)
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    if min(shape) < 2:
        return 0.0
    counts = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    statistic = np.asarray(((counts - expected) ** 2 / expected).sum())
    return float(chi_square(statistic, float((shape[0] - 1) * (shape[1] - 1))))


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Between the distributions of the bytes of two samples."""
    together = np.concatenate([a.ravel(), b.ravel()])
    which = np.repeat([0, 1], [a.size, b.size])
    return dependence(which, together)


def _standard(columns: NDArray[Any]) -> F64:
    values = columns.astype(np.float64)
    values -= values.mean(axis=0)
    spread = values.std(axis=0)
    return np.asarray(values / np.where(spread > 0, spread, 1))
