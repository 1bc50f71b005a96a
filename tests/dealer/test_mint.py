from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dealer.mint import MintScratch, SetSeeds, mint_slots
from dealer.setfiles import MintBuffers, mint_step
from shared.errors import FormatError
from shared.params import Parameters
from shared.secret import Secret
from shared.sets import SetName
from shared.shares import Ratchet
from tests.reference import mint as reference
from tests.vector_files import hex_all, load

SETS = load("material")["sets"]


def seeds_of(keys: list[bytes], states: list[bytes]) -> SetSeeds:
    return SetSeeds(*(Secret(b) for b in (*keys, *states)))


def minted(
    params: Parameters, name: SetName, seeds: SetSeeds, first: int, count: int
) -> tuple[list[bytes], list[bytes]]:
    match = np.empty((count, params.slot_match_bytes), dtype=np.uint8)
    prepare = np.empty((count, params.slot_prepare_bytes), dtype=np.uint8)
    scratch = MintScratch(params, count)
    mint_slots(params, name.digest(), seeds, seeds.ratchets(), first, scratch, match, prepare)
    return [row.tobytes() for row in match], [row.tobytes() for row in prepare]


@pytest.mark.parametrize("found", SETS, ids=lambda s: s["camera"])
def test_minted_slots_equal_the_published_vectors(found: dict[str, Any]) -> None:
    params = Parameters.from_map(found["params"])
    name = SetName(bytes.fromhex(found["mint_id"]), found["window"], found["camera"])
    seeds = seeds_of(hex_all(found["keys"]), hex_all(found["states"]))
    slots = found["slots"]
    match, prepare = minted(params, name, seeds, slots[0]["slot"], len(slots))
    assert [m.hex() for m in match] == [s["match_bytes"] for s in slots]
    assert [p.hex() for p in prepare] == [s["prepare_bytes"] for s in slots]


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_minted_slots_equal_the_reference(data: st.DataObject) -> None:
    values: dict[str, Any] = {
        "dim": data.draw(st.integers(1, 9)),
        "fraction_bits": 3,
        "headroom_bits": data.draw(st.integers(1, 26)),
        "places": data.draw(st.integers(1, 35)),
        "threshold": 0,
        "face_bound": 1,
        "entry_bound": 1,
        "model": "m",
    }
    secrets = [data.draw(st.binary(min_size=32, max_size=32)) for _ in range(4)]
    mint_id = data.draw(st.binary(min_size=16, max_size=16))
    slot = data.draw(st.integers(0, 300))
    material = reference.MaterialSet(
        mint_id, "w", "c", (secrets[0], secrets[1]), (secrets[2], secrets[3])
    )
    expected = reference.mint(reference.Params(**values), material, slot)
    match, prepare = minted(
        Parameters(**values),
        SetName(mint_id, "w", "c"),
        seeds_of(secrets[:2], secrets[2:]),
        slot,
        1,
    )
    assert match == [expected.match_bytes]
    assert prepare == [expected.prepare_bytes]


def test_slots_do_not_depend_on_how_they_are_cut_into_calls() -> None:
    params = Parameters.from_map(SETS[0]["params"])
    name = SetName(bytes(16), "w", "c")
    seeds = seeds_of([b"a" * 32, b"b" * 32], [b"c" * 32, b"d" * 32])
    whole = minted(params, name, seeds, 0, 140)
    again = minted(params, name, seeds, 0, 140)
    assert whole == again
    parts = [minted(params, name, seeds, first, count) for first, count in ((0, 63), (63, 77))]
    assert whole == (parts[0][0] + parts[1][0], parts[0][1] + parts[1][1])


def test_a_ratchet_at_the_slots_block_gives_the_same_slots() -> None:
    params = Parameters.from_map(SETS[0]["params"])
    seeds = seeds_of([b"a" * 32, b"b" * 32], [b"c" * 32, b"d" * 32])
    walked = seeds.ratchets()
    for ratchet in walked:
        ratchet.keys([130])
    there = (Ratchet(walked[0].state(), 2), Ratchet(walked[1].state(), 2))
    name = SetName(bytes(16), "w", "c")
    match = np.empty((1, params.slot_match_bytes), dtype=np.uint8)
    prepare = np.empty((1, params.slot_prepare_bytes), dtype=np.uint8)
    mint_slots(params, name.digest(), seeds, there, 130, MintScratch(params, 1), match, prepare)
    assert ([match[0].tobytes()], [prepare[0].tobytes()]) == minted(params, name, seeds, 130, 1)


def test_every_seed_and_the_set_and_the_slot_change_the_material() -> None:
    params = Parameters.from_map(SETS[0]["params"])
    plain = [b"a" * 32, b"b" * 32, b"c" * 32, b"d" * 32]
    name = SetName(bytes(16), "w", "c")
    seen = [minted(params, name, seeds_of(plain[:2], plain[2:]), 0, 1)]
    for i in range(4):
        changed = [*plain[:i], b"z" * 32, *plain[i + 1 :]]
        seen.append(minted(params, name, seeds_of(changed[:2], changed[2:]), 0, 1))
    other = SetName(b"\1" + bytes(15), "w", "c")
    seen.append(minted(params, other, seeds_of(plain[:2], plain[2:]), 0, 1))
    seen.append(minted(params, name, seeds_of(plain[:2], plain[2:]), 1, 1))
    assert len({str(s) for s in seen}) == len(seen)


def test_buffers_of_another_shape_are_refused() -> None:
    params = Parameters.from_map(SETS[0]["params"])
    seeds = seeds_of([bytes(32)] * 2, [bytes(32)] * 2)
    good_match = np.empty((2, params.slot_match_bytes), dtype=np.uint8)
    good_prepare = np.empty((2, params.slot_prepare_bytes), dtype=np.uint8)
    wide_match, wide_prepare = np.repeat(good_match, 2, axis=0), np.repeat(good_prepare, 2, axis=0)
    trials: list[tuple[Any, Any, int]] = [
        (good_match[:, 1:], good_prepare, 2),
        (good_match, good_prepare[:1], 2),
        (good_match, good_prepare.view(np.int8), 2),
        (good_match, good_prepare, 1),
        (wide_match[::2], wide_prepare[::2], 2),
    ]
    for match, prepare, room in trials:
        with pytest.raises(FormatError):
            mint_slots(
                params,
                bytes(32),
                seeds,
                seeds.ratchets(),
                0,
                MintScratch(params, room),
                match,
                prepare,
            )


@pytest.mark.parametrize(
    ("places", "step", "group"), [(1, 64, 64), (150, 16, 64), (1000, 2, 16), (10_000, 1, 2)]
)
def test_a_threads_memory_is_bounded_whatever_the_parameters(
    places: int, step: int, group: int
) -> None:
    params = Parameters(128, 12, 5, places, 0, 9420, 6922, "m")
    assert mint_step(params) == step
    buffers = MintBuffers(params)
    assert (buffers.step, buffers.group) == (step, group)
    assert buffers.match.nbytes <= max(2 << 20, params.slot_match_bytes)
    assert buffers.prepare.nbytes <= max(2 << 20, params.slot_prepare_bytes)


def test_seeds_are_in_no_repr() -> None:
    seeds = seeds_of([b"a" * 32] * 2, [b"b" * 32] * 2)
    assert "aaa" not in repr(seeds)
    assert "bbb" not in repr(seeds)
    seeds.destroy()
    with pytest.raises(ValueError, match="destroyed"):
        seeds.key0.reveal()
