"""One party of an engine benchmark: `python -m perf.engine_party`, started by `perf.engine`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from party.engine import EngineSession, SharedArray, begin, is_negative, multiply
from shared.engine_plan import INPUTS, MASK, SIGN, TRIPLE, Kind

I64 = NDArray[np.int64]
OPENED = 1000  # results that are opened and compared


def material(products: int, comparisons: int, batch: int) -> dict[Kind, int]:
    """What a run of `measure` takes."""
    small = min(batch, comparisons)
    return {
        INPUTS[0]: batch,
        INPUTS[1]: batch,
        MASK: 2 * OPENED,
        TRIPLE: products + batch,  # one batch to warm up
        SIGN: comparisons + small,
    }


def measure(
    session: EngineSession, products: int, comparisons: int, batch: int
) -> dict[str, float]:
    """Times whole batches of products and comparisons, material and MAC checks included."""
    rng = np.random.default_rng(1)
    x = rng.integers(-(2**63), 2**63 - 1, batch)
    y = rng.integers(-(2**63), 2**63 - 1, batch)
    small = min(batch, comparisons)
    products, comparisons = products - products % batch, comparisons - comparisons % small
    a = session.input(0, (batch,), x if session.party == 0 else None)
    b = session.input(1, (batch,), y if session.party == 1 else None)
    start = session.counters.bytes
    product_seconds, z = _time(session, lambda: session.run(multiply(a, b)), products // batch)
    before = session.counters.bytes
    sign_seconds, s = _time(
        session, lambda: session.run(is_negative(a[:small])), comparisons // small
    )
    after = session.counters.bytes
    found = session.open_all([z[:OPENED], s[:OPENED]])
    with np.errstate(over="ignore"):
        wrong = int((found[0] != (x * y)[:OPENED]).sum())
    wrong += int((found[1] != (x[:small] < 0)[:OPENED]).sum())
    return {
        "multiplications_per_second": products / product_seconds,
        "comparisons_per_second": comparisons / sign_seconds,
        "bytes_per_multiplication": (before - start) / (products + batch),
        "bytes_per_comparison": (after - before) / (comparisons + small),
        "mismatches": wrong,
    }


def _time(
    session: EngineSession, step: Callable[[], SharedArray], runs: int
) -> tuple[float, SharedArray]:
    result = step()
    session.check()
    start = time.perf_counter()
    for _ in range(runs):
        result = step()
        session.check()
    return time.perf_counter() - start, result


def main() -> None:
    """Runs one party and prints its figures as JSON."""
    folder, file, address, products, comparisons, batch = sys.argv[1:]
    with begin(Path(folder), Path(file), address) as session:
        found = measure(session, int(products), int(comparisons), int(batch))
    sys.stdout.write(orjson.dumps(found).decode() + "\n")


if __name__ == "__main__":
    main()
