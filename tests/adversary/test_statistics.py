"""What others see of a window is random, and the same whether faces match or not.

Three windows are run: in one every face matches every entry, in one none, in one half of them. Each
statistic is one number, close to standard normal where what it looks at is random; its limit gives
one false alarm in 10^9, and all randomness is fixed, so that a run that passes passes again. For
each statistic there is a masking that is broken on purpose, which it has to find.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from camera import masking
from shared.fixedpoint import face_input
from tests.adversary.observed import DIM, FACES, NORTH, Window, masks, watch
from tests.support.randomness import (
    LIMIT,
    chi_square,
    correlation,
    dependence,
    difference,
    uniformity,
)

ALL, NONE, HALF = 1.0, 0.0, 0.5
SEEDS = {ALL: 11, NONE: 12, HALF: 13}


@cache
def window(matching: float, seed: int | None = None) -> Window:
    """Each is run once."""
    return watch(matching, seed=SEEDS[matching] if seed is None else seed)


def largest(values: Any) -> float:
    """Of many statistics the one that is furthest from zero."""
    return float(np.abs(np.asarray(values)).max(initial=0))


def octets(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The bytes of each row."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)


def bits_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The bits of each row."""
    return np.unpackbits(octets(array), axis=1, bitorder="little")


def one_match(seen: Window) -> NDArray[np.uint8]:
    """Whether each face matches, (F, 1): all entries do or none."""
    return seen.bits[:, :1]


def columns(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One row a face."""
    return words.reshape(len(words), -1)


def within(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlations of different columns."""
    return np.triu(values, k=1)


def known(seen: Window) -> NDArray[np.int64]:
    """What must not show: the face and its match."""
    return np.hstack([seen.faces, one_match(seen)])


# Of one window; near zero where what it looks at is random, and independent of what must not show.
STATISTICS: dict[str, Callable[[Window], float]] = {
    "bytes of e": lambda seen: largest(uniformity(octets(seen.masked))),
    "e and the face": lambda seen: largest(correlation(seen.masked, known(seen))),
    "bits of e and the face": lambda seen: largest(
        correlation(bits_of(seen.masked), np.hstack([bits_of(face_input(seen.faces)), known(seen)]))
    ),
    "e and the next e": lambda seen: largest(
        correlation(bits_of(seen.masked)[1:], bits_of(seen.masked)[:-1])
    ),
    "coordinates of one e": lambda seen: largest(within(correlation(seen.masked, seen.masked))),
    "bytes of P0's shares of kappa": lambda seen: largest(
        uniformity(octets(columns(seen.kappa_shares[0])))
    ),
    "bytes of P1's shares of kappa": lambda seen: largest(
        uniformity(octets(columns(seen.kappa_shares[1])))
    ),
    "bytes of kappa": lambda seen: largest(uniformity(octets(columns(seen.kappa)))),
    "kappa and the face": lambda seen: largest(correlation(columns(seen.kappa), known(seen))),
    "kappas of one slot": lambda seen: largest(
        within(correlation(columns(seen.kappa), columns(seen.kappa)))
    ),
    "bytes of P0's tags": lambda seen: largest(uniformity(octets(seen.tags[0]))),
    "bytes of P1's tags": lambda seen: largest(uniformity(octets(seen.tags[1]))),
    "P0's tags and the face": lambda seen: largest(correlation(bits_of(seen.tags[0]), known(seen))),
    "P1's tags and the face": lambda seen: largest(correlation(bits_of(seen.tags[1]), known(seen))),
    "tags of one face": lambda seen: largest(
        within(correlation(bits_of(seen.tags[0]), bits_of(seen.tags[0])))
    ),
    "bytes of bit shares": lambda seen: largest(uniformity(np.hstack(seen.bit_shares))),
    "P0's bit shares and the bits": lambda seen: dependence(
        bits_of(seen.bit_shares[0]).ravel(), seen.bits.ravel()
    ),
    "P1's bit shares and the bits": lambda seen: dependence(
        bits_of(seen.bit_shares[1]).ravel(), seen.bits.ravel()
    ),
    "bytes of digests, seeds, nonces": lambda seen: largest(
        uniformity(np.frombuffer(b"".join(seen.short), dtype=np.uint8).reshape(-1, 1))
    ),
    "digests, seeds, nonces that come twice": lambda seen: (
        1e9 * (len(seen.short) - len(set(seen.short)))
    ),
}


@pytest.mark.parametrize("matching", SEEDS)
@pytest.mark.parametrize("name", STATISTICS)
def test_what_others_see_is_uniform_and_tells_nothing_of_faces(name: str, matching: float) -> None:
    assert abs(STATISTICS[name](window(matching))) < LIMIT


@pytest.mark.parametrize("matching", SEEDS)
def test_the_windows_are_what_they_are_meant_to_be(matching: float) -> None:
    seen = window(matching)
    assert abs(one_match(seen).mean() - matching) < 0.05
    assert ((seen.bits == 0).all(axis=1) | (seen.bits == 1).all(axis=1)).all()
    assert (seen.faces[:, 0] > 0).tolist() == one_match(seen)[:, 0].tolist()
    assert (seen.masked + masks("east", SEEDS[matching]) == face_input(seen.faces)).all()


# -- maskings that are broken on purpose -------------------------------------------------


def remasked(seen: Window, change: Callable[[NDArray[np.uint32]], NDArray[np.uint32]]) -> Window:
    """As the window would be with other masks."""
    r = change(masks("east", SEEDS[HALF]))
    return replace(seen, masked=face_input(seen.faces) - r)


def with_kappa(seen: Window, kappa: NDArray[np.uint64]) -> Window:
    """As the window would be with these values opened: P0's share is left as it is."""
    first = seen.kappa_shares[0]
    low = kappa[..., 0] - first[..., 0]
    borrow = (kappa[..., 0] < first[..., 0]).astype(np.uint64)
    second = np.stack([low, kappa[..., 1] - first[..., 1] - borrow], axis=-1)
    return replace(seen, kappa_shares=(first, second))


def with_tags(seen: Window, party: int, tags: NDArray[np.uint64]) -> Window:
    both = list(seen.tags)
    both[party] = tags
    return replace(seen, tags=(both[0], both[1]))


def with_shares(seen: Window, party: int, own: NDArray[np.uint8]) -> Window:
    """The other party's shares follow, so that the same bits are opened."""
    opened = seen.bit_shares[0] ^ seen.bit_shares[1]
    pair = (own, own ^ opened) if party == 0 else (own ^ opened, own)
    return replace(seen, bit_shares=pair)


def every_second(r: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return np.repeat(r[::2], 2, axis=0)


def low_kappa(seen: Window) -> NDArray[np.uint64]:
    """rho of 64 bits in place of 128."""
    kappa = seen.kappa.copy()
    kappa[..., 1] = 0
    return kappa


def marked_kappa(seen: Window) -> NDArray[np.uint64]:
    """A top bit that follows the match in four of five cases."""
    kappa = seen.kappa.copy()
    follows = (np.arange(FACES) % 5 > 0)[:, None]
    top = np.uint64(1) << np.uint64(63)
    wanted = one_match(seen).astype(np.uint64) << np.uint64(63)
    kappa[..., 1] = np.where(follows, (kappa[..., 1] & ~top) | wanted, kappa[..., 1])
    return kappa


def same_kappa(seen: Window) -> NDArray[np.uint64]:
    """One rho for two places."""
    kappa = seen.kappa.copy()
    kappa[:, 1] = kappa[:, 0]
    return kappa


def marked_tags(seen: Window, party: int) -> NDArray[np.uint64]:
    """The least bit of one place's tag is the bit itself."""
    tags = seen.tags[party].copy()
    tags[:, 3] = (tags[:, 3] & ~np.uint64(1)) | seen.bits[:, 3]
    return tags


def same_tags(seen: Window) -> NDArray[np.uint64]:
    """One block for two places."""
    tags = seen.tags[0].copy()
    tags[:, 1] = tags[:, 0]
    return tags


def packed(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.packbits(bits, axis=1, bitorder="little")


def biased(seen: Window) -> NDArray[np.uint8]:
    """A share that is the bit itself more often than not."""
    rng = np.random.default_rng(5)
    return packed(seen.bits ^ (rng.random(seen.bits.shape) < 0.4).astype(np.uint8))


LOW_24 = np.uint32(0xFFFFFF)
ODD = np.uint32(1)
BREAKS: dict[str, tuple[str, Callable[[Window], Window]]] = {
    "no mask": ("e and the face", lambda seen: remasked(seen, np.zeros_like)),
    "one mask for all slots": (
        "bits of e and the face",
        lambda seen: remasked(seen, lambda r: np.repeat(r[:1], FACES, axis=0)),
    ),
    "masks of 24 bits": ("bytes of e", lambda seen: remasked(seen, lambda r: r & LOW_24)),
    "masks that are even": (
        "bits of e and the face",
        lambda seen: remasked(seen, lambda r: r & ~ODD),
    ),
    "a mask for two slots": ("e and the next e", lambda seen: remasked(seen, every_second)),
    "a mask for two coordinates": (
        "coordinates of one e",
        lambda seen: remasked(seen, lambda r: np.hstack([r[:, :1], r[:, :-1]])),
    ),
    "rho of 64 bits": ("bytes of kappa", lambda seen: with_kappa(seen, low_kappa(seen))),
    "a bit of kappa that leans to the match": (
        "kappa and the face",
        lambda seen: with_kappa(seen, marked_kappa(seen)),
    ),
    "a rho for two places": (
        "kappas of one slot",
        lambda seen: with_kappa(seen, same_kappa(seen)),
    ),
    "kappa in one share": (
        "bytes of P0's shares of kappa",
        lambda seen: replace(seen, kappa_shares=(seen.kappa * 0, seen.kappa)),
    ),
    "kappa in the other share": (
        "bytes of P1's shares of kappa",
        lambda seen: replace(seen, kappa_shares=(seen.kappa, seen.kappa * 0)),
    ),
    "P0's tags of 56 bits": (
        "bytes of P0's tags",
        lambda seen: with_tags(seen, 0, seen.tags[0] >> np.uint64(8)),
    ),
    "P1's tags of 56 bits": (
        "bytes of P1's tags",
        lambda seen: with_tags(seen, 1, seen.tags[1] >> np.uint64(8)),
    ),
    "the bit in a tag of P0": (
        "P0's tags and the face",
        lambda seen: with_tags(seen, 0, marked_tags(seen, 0)),
    ),
    "the bit in a tag of P1": (
        "P1's tags and the face",
        lambda seen: with_tags(seen, 1, marked_tags(seen, 1)),
    ),
    "a block for two tags": ("tags of one face", lambda seen: with_tags(seen, 0, same_tags(seen))),
    "the bits in P0's shares": (
        "P0's bit shares and the bits",
        lambda seen: with_shares(seen, 0, packed(seen.bits)),
    ),
    "shares of P1 that lean to the bits": (
        "P1's bit shares and the bits",
        lambda seen: with_shares(seen, 1, biased(seen)),
    ),
    "shares that are zero": (
        "bytes of bit shares",
        lambda seen: with_shares(seen, 0, np.zeros_like(seen.bit_shares[0])),
    ),
    "digests as text": (
        "bytes of digests, seeds, nonces",
        lambda seen: replace(seen, short=[text.hex().encode() for text in seen.short]),
    ),
    "a commitment without a nonce": (
        "digests, seeds, nonces that come twice",
        lambda seen: replace(seen, short=[*seen.short, seen.short[0]]),
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_a_masking_that_is_broken_is_found(what: str) -> None:
    name, broken = BREAKS[what]
    assert abs(STATISTICS[name](broken(window(HALF)))) > LIMIT


def test_every_statistic_has_a_broken_masking_that_it_finds() -> None:
    assert {name for name, _ in BREAKS.values()} == set(STATISTICS)


def test_a_camera_that_does_not_mask_is_found_in_a_window_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(_: bytes, slots: NDArray[np.uint64], coordinates: int) -> NDArray[np.uint32]:
        return np.zeros((len(slots), coordinates), dtype=np.uint32)

    monkeypatch.setattr(masking, "low_limbs", nothing)
    seen = watch(HALF, seed=SEEDS[HALF])
    names = ("bytes of e", "bits of e and the face", "coordinates of one e")
    assert all(abs(STATISTICS[name](seen)) > LIMIT for name in names)


# -- matching and not matching -----------------------------------------------------------

PARTS: dict[str, Callable[[Window], NDArray[np.uint8]]] = {
    "e": lambda seen: octets(seen.masked),
    "P0's shares of kappa": lambda seen: octets(columns(seen.kappa_shares[0])),
    "P1's shares of kappa": lambda seen: octets(columns(seen.kappa_shares[1])),
    "kappa": lambda seen: octets(columns(seen.kappa)),
    "P0's tags": lambda seen: octets(seen.tags[0]),
    "P1's tags": lambda seen: octets(seen.tags[1]),
    "P0's bit shares": lambda seen: seen.bit_shares[0],
    "P1's bit shares": lambda seen: seen.bit_shares[1],
    "digests, seeds, nonces": lambda seen: np.frombuffer(b"".join(seen.short), dtype=np.uint8),
}


@pytest.mark.parametrize("part", PARTS)
def test_windows_in_which_all_match_and_none_have_the_same_distribution(part: str) -> None:
    view = PARTS[part]
    assert abs(difference(view(window(ALL)), view(window(NONE)))) < LIMIT


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_leans_in_one_of_two_windows_is_found(part: str) -> None:
    view = PARTS[part]
    leaning = view(window(ALL)).copy()
    leaning[: len(leaning) // 2] &= 0x3F  # half of the rows lack two bits of eight
    assert abs(difference(leaning, view(window(NONE)))) > LIMIT


SAME = 21


def test_number_order_and_sizes_of_all_messages_are_the_same() -> None:
    matching, other = window(ALL, SAME), window(NONE, SAME)
    assert matching.traffic == other.traffic
    kinds = {kind for _, kind, _ in matching.traffic}
    assert {"Faces", "FaceAck", "Prep0", "Prep4", "Reveal0", "Confirm1", "Held"} <= kinds


def test_prepare_and_what_a_neighbour_gets_are_the_same_to_the_byte() -> None:
    matching, other = window(ALL, SAME), window(NONE, SAME)
    assert matching.prepared == other.prepared
    assert matching.north == other.north
    assert len(matching.north) > 2
    assert (matching.masked != other.masked).any()
    assert (matching.bits != other.bits).all()


def test_the_number_of_faces_is_all_that_a_cameras_messages_show() -> None:
    seen = window(ALL, SAME)
    sizes = [frames[1:] for _, kind, frames in seen.traffic if kind == "Faces"]
    assert set(sizes) == {(8 * 32, 4 * 32 * (DIM + 1))}
    assert len(sizes) * 32 == 2 * (FACES + NORTH)


# -- the neighbour -----------------------------------------------------------------------


def neighbours_view(seen: Window, own: NDArray[np.uint32]) -> float:
    """What e tells to somebody who takes off his own masks."""
    opened = seen.masked + own
    return max(
        largest(uniformity(octets(opened))),
        largest(correlation(bits_of(opened), known(seen))),
        largest(correlation(bits_of(seen.masked), bits_of(own))),
    )


def test_a_cameras_masks_open_nothing_of_another_cameras_faces() -> None:
    assert neighbours_view(window(HALF), masks("north", SEEDS[HALF])) < LIMIT


def test_a_neighbour_with_the_same_masks_is_found() -> None:
    assert neighbours_view(window(HALF), masks("east", SEEDS[HALF])) > LIMIT


# -- the statistics themselves -----------------------------------------------------------


def test_random_data_raise_no_alarm_and_are_about_normal() -> None:
    rng = np.random.default_rng(8)
    data = rng.integers(0, 256, (2_000, 400), dtype=np.uint8)
    for values in (uniformity(data), correlation(data[:, :200], data[:, 200:]).ravel()):
        assert largest(values) < LIMIT
        assert abs(values.mean()) < 0.2
        assert abs(values.std() - 1) < 0.2


def test_chi_square_is_made_normal() -> None:
    # Quantiles of chi-square with 255 degrees of freedom at 1, 50 and 99.9 per cent.
    quantiles = np.array([205.4213, 254.3334, 330.5197])
    assert chi_square(quantiles, 255.0) == pytest.approx([-2.326, 0, 3.090], abs=0.005)


def test_dependence_of_equal_labels_is_found_and_of_independent_ones_is_not() -> None:
    rng = np.random.default_rng(9)
    a, b = rng.integers(0, 4, (2, 5_000))
    assert abs(dependence(a, b)) < 4
    assert dependence(a, a) > LIMIT
    assert dependence(a, np.where(rng.random(5_000) < 0.15, a, b)) > LIMIT
    assert dependence(a, np.zeros(5_000, dtype=np.int64)) == 0
