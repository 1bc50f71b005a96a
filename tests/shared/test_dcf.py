"""The distributed comparison function on every kernel: exhaustive when small, then by property."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared import dcf
from shared.errors import FormatError
from shared.params import Parameters
from tests.reference import dcf as reference

ROOT = Path(__file__).parents[2]
U64 = NDArray[np.uint64]


def parameters(low_bits: int, places: int) -> Parameters:
    """Parameters with a DCF domain of so many bits."""
    fraction = (low_bits - 1) // 2 if low_bits < 31 else 15
    return Parameters(
        dim=1,
        fraction_bits=fraction,
        headroom_bits=low_bits + 1 - 2 * fraction,
        places=places,
        threshold=1,
        face_bound=1,
        entry_bound=1,
        model="test",
    )


@dataclass
class Keys:
    """Generated keys of F slots."""

    params: Parameters
    slot_keys: U64
    roots: U64
    points: NDArray[np.uint32]
    beta_lt: U64
    beta_ge: U64
    words: NDArray[np.uint8]

    def shares(self, party: int, x: NDArray[np.uint32]) -> U64:
        out = np.zeros(x.shape, dtype=np.uint64)
        roots = self.roots[party][:, : x.shape[1]]
        dcf.evaluate(self.params, party, self.slot_keys, roots, self.words, x, out)
        return out

    def opened(self, x: NDArray[np.uint32]) -> U64:
        return self.shares(0, x) ^ self.shares(1, x)

    def expected(self, x: NDArray[np.uint32]) -> U64:
        used = x.shape[1]
        return np.where(x < self.points[:, :used], self.beta_lt[:, :used], self.beta_ge[:, :used])


def generated(params: Parameters, faces: int, seed: int, points: object = None) -> Keys:
    rng = np.random.default_rng(seed)
    shape = (faces, params.places)

    def words(*sizes: int) -> U64:
        return rng.integers(0, 1 << 64, sizes, dtype=np.uint64)

    chosen = rng.integers(0, 1 << params.low_bits, shape) if points is None else points
    keys = Keys(
        params,
        words(faces, 2),
        words(2, *shape, 2),
        np.asarray(chosen, dtype=np.uint32),
        words(*shape),
        words(*shape),
        np.zeros((faces, params.slot_match_bytes), dtype=np.uint8),
    )
    dcf.generate(
        params,
        keys.slot_keys,
        keys.roots[0],
        keys.roots[1],
        keys.points,
        keys.beta_lt,
        keys.beta_ge,
        keys.words,
    )
    return keys


def near(keys: Keys, used: int, seed: int) -> NDArray[np.uint32]:
    """Points at, just below, just above the secret ones, at both ends, and anywhere."""
    rng = np.random.default_rng(seed)
    a = keys.points[:, :used].astype(np.int64)
    top = (1 << keys.params.low_bits) - 1
    kind = rng.integers(0, 6, a.shape)
    anywhere = rng.integers(0, top + 1, a.shape)
    values = np.select(
        [kind == 0, kind == 1, kind == 2, kind == 3, kind == 4],
        [a, np.maximum(a - 1, 0), np.minimum(a + 1, top), np.zeros_like(a), np.full_like(a, top)],
        anywhere,
    )
    return values.astype(np.uint32)


def test_every_point_and_every_input_of_six_bits_gives_the_payload(kernel: str) -> None:
    params = parameters(6, 64)
    everywhere = np.tile(np.arange(64, dtype=np.uint32), (2, 1))
    keys = generated(params, 2, seed=1, points=everywhere)
    # Slot 0 carries Delta below the point, slot 1 from the point on (encodings E4).
    delta = np.uint64(0x8123456789ABCDEF)
    keys.beta_lt[0], keys.beta_lt[1] = delta, 0
    keys.beta_ge[0], keys.beta_ge[1] = 0, delta
    dcf.generate(
        params,
        keys.slot_keys,
        keys.roots[0],
        keys.roots[1],
        keys.points,
        keys.beta_lt,
        keys.beta_ge,
        keys.words,
    )
    for x in range(64):
        inputs = np.full((2, 64), x, dtype=np.uint32)
        below = x < np.arange(64)
        assert np.array_equal(keys.opened(inputs)[0], np.where(below, delta, np.uint64(0)))
        assert np.array_equal(keys.opened(inputs)[1], np.where(below, np.uint64(0), delta))


@pytest.mark.parametrize("places", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 15, 16, 17, 20, 35])
@pytest.mark.parametrize("low_bits", [6, 28, 31])
def test_any_number_of_places_gives_the_payloads(kernel: str, low_bits: int, places: int) -> None:
    keys = generated(parameters(low_bits, places), 3, seed=places)
    x = near(keys, places, seed=places)
    assert np.array_equal(keys.opened(x), keys.expected(x))


@settings(max_examples=60)
@given(
    low_bits=st.integers(6, 31),
    places=st.integers(1, 40),
    faces=st.integers(0, 3),
    seed=st.integers(0, 1 << 32),
)
def test_shares_open_to_the_payload_of_the_side_of_the_point(
    low_bits: int, places: int, faces: int, seed: int
) -> None:
    keys = generated(parameters(low_bits, places), faces, seed)
    x = near(keys, places, seed)
    assert np.array_equal(keys.opened(x), keys.expected(x))


@pytest.mark.parametrize("low_bits", range(6, 32))
@pytest.mark.parametrize("places", [1, 6, 21])
def test_the_words_are_those_of_the_integer_reference(
    kernel: str, low_bits: int, places: int
) -> None:
    keys = generated(parameters(low_bits, places), 1, seed=low_bits)
    slot_key = keys.slot_keys[0].tobytes()
    words = [
        reference.generate(
            low_bits,
            slot_key,
            (_number(keys.roots[0, 0, i]), _number(keys.roots[1, 0, i])),
            int(keys.points[0, i]),
            int(keys.beta_lt[0, i]),
            int(keys.beta_ge[0, i]),
        )
        for i in range(places)
    ]
    tiles = [reference.tile(words[i : i + 16]) for i in range(0, places, 16)]
    assert keys.words[0].tobytes() == b"".join(tiles)
    x = near(keys, places, seed=low_bits)
    for party in (0, 1):
        shares = keys.shares(party, x)[0].tolist()
        for i in range(places):
            root = _number(keys.roots[party, 0, i])
            point = int(x[0, i])
            assert shares[i] == reference.evaluate(low_bits, slot_key, party, root, words[i], point)


def _number(element: U64) -> int:
    return int.from_bytes(element.tobytes(), "little")


def test_some_of_the_places_can_be_evaluated_alone(kernel: str) -> None:
    keys = generated(parameters(28, 23), 2, seed=9)
    for used in range(24):
        x = near(keys, used, seed=used)
        assert np.array_equal(keys.opened(x), keys.expected(x))


def test_rows_may_lie_apart_or_be_named_by_address(kernel: str) -> None:
    params = parameters(28, 19)
    keys = generated(params, 3, seed=3)
    x = near(keys, 19, seed=3)
    expected = keys.expected(x)
    wide = np.full((3, params.slot_match_bytes + 41), 0xA5, dtype=np.uint8)
    wide[:, 7:-34] = keys.words
    keys.words = wide[:, 7:-34]
    assert np.array_equal(keys.opened(x), expected)
    single = [row.copy() for row in keys.words]
    keys.words = np.concatenate([dcf.row_addresses(row[None]) for row in single])
    assert np.array_equal(keys.opened(x), expected)


def test_generation_writes_into_rows_that_lie_apart_and_nowhere_else(kernel: str) -> None:
    params = parameters(28, 21)
    keys = generated(params, 2, seed=4)
    wide = np.full((2, params.slot_match_bytes + 32), 0xA5, dtype=np.uint8)
    dcf.generate(
        params,
        keys.slot_keys,
        keys.roots[0],
        keys.roots[1],
        keys.points,
        keys.beta_lt,
        keys.beta_ge,
        wide[:, 16:-16],
    )
    assert np.array_equal(wide[:, 16:-16], keys.words)
    assert (wide[:, :16] == 0xA5).all()
    assert (wide[:, -16:] == 0xA5).all()


GUARDED = """
import numpy as np
from shared import dcf
from tests.support.guarded import guarded
from tests.shared.test_dcf import generated, near, parameters

for low_bits in (6, 28):
    for places in list(range(1, 18)) + [22]:
        keys = generated(parameters(low_bits, places), 1, places)
        inputs = keys.slot_keys, *keys.roots, keys.points, keys.beta_lt, keys.beta_ge
        words = guarded(np.zeros_like(keys.words))
        dcf.generate(keys.params, *map(guarded, inputs), words)
        assert np.array_equal(words, keys.words)
        for used in {1, places // 2, places}:
            x = near(keys, used, 1)
            out = guarded(np.zeros(x.shape, np.uint64))
            roots = guarded(np.ascontiguousarray(keys.roots[0][:, :used]))
            dcf.evaluate(keys.params, 0, keys.slot_keys, roots, words, guarded(x), out)
            assert np.array_equal(out, keys.shares(0, x))
print("untouched")
"""


def test_nothing_beyond_the_arrays_is_read_or_written(kernel: str) -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "untouched"), done.stderr[-500:]


def test_each_party_alone_sees_other_shares_than_its_peer() -> None:
    keys = generated(parameters(28, 150), 1, seed=8)
    x = near(keys, 150, seed=8)
    assert not np.intersect1d(keys.shares(0, x), keys.shares(1, x)).size


@pytest.mark.parametrize(
    "field", ["slot_keys", "roots", "words", "x", "out", "party", "listed", "too many"]
)
def test_arrays_that_do_not_fit_are_refused(field: str) -> None:
    params = parameters(10, 5)
    keys = generated(params, 2, seed=5)
    x = near(keys, 5, seed=5)
    values = {
        "party": 0,
        "slot_keys": keys.slot_keys,
        "roots": keys.roots[0],
        "words": keys.words,
        "x": x,
        "out": np.zeros((2, 5), dtype=np.uint64),
    }
    wrong: dict[str, dict[str, object]] = {
        "slot_keys": {"slot_keys": keys.slot_keys.astype(np.int64)},
        "roots": {"roots": keys.roots[0, :, :4]},
        "words": {"words": keys.words[:, :-1]},
        "x": {"x": x.astype(np.int64)},
        "out": {"out": np.zeros((5, 2), dtype=np.uint64).T},
        "party": {"party": 2},
        "listed": {"words": np.zeros(3, dtype=np.uint64)},
        "too many": {"x": np.zeros((2, 6), dtype=np.uint32)},
    }
    values.update(wrong[field])
    party, slot_keys, roots, words, points, out = (
        values[name] for name in ("party", "slot_keys", "roots", "words", "x", "out")
    )
    with pytest.raises(FormatError):
        dcf.evaluate(params, party, slot_keys, roots, words, points, out)


@pytest.mark.parametrize("number", range(7))
def test_arrays_that_do_not_fit_are_refused_when_generating(number: int) -> None:
    params = parameters(10, 5)
    keys = generated(params, 2, seed=5)
    arrays = [
        keys.slot_keys,
        keys.roots[0],
        keys.roots[1],
        keys.points,
        keys.beta_lt,
        keys.beta_ge,
        keys.words,
    ]
    arrays[number] = arrays[number][:1] if number else arrays[number][:, :1]
    with pytest.raises(FormatError):
        dcf.generate(params, *arrays)


def test_generation_into_read_only_memory_is_refused() -> None:
    params = parameters(10, 5)
    keys = generated(params, 1, seed=6)
    keys.words.flags.writeable = False
    with pytest.raises(FormatError, match="writable"):
        dcf.generate(
            params,
            keys.slot_keys,
            keys.roots[0],
            keys.roots[1],
            keys.points,
            keys.beta_lt,
            keys.beta_ge,
            keys.words,
        )
