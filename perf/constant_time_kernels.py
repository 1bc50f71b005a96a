"""What `constant_time` measures: each kernel with the secrets that it works on, and a control."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from camera.masking import Masker
from camera.ratchetfile import RatchetState
from dealer import mint
from party import bitkernels
from shared import dcf, engine_flip, engine_fss, engine_ring, engine_sigma, engine_tags, prg, ring
from shared.engine_fss import KEY_TILE, KeyShape
from shared.engine_tags import TagShape
from shared.matchinputs import dcf_key, match_inputs
from shared.params import Parameters
from shared.secret import Secret

CONTROL: Final = "control, with a branch on each bit"
_POOL: Final = 16  # random secrets of an experiment
_PLACES: Final = 32
_KEYS: Final = KEY_TILE
_PARAMETERS: Final = Parameters(
    dim=128,
    fraction_bits=12,
    headroom_bits=5,
    places=_PLACES,
    threshold=1,
    face_bound=9000,
    entry_bound=6000,
    model="none",
)

Array = NDArray[Any]
_MASKS: Final = {  # by type: all bits set, and none
    np.dtype(kind).char: (np.array(-1).astype(kind), np.array(0).astype(kind))
    for kind in (np.uint8, np.uint32, np.uint64, np.int64)
}


@dataclass(frozen=True, slots=True)
class Experiment:
    """secrets: what `run` reads, integers. pools: for each of them the random ones, one a row."""

    name: str
    secrets: tuple[Array, ...]
    run: Callable[[], object]
    pools: tuple[Array, ...]

    def place(self, row: int, *, fixed: bool) -> None:
        """Puts this row's secrets in place, or zeros as the fixed ones.

        Either way the row is read and combined with a mask, so that caches see the same.
        """
        for place, pool in zip(self.secrets, self.pools, strict=True):
            np.bitwise_and(pool[row], _MASKS[pool.dtype.char][fixed], out=place)


class _Made:
    """Secrets of given shapes, uniform."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.secrets: list[Array] = []
        self.random: list[Array] = []

    def words(self, *shape: int, bits: int = 64) -> NDArray[np.uint64]:
        """Numbers of so many bits."""
        return self._made(shape, np.uint64, 0, 1 << bits)

    def numbers(self, *shape: int, bits: int) -> NDArray[np.uint32]:
        """The same, as 32-bit ones."""
        return self._made(shape, np.uint32, 0, 1 << bits)

    def octets(self, *shape: int) -> NDArray[np.uint8]:
        """Bytes."""
        return self._made(shape, np.uint8, 0, 256)

    def coordinates(self, *shape: int, bound: int) -> NDArray[np.int64]:
        """Signed integers up to `bound` in size."""
        return self._made(shape, np.int64, -bound, bound + 1)

    def experiment(self, name: str, run: Callable[[], object]) -> Experiment:
        """With the secrets made so far."""
        return Experiment(name, tuple(self.secrets), run, tuple(self.random))

    def _made(self, shape: tuple[int, ...], dtype: Any, low: int, high: int) -> Array:
        pool = self._rng.integers(low, high, (_POOL, *shape), dtype=dtype)
        self.random.append(pool)
        self.secrets.append(np.zeros(shape, dtype=dtype))
        return self.secrets[-1]


def experiments(rng: np.random.Generator) -> Iterator[Experiment]:
    """Every kernel that works on secrets, and the control."""
    for make in (
        _dcf,
        _blocks,
        _masking,
        _ring,
        _bits,
        _minting,
        _engine_keys,
        _engine_tags,
        _engine_ring,
        _engine_sums,
        _engine_checks,
    ):
        yield from make(rng)
    yield control(rng)


def control(rng: np.random.Generator) -> Experiment:
    """Leaks on purpose: the test has to find it."""
    made = _Made(rng)
    words = made.words(256)
    return made.experiment(CONTROL, lambda: _branching(words))


@njit  # type: ignore[untyped-decorator]
def _branching(words: Array) -> int:
    total = 0
    for word in words:
        if word & np.uint64(1):
            total = total * 3 + 1
        elif word & np.uint64(2):
            total ^= 5
    return total


def _dcf(rng: np.random.Generator) -> Iterator[Experiment]:
    params = _PARAMETERS
    keys = rng.integers(0, 1 << 63, (1, 2), dtype=np.uint64)
    z = rng.integers(0, 1 << params.low_bits, (1, _PLACES), dtype=np.uint32)
    out = np.empty((1, _PLACES), dtype=np.uint64)
    made = _Made(rng)
    roots, words = made.words(1, _PLACES, 2), made.octets(1, params.slot_match_bytes)
    yield made.experiment(
        "evaluate comparisons", lambda: dcf.evaluate(params, 1, keys, roots, words, z, out)
    )
    made = _Made(rng)
    root0, root1 = made.words(1, _PLACES, 2), made.words(1, _PLACES, 2)
    points = made.numbers(1, _PLACES, bits=params.low_bits)
    below, from_ = made.words(1, _PLACES), made.words(1, _PLACES)
    target = np.empty((1, params.slot_match_bytes), dtype=np.uint8)
    yield made.experiment(
        "generate comparisons",
        lambda: dcf.generate(params, keys, root0, root1, points, below, from_, target),
    )


def _blocks(rng: np.random.Generator) -> Iterator[Experiment]:
    made = _Made(rng)
    key = made.octets(32)
    slots = np.arange(4, dtype=np.uint64)
    out = np.empty((4, _PLACES, 2), dtype=np.uint64)
    yield made.experiment(
        "expand blocks", lambda: prg.expand(key.tobytes(), slots, prg.RHO, _PLACES, out)
    )
    made = _Made(rng)
    engine_key = made.octets(32)
    run = np.empty((_PLACES, 2), dtype=np.uint64)
    yield made.experiment(
        "expand a run of blocks",
        lambda: prg.expand_run(engine_key.tobytes(), 0, _PLACES, prg.RHO, 0, run),
    )
    made = _Made(rng)
    secret = made.octets(32)
    public = dcf_key(bytes(32))
    yield made.experiment(
        "expand what matching needs",
        lambda: match_inputs(Secret(secret.data), 0, public, 0, 1, _PLACES),
    )


def _masking(rng: np.random.Generator) -> Iterator[Experiment]:
    made = _Made(rng)
    bound = _PARAMETERS.face_bound // 12  # 128 coordinates of it have a norm within the bound
    faces = made.coordinates(2, _PARAMETERS.dim, bound=bound)
    masker = Masker(_PARAMETERS, RatchetState(0, rng.bytes(64)))
    yield made.experiment("mask faces", lambda: masker.mask(0, faces))
    made = _Made(rng)
    states = made.octets(64)
    face = rng.integers(-bound, bound, (2, _PARAMETERS.dim), dtype=np.int64)
    yield made.experiment(
        "mask with fresh ratchets",
        lambda: Masker(_PARAMETERS, RatchetState(0, states.tobytes())).mask(0, face),
    )


def _ring(rng: np.random.Generator) -> Iterator[Experiment]:
    coordinates = _PARAMETERS.coordinates
    matrix = ring.PublicMatrix(rng.integers(-600, 600, (_PLACES, coordinates), dtype=np.int32))
    scratch = ring.Scratch()
    made = _Made(rng)
    shares = made.words(1, coordinates, 2)
    out = np.empty((1, _PLACES, 2), dtype=np.uint64)
    yield made.experiment(
        "product with shares",
        lambda: ring.public_matrix_product(matrix, shares, out, scratch),
    )
    made = _Made(rng)
    masked = made.numbers(1, coordinates, bits=32)
    small = np.empty((1, _PLACES), dtype=np.uint32)
    yield made.experiment(
        "product with masked faces", lambda: ring.public_product_mod32(matrix, masked, small)
    )
    made = _Made(rng)
    macs, alphas, kappas = made.words(_PLACES, 2), made.words(1, 2), made.words(_PLACES, 2)
    chi = rng.integers(0, 1 << 63, (_PLACES, 2), dtype=np.uint64)
    yield made.experiment("check value", lambda: ring.inner_mac_check(chi, macs, alphas, kappas))
    for name, operation in (("sums", ring.add), ("differences", ring.sub), ("products", ring.mul)):
        made = _Made(rng)
        yield made.experiment(
            f"{name} of elements", _each(operation, made.words(_PLACES, 2), made.words(_PLACES, 2))
        )


def _each(operation: Callable[..., object], left: Array, right: Array) -> Callable[[], object]:
    return lambda: operation(left, right)


def _bits(rng: np.random.Generator) -> Iterator[Experiment]:
    made = _Made(rng)
    tags = made.words(4, _PLACES)
    packed = np.empty((4, _PLACES // 8), dtype=np.uint8)
    yield made.experiment("pack bits", lambda: bitkernels.pack_bits(tags, packed))
    made = _Made(rng)
    own, bits, deltas = made.words(4, _PLACES), made.octets(4, _PLACES // 8), made.words(4)
    out = np.empty((4, _PLACES), dtype=np.uint64)
    yield made.experiment("unmask tags", lambda: bitkernels.unmask(own, bits, deltas, out))


def _minting(rng: np.random.Generator) -> Iterator[Experiment]:
    made = _Made(rng)
    alphas = made.words(1, 2), made.words(1, 2)
    shares = made.words(1, _PLACES, 2), made.words(1, _PLACES, 2)
    macs = made.words(1, _PLACES, 2)
    out = np.empty((1, _PLACES, 2), dtype=np.uint64)
    yield made.experiment("correct MACs", lambda: mint._correct(*alphas, *shares, macs, out))
    made = _Made(rng)
    delta, rho = made.words(1), (made.words(1, _PLACES, 2), made.words(1, _PLACES, 2))
    points = np.empty((1, _PLACES), dtype=np.uint32)
    below, from_ = (np.empty((1, _PLACES), dtype=np.uint64) for _ in range(2))
    bits = _PARAMETERS.low_bits
    yield made.experiment(
        "payloads of comparisons",
        lambda: mint._payloads(delta, *rho, bits, points, below, from_),
    )


def _engine_keys(rng: np.random.Generator) -> Iterator[Experiment]:
    tiles = rng.integers(0, 1 << 63, (1, 2), dtype=np.uint64)
    z = rng.integers(0, 1 << 63, _KEYS, dtype=np.uint64)
    value, mac = (np.empty((_KEYS, 2), dtype=np.uint64) for _ in range(2))
    for name, shape in (
        ("engine comparison", KeyShape(64, comparison=True)),
        ("engine point function", KeyShape(64, comparison=False)),
    ):
        made = _Made(rng)
        roots, words = made.words(_KEYS, 2), made.octets(_KEYS * shape.key_bytes)
        yield made.experiment(
            f"evaluate {name}", _evaluate(shape, tiles, roots, words, z, value, mac)
        )
        made = _Made(rng)
        both = made.words(_KEYS, 2), made.words(_KEYS, 2)
        points = made.words(_KEYS, bits=63)
        payloads = made.words(_KEYS, 4), made.words(_KEYS, 4)
        out = np.empty(_KEYS * shape.key_bytes, dtype=np.uint8)
        yield made.experiment(
            f"generate {name}", _generate(shape, tiles, both, points, payloads, out)
        )


def _engine_tags(rng: np.random.Generator) -> Iterator[Experiment]:
    shape = TagShape(63)
    tiles = rng.integers(0, 1 << 63, (1, 2), dtype=np.uint64)
    z = rng.integers(0, 1 << 63, _KEYS, dtype=np.uint64)
    tags = np.empty(_KEYS, dtype=np.uint64)
    made = _Made(rng)
    roots, words = made.words(_KEYS, 2), made.octets(_KEYS * shape.key_bytes)
    yield made.experiment(
        "evaluate engine tags",
        lambda: engine_tags.evaluate(shape, 1, tiles, roots, words, 0, z, tags),
    )
    made = _Made(rng)
    root0, root1 = made.words(_KEYS, 2), made.words(_KEYS, 2)
    points = made.words(_KEYS, bits=63)
    below, from_ = made.words(_KEYS), made.words(_KEYS)
    out = np.empty(_KEYS * shape.key_bytes, dtype=np.uint8)
    yield made.experiment(
        "generate engine tags",
        lambda: engine_tags.generate(shape, tiles, root0, root1, points, below, from_, out),
    )


def _evaluate(
    shape: KeyShape, tiles: Array, roots: Array, words: Array, z: Array, value: Array, mac: Array
) -> Callable[[], object]:
    return lambda: engine_fss.evaluate(shape, 1, tiles, roots, words, 0, z, value, mac)


def _generate(
    shape: KeyShape,
    tiles: Array,
    roots: tuple[Array, Array],
    points: Array,
    payloads: tuple[Array, Array],
    out: Array,
) -> Callable[[], object]:
    return lambda: engine_fss.generate(shape, tiles, *roots, points, *payloads, out)


def _engine_ring(rng: np.random.Generator) -> Iterator[Experiment]:
    made = _Made(rng)
    alpha = made.words(2)
    d, e = made.words(_KEYS, 2), made.words(_KEYS, 2)
    a, b, c = made.words(_KEYS, 2), made.words(_KEYS, 2), made.words(_KEYS, 2)
    p, q, r = made.words(_KEYS, 2), made.words(_KEYS, 2), made.words(_KEYS, 2)
    yield made.experiment(
        "engine multiplication",
        lambda: engine_ring.multiply_shares(0, alpha, d, e, (a, b, c), (p, q, r)),
    )
    made = _Made(rng)
    left, right = made.words(1, 4, 8, 2), made.words(1, 8, 4, 2)
    yield made.experiment("engine matrix product", lambda: engine_ring.matmul(left, right))
    made = _Made(rng)
    elements, factor = made.words(_KEYS, 2), made.words(2)
    yield made.experiment("engine scaling", lambda: engine_ring.scale(elements, factor))
    made = _Made(rng)
    key, opened = made.words(2), made.words(_KEYS, 2)
    x, square, x_mac, square_mac = (made.words(_KEYS, 2) for _ in range(4))
    yield made.experiment(
        "engine squaring",
        lambda: engine_ring.square_shares(0, key, opened, (x, square), (x_mac, square_mac)),
    )
    made = _Made(rng)
    shares, macs, factors = made.words(_KEYS, 2), made.words(_KEYS, 2), made.words(2)
    out = np.empty((_KEYS, 2), dtype=np.uint64)
    yield made.experiment(
        "engine MAC correction", lambda: engine_ring.subtract_scaled(shares, macs, factors, out)
    )


def _engine_sums(rng: np.random.Generator) -> Iterator[Experiment]:
    for name, minus in (("engine sums", False), ("engine differences", True)):
        made = _Made(rng)
        yield made.experiment(
            name, _broadcast(made.words(_KEYS, 2), made.words(_KEYS, 2), minus=minus)
        )
    made = _Made(rng)
    rows = made.words(4, _KEYS, 2)
    yield made.experiment("engine totals of rows", lambda: engine_ring.total(rows, 1))
    made = _Made(rng)
    columns = made.words(4, _KEYS, 2)
    yield made.experiment("engine totals of columns", lambda: engine_ring.total(columns, 0))


def _broadcast(left: Array, right: Array, *, minus: bool) -> Callable[[], object]:
    return lambda: engine_ring.add_broadcast(left, right, left.shape[:-1], minus=minus)


def _engine_checks(rng: np.random.Generator) -> Iterator[Experiment]:
    made = _Made(rng)
    alpha, value, mac = made.words(2), made.words(_KEYS, 2), made.words(_KEYS, 2)
    public = rng.integers(0, 2, _KEYS, dtype=np.uint64)
    yield made.experiment(
        "engine flips of bits",
        lambda: engine_flip.flip_shares(0, alpha, value, mac, public),
    )
    made = _Made(rng)
    key, macs, sigma = made.words(2), made.words(_KEYS, 2), made.words(2)
    coin = rng.bytes(32)
    opened = rng.integers(0, 1 << 63, (_KEYS, 2), dtype=np.uint64)
    yield made.experiment(
        "engine check value",
        lambda: engine_sigma.add_to_sigma(coin, 0, macs, opened, key, sigma),
    )
