"""One party of an engine benchmark: `python -m perf.engine_party`, started by `perf.engine`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from party.engine import EngineSession, SharedArray, begin, is_negative, multiply
from party.engine.matching import match_naively, match_privately, prepare_private
from shared.engine_plan import INPUTS, MASK, SIGN, SQUARE, TRIPLE, Kind, fixed, left_of
from shared.fixedpoint import plaintext_matches

I64 = NDArray[np.int64]
OPENED = 1000  # results that are opened and compared


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done in a run. batch: products in one operation, and comparisons at most.

    naive_faces, private_faces: faces in one operation, against so many entries of so many
    coordinates. Each measured part is preceded by one operation that is not.
    """

    products: int = 1 << 22
    comparisons: int = 1 << 18
    batch: int = 1 << 16
    naive_faces: int = 4
    private_faces: int = 64
    entries: int = 150
    dim: int = 128
    repeats: int = 4

    @property
    def comparison_batch(self) -> int:
        """Comparisons in one operation."""
        return min(self.batch, self.comparisons)

    def material(self) -> dict[Kind, int]:
        """What a run of `measure` takes."""
        size = self.entries * self.dim
        times = self.repeats + 1
        faces = self.naive_faces + self.private_faces
        return {
            INPUTS[0]: self.batch + faces * (self.dim + 1),
            INPUTS[1]: self.batch + size,
            MASK: 2 * OPENED + faces * self.entries,
            TRIPLE: self.products + self.batch,
            SQUARE: times * self.naive_faces * size + size,
            SIGN: self.comparisons + self.comparison_batch + times * faces * self.entries,
            left_of(fixed(self.entries, self.dim)): 1,
            fixed(self.entries, self.dim): times * self.private_faces,
        }


def measure(session: EngineSession, sizes: Sizes) -> dict[str, float]:
    """Times whole operations, material and MAC checks included; results are compared."""
    return _arithmetic(session, sizes) | _matching(session, sizes)


def _arithmetic(session: EngineSession, sizes: Sizes) -> dict[str, float]:
    rng = np.random.default_rng(1)
    x = rng.integers(-(2**63), 2**63 - 1, sizes.batch)
    y = rng.integers(-(2**63), 2**63 - 1, sizes.batch)
    some = sizes.comparison_batch
    a = session.input(0, x.shape, x if session.party == 0 else None)
    b = session.input(1, y.shape, y if session.party == 1 else None)
    products = _timed(session, lambda: session.run(multiply(a, b)), sizes.products // sizes.batch)
    signs = _timed(session, lambda: session.run(is_negative(a[:some])), sizes.comparisons // some)
    found = session.open_all([products.result[:OPENED], signs.result[:OPENED]])
    with np.errstate(over="ignore"):
        wrong = (found[0] != (x * y)[:OPENED]).sum() + (found[1] != (x[:some] < 0)[:OPENED]).sum()
    return {
        "multiplications_per_second": sizes.batch / products.seconds,
        "comparisons_per_second": some / signs.seconds,
        "busy_ns_per_multiplication": 1e9 * products.busy / sizes.batch,
        "busy_ns_per_comparison": 1e9 * signs.busy / some,
        "bytes_per_multiplication": products.bytes / sizes.batch,
        "bytes_per_comparison": signs.bytes / some,
        "mismatches": int(wrong),
    }


def _matching(session: EngineSession, sizes: Sizes) -> dict[str, float]:
    rng = np.random.default_rng(2)
    dim, naive, private = sizes.dim, sizes.naive_faces, sizes.private_faces
    c = rng.integers(-300, 300, (sizes.entries, dim))
    x = rng.integers(-300, 300, (naive + private, dim))
    threshold = int(np.median(((x[:, None] - c) ** 2).sum(2)))
    xh = np.concatenate([x, (x**2).sum(1)[:, None]], axis=1)
    faces = session.input(0, xh.shape, xh if session.party == 0 else None)
    entries = session.input(1, c.shape, c if session.party == 1 else None)
    first = faces[:naive, :dim]
    slow = _timed(session, lambda: session.run(match_naively(first, c, threshold)), sizes.repeats)
    ready = session.run(prepare_private(entries, threshold))
    rest, norms = faces[naive:, :dim], faces[naive:, dim]
    fast = _timed(session, lambda: session.run(match_privately(ready, rest, norms)), sizes.repeats)
    bits = np.concatenate(session.open_all([slow.result, fast.result]))
    return {
        "naive_ms_per_face": 1000 * slow.seconds / naive,
        "naive_busy_ms_per_face": 1000 * slow.busy / naive,
        "private_busy_ms_per_face": 1000 * fast.busy / private,
        "naive_bytes_per_face": slow.bytes / naive,
        "private_ms_per_face": 1000 * fast.seconds / private,
        "private_bytes_per_face": fast.bytes / private,
        "matching_mismatches": int((bits != plaintext_matches(x, c, threshold)).sum()),
    }


@dataclass(frozen=True, slots=True)
class _Timed:
    """Of one operation, checks included: its last result, seconds, seconds of all of this
    process's threads on a processor, and bytes."""

    result: SharedArray
    seconds: float
    busy: float
    bytes: float


def _timed(session: EngineSession, step: Callable[[], SharedArray], runs: int) -> _Timed:
    step()
    session.check()
    before, start, busy = session.counters.bytes, time.perf_counter(), time.process_time()
    result = step()
    session.check()
    for _ in range(runs - 1):
        result = step()
        session.check()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return _Timed(result, seconds / runs, busy / runs, (session.counters.bytes - before) / runs)


def main() -> None:
    """Runs one party and prints its figures as JSON."""
    folder, file, address, sizes = sys.argv[1:]
    with begin(Path(folder), Path(file), address) as session:
        found = measure(session, Sizes(**orjson.loads(sizes)))
    sys.stdout.write(orjson.dumps(found).decode() + "\n")


if __name__ == "__main__":
    main()
