"""What one step of the arithmetic costs on one core: `python -m perf.kernels`.

Times are the processor time of this thread, so that other work on the machine counts for little.
Set OPENBLAS_NUM_THREADS=1, or a part of the products runs elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
from rich.console import Console
from rich.table import Table

from party import bitkernels
from shared import dcf, engine_fss, engine_tags, prg, ring
from shared.engine_fss import KEY_TILE, KeyShape
from shared.engine_tags import TagShape
from shared.matchinputs import match_inputs
from shared.params import Parameters
from shared.secret import Secret

Step = tuple[Callable[[], object], int, str]

PARAMETERS = Parameters(
    dim=128,
    fraction_bits=12,
    headroom_bits=5,
    places=150,
    threshold=1,
    face_bound=1,
    entry_bound=1,
    model="none",
)
FACES = 64  # as in a camera's message
RUNS = 200
_LEAST_UNITS = 1000


def steps(faces: int = FACES) -> dict[str, Step]:
    """For each step: what to run on random data, how many units it does, the unit's name."""
    rng = np.random.default_rng()
    params = PARAMETERS
    places, coordinates = params.places, params.coordinates

    def words(*shape: int) -> prg.U64:
        return rng.integers(0, 1 << 64, shape, dtype=np.uint64)

    def numbers(*shape: int) -> dcf.U32:
        return rng.integers(0, 1 << params.low_bits, shape, dtype=np.uint32)

    key, slots = rng.bytes(32), np.arange(faces, dtype=np.uint64)
    slot_keys, roots = words(faces, 2), words(2, faces, places, 2)
    points, below, from_ = numbers(faces, places), words(faces, places), words(faces, places)
    corrections = np.zeros((faces, params.slot_match_bytes), dtype=np.uint8)
    tags, blocks = words(faces, places), words(faces, places, 2)
    matrix = ring.PublicMatrix(rng.integers(-600, 600, (places, coordinates), dtype=np.int32))
    inputs, products, scratch = (
        words(faces, coordinates, 2),
        words(faces, places, 2),
        ring.Scratch(),
    )
    masked, low = numbers(faces, coordinates), numbers(faces, places)
    openings = words(3, faces * places, 2)
    alphas = words(faces, 2)
    deltas, unmasked = words(faces), words(faces, places)
    packed = np.zeros((faces, -(-places // 8)), dtype=np.uint8)
    first = slice(0, 1)
    return {
        "expand": (
            lambda: prg.expand(key, slots, prg.RHO, places, blocks),
            faces * places,
            "block",
        ),
        "generate": (
            lambda: dcf.generate(
                params, slot_keys, roots[0], roots[1], points, below, from_, corrections
            ),
            faces * places,
            "comparison",
        ),
        "evaluate": (
            lambda: dcf.evaluate(params, 0, slot_keys, roots[0], corrections, points, tags),
            faces * places,
            "comparison",
        ),
        "evaluate, one face a call": (
            lambda: dcf.evaluate(
                params,
                0,
                slot_keys[first],
                roots[0, first],
                corrections[first],
                points[first],
                tags[first],
            ),
            places,
            "comparison",
        ),
        "match inputs, one face a call": (
            lambda: match_inputs(Secret(key), 0, key, 5, 1, places),
            1,
            "face",
        ),
        "public product mod 2^32": (
            lambda: ring.public_product_mod32(matrix, masked, low),
            faces,
            "face",
        ),
        "public product mod 2^128": (
            lambda: ring.public_matrix_product(matrix, inputs, products, scratch),
            faces,
            "face",
        ),
        "check value": (
            lambda: ring.inner_mac_check(openings[0], openings[1], alphas, openings[2]),
            faces,
            "face",
        ),
        "pack bits": (lambda: bitkernels.pack_bits(tags, packed), faces, "face"),
        "unmask tags": (
            lambda: bitkernels.unmask(tags, packed, deltas, unmasked),
            faces,
            "face",
        ),
        **_sign_steps(4 * faces),
        **_engine_steps("comparison", KeyShape(64, comparison=True), 4 * faces),
        **_engine_steps("equality", KeyShape(64, comparison=False), 4 * faces),
    }


def _engine_steps(name: str, shape: KeyShape, count: int) -> dict[str, Step]:
    """Keys of the engine's comparisons of 64-bit values."""
    rng = np.random.default_rng()

    def words(*sizes: int) -> prg.U64:
        return rng.integers(0, 1 << 64, sizes, dtype=np.uint64)

    tiles, roots, payloads = words(-(-count // KEY_TILE), 2), words(2, count, 2), words(count, 4)
    points = words(count) >> np.uint64(64 - shape.domain)
    keys = np.zeros(count * shape.key_bytes, dtype=np.uint8)
    value, mac = words(2, count, 2)
    return {
        f"engine: generate, {name}": (
            lambda: engine_fss.generate(
                shape, tiles, roots[0], roots[1], points, payloads, payloads, keys
            ),
            count,
            "key",
        ),
        f"engine: evaluate, {name}": (
            lambda: engine_fss.evaluate(shape, 0, tiles, roots[0], keys, 0, points, value, mac),
            count,
            "key",
        ),
    }


def _sign_steps(count: int) -> dict[str, Step]:
    """Keys of the engine's signs of 64-bit values."""
    rng = np.random.default_rng()
    shape = TagShape(63)
    tiles = rng.integers(0, 1 << 64, (-(-count // KEY_TILE), 2), dtype=np.uint64)
    roots = rng.integers(0, 1 << 64, (2, count, 2), dtype=np.uint64)
    points, below, from_ = rng.integers(0, 1 << 63, (3, count), dtype=np.uint64)
    keys = np.zeros(count * shape.key_bytes, dtype=np.uint8)
    tags = np.empty(count, dtype=np.uint64)
    return {
        "engine: generate, sign": (
            lambda: engine_tags.generate(
                shape, tiles, roots[0], roots[1], points, below, from_, keys
            ),
            count,
            "key",
        ),
        "engine: evaluate, sign": (
            lambda: engine_tags.evaluate(shape, 0, tiles, roots[0], keys, 0, points, tags),
            count,
            "key",
        ),
    }


def measure(run: Callable[[], object], units: int, runs: int = RUNS) -> tuple[float, float, float]:
    """Nanoseconds a unit: median, least and greatest of so many runs, after one to warm up."""
    run()
    repeat = max(1, _LEAST_UNITS // units)
    found = []
    for _ in range(runs):
        start = time.thread_time_ns()
        for _ in range(repeat):
            run()
        found.append((time.thread_time_ns() - start) / (repeat * units))
    return median(found), min(found), max(found)


def main() -> None:
    """Prints a table of all steps."""
    table = Table("step", "unit", title=f"Kernel {prg.kernel_name()}, N = 150, d = 128, n = 29")
    for heading in ("ns, median", "least", "greatest"):
        table.add_column(heading, justify="right")
    for name, (run, units, unit) in steps().items():
        figures = [f"{value:.2f}" for value in measure(run, units)]
        table.add_row(name, unit, *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
