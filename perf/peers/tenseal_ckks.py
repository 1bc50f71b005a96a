"""CKKS with TenSEAL: a client encrypts a face, a server computes distances, the client decrypts.

One pair as Yang et al. 2021 do it, and a face against all entries in one product. The client
learns the distances; the server is believed. Runs with TenSEAL and numpy alone, on a task file.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import tenseal  # type: ignore[import-not-found]
from numpy.typing import NDArray

_DEGREE = 8192
_PRIMES = (60, 40, 40, 60)
_SCALE = 2.0**40
_FRACTION_BITS = 12
_RUNS = 5

# Seconds to encrypt, match and decrypt; the distances; bytes that travel.
Run = tuple[list[float], list[float], int]


def main(task: Path) -> None:
    """Prints one JSON object."""
    with np.load(task, allow_pickle=False) as found:
        faces, entries, bits = found["faces"], found["entries"], found["bits"]
        threshold = float(found["threshold"]) / (1 << 2 * _FRACTION_BITS)
    x, c = (values / float(1 << _FRACTION_BITS) for values in (faces, entries))
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, _DEGREE, coeff_mod_bit_sizes=list(_PRIMES))
    context.global_scale = _SCALE
    context.generate_galois_keys()
    rows = [
        _row("one pair", [_pair(context, v, c[0]) for v in x[:_RUNS]], bits[:_RUNS, :1], threshold),
        _row("all entries", [_all(context, v, c) for v in x[:2]], bits[:2], threshold),
    ]
    print(json.dumps({"version": tenseal.__version__, "rows": rows}))


def _row(
    what: str, runs: list[Run], bits: NDArray[np.bool_], threshold: float
) -> dict[str, object]:
    opened = np.array([distances for _, distances, _ in runs])
    parts = [median(times) for times in zip(*(times for times, _, _ in runs), strict=True)]
    return {
        "what": what,
        "faces": 1,
        "ms_per_face": 1000 * sum(parts),
        "ms_encrypt_match_decrypt": [1000 * part for part in parts],
        "online_bytes": float(runs[0][2]),
        "mismatches": int(((opened < threshold) != bits).sum()),
    }


def _pair(context: object, x: NDArray[np.float64], c: NDArray[np.float64]) -> Run:
    start = time.perf_counter()
    face = tenseal.ckks_vector(context, x.tolist())
    encrypted = time.perf_counter()
    difference = face - c.tolist()
    distance = difference.dot(difference)
    matched = time.perf_counter()
    opened = distance.decrypt()
    end = time.perf_counter()
    sent = len(face.serialize()) + len(distance.serialize())
    return [encrypted - start, matched - encrypted, end - matched], opened, sent


def _all(context: object, x: NDArray[np.float64], c: NDArray[np.float64]) -> Run:
    rows = np.concatenate([-2 * c, np.ones((len(c), 1))], axis=1)
    norms = (c * c).sum(axis=1)
    start = time.perf_counter()
    face = tenseal.ckks_vector(context, [*x.tolist(), float(x @ x)])
    encrypted = time.perf_counter()
    distances = face.matmul(rows.T.tolist()) + norms.tolist()
    matched = time.perf_counter()
    opened = distances.decrypt()
    end = time.perf_counter()
    sent = len(face.serialize()) + len(distances.serialize())
    return [encrypted - start, matched - encrypted, end - matched], opened, sent


if __name__ == "__main__":
    main(Path(sys.argv[1]))
