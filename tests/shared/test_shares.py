"""What recipients expand, against single blocks; the ratchet goes forward only."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from shared import prg, ring, shares
from shared.errors import FormatError, SlotReused
from shared.secret import Secret
from tests.reference import blocks as reference

KEY = hashlib.sha256(b"key").digest()
STATE = hashlib.sha256(b"state").digest()
SLOTS = np.array([0, 1, 63, 64, 65, 200, 199], dtype=np.uint64)
COORDINATES = 7
PLACES = 5


def numbers(array: np.ndarray, *shape: int) -> list[int]:
    assert array.shape == (len(SLOTS), *shape, 2)
    return ring.to_ints(array)


def blocks(domain: int, count: int, first: int = 0) -> list[int]:
    return [
        reference.block(KEY, int(slot), domain, index)
        for slot in SLOTS
        for index in range(first, first + count)
    ]


def test_alphas_are_whole_blocks() -> None:
    assert numbers(shares.alphas(KEY, SLOTS)) == blocks(reference.ALPHA, 1)


@pytest.mark.parametrize("party", [0, 1])
def test_deltas_have_the_least_bit_of_the_party(party: int) -> None:
    expected = [
        (block & reference.M64) | 1 if party == 0 else (block & reference.M64) & ~1
        for block in blocks(reference.DELTA, 1)
    ]
    assert shares.deltas(KEY, party, SLOTS).tolist() == expected


def test_input_shares_join_low_limbs_of_the_ratchet_with_high_bits_of_the_key() -> None:
    found = shares.input_shares(KEY, shares.RatchetTable(STATE), SLOTS, COORDINATES)
    expected = []
    for slot in SLOTS.tolist():
        ratchet_key = reference.ratchet_key(STATE, slot)
        for i in range(COORDINATES):
            high = reference.block(KEY, slot, reference.R_HIGH, i) >> 32 << 32
            expected.append(high | reference.low_limb(ratchet_key, slot, i))
    assert numbers(found, COORDINATES) == expected


@pytest.mark.parametrize("coordinates", [1, 3, 4, 5, 129])
def test_a_camera_expands_the_low_limbs_of_the_party(coordinates: int) -> None:
    slots = np.arange(64, 128, 9, dtype=np.uint64)
    whole = shares.input_shares(KEY, shares.RatchetTable(STATE), slots, coordinates)
    keys = shares.Ratchet(Secret(STATE)).keys(slots)
    low = shares.low_limbs(keys[1], slots, coordinates)
    assert low.dtype == np.uint32
    assert np.array_equal(low, whole[:, :, 0].astype(np.uint32))


def test_low_limbs_of_several_ratchet_blocks_at_once_are_refused() -> None:
    with pytest.raises(FormatError, match="several ratchet blocks"):
        shares.low_limbs(KEY, [63, 64], 3)


def test_mac_shares_and_rho_are_blocks() -> None:
    assert numbers(shares.input_macs_p0(KEY, SLOTS, COORDINATES), COORDINATES) == blocks(
        reference.R_MAC, COORDINATES
    )
    assert numbers(shares.rho_shares(KEY, SLOTS, PLACES), PLACES) == blocks(reference.RHO, PLACES)
    assert numbers(shares.rho_macs_p0(KEY, SLOTS, PLACES), PLACES) == blocks(
        reference.RHO_MAC, PLACES
    )


def test_some_places_can_be_expanded_alone() -> None:
    for expand, domain in (
        (shares.rho_shares, reference.RHO),
        (shares.rho_macs_p0, reference.RHO_MAC),
    ):
        assert numbers(expand(KEY, SLOTS, 3, first=11), 3) == blocks(domain, 3, 11)


def test_root_seeds_have_their_low_bits_cleared() -> None:
    expected = [block >> 2 << 2 for block in blocks(reference.DCF_ROOT, PLACES)]
    assert numbers(shares.dcf_roots(KEY, SLOTS, PLACES), PLACES) == expected


def test_a_secret_key_gives_the_same_shares() -> None:
    assert np.array_equal(shares.alphas(Secret(KEY), SLOTS), shares.alphas(KEY, SLOTS))


def test_no_slots_give_no_shares() -> None:
    none = np.zeros(0, dtype=np.uint64)
    assert shares.input_shares(KEY, shares.RatchetTable(STATE), none, 4).shape == (0, 4, 2)
    assert shares.Ratchet(STATE).keys(none) == {}


def test_the_ratchet_gives_the_keys_of_the_encodings() -> None:
    keys = shares.Ratchet(STATE).keys(SLOTS)
    assert keys == {slot // 64: reference.ratchet_key(STATE, slot) for slot in (0, 64, 200)}


def test_the_ratchet_refuses_to_go_back_and_stays_where_it_is() -> None:
    ratchet = shares.Ratchet(STATE)
    ratchet.keys([130])
    state = ratchet.state().reveal()
    with pytest.raises(SlotReused, match="found slot block 1, expected 2 or later"):
        ratchet.keys([127, 300])
    assert ratchet.block == 2
    assert ratchet.state().reveal() == state
    assert list(ratchet.keys([128, 191])) == [2]


def test_a_ratchet_goes_on_from_a_stored_state() -> None:
    first = shares.Ratchet(STATE)
    first.keys([500])
    again = shares.Ratchet(first.state(), first.block)
    assert again.keys([700]) == {10: reference.ratchet_key(STATE, 700)}


def test_a_ratchet_overwrites_the_state_behind_it() -> None:
    ratchet = shares.Ratchet(STATE)
    held = ratchet._state
    ratchet.keys([64])
    assert bytes(held) == reference.ratchet_state(STATE, 1)
    ratchet.close()
    assert bytes(held) == bytes(32)


def test_a_party_reaches_any_slot_in_any_order() -> None:
    table = shares.RatchetTable(STATE)
    for slot in (900, 3, 64, 899, 63, 2000):
        assert table.keys([slot]) == {slot // 64: reference.ratchet_key(STATE, slot)}


def test_threads_may_share_a_table() -> None:
    table = shares.RatchetTable(STATE)
    slots = [64 * i for i in range(40)] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda slot: table.keys([slot])[slot // 64], slots))
    assert found == [reference.ratchet_key(STATE, slot) for slot in slots]


@pytest.mark.parametrize("kind", [shares.Ratchet, shares.RatchetTable])
@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_state_of_another_length_is_refused(
    kind: type[shares.Ratchet] | type[shares.RatchetTable], length: int
) -> None:
    with pytest.raises(FormatError, match=f"found {length} bytes, expected 32"):
        kind(bytes(length))


def test_ratchets_do_not_print_their_state() -> None:
    assert repr(shares.Ratchet(STATE)) == "Ratchet(block=0)"
    assert repr(shares.RatchetTable(STATE)) == "RatchetTable"


def test_domains_are_those_of_the_encodings() -> None:
    names = ["ALPHA", "DELTA", "R_HIGH", "R_MAC", "RHO", "RHO_MAC", "DCF_ROOT", "R_LOW", "CHI"]
    assert [getattr(prg, name) for name in names] == list(range(1, 10))
