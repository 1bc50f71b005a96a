"""The dealer makes the published material; parties get the published shares and tags from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from camera.masking import Masker
from camera.ratchetfile import RatchetState
from dealer.mint import MintScratch, SetSeeds, mint_slots
from party.chunks import ChunkBuffers
from party.material import PartySet
from party.places import PlaceTable
from shared.keys import Role, create_identity
from shared.materialfile import MaterialFile, PartySeeds
from shared.materialheader import ChunkKind
from shared.materialwriter import MaterialWriter, seal_header
from shared.params import Parameters
from shared.secret import Secret
from shared.sets import SetName
from shared.watchlist import Person, Watchlist
from shared.windowkeys import (
    Window,
    load_private_window_key,
    load_window_key,
    publish_window_key,
)
from tests.reference import mint as reference_mint
from tests.vector_files import elements, hex_all, load, words64

U8Array = NDArray[np.uint8]
ROLES: tuple[Role, Role] = ("p0", "p1")


def seeds_of(made: dict[str, Any]) -> SetSeeds:
    return SetSeeds(*(Secret(seed) for seed in hex_all(made["keys"] + made["states"])))


def name_of(made: dict[str, Any], window: str) -> SetName:
    return SetName(bytes.fromhex(made["mint_id"]), window, made["camera"])


def minted(
    chosen: Parameters, made: dict[str, Any], window: str, first: int, count: int
) -> tuple[U8Array, U8Array]:
    """The match and prepare parts of these slots."""
    seeds = seeds_of(made)
    match = np.empty((count, chosen.slot_match_bytes), dtype=np.uint8)
    prepare = np.empty((count, chosen.slot_prepare_bytes), dtype=np.uint8)
    mint_slots(
        chosen,
        name_of(made, window).digest(),
        seeds,
        seeds.ratchets(),
        first,
        MintScratch(chosen, count),
        match,
        prepare,
    )
    return match, prepare


@pytest.mark.parametrize("made", load("material")["sets"], ids=lambda made: made["camera"])
def test_minted_slots_equal_the_vectors(made: dict[str, Any]) -> None:
    chosen = Parameters(**made["params"])
    slots = made["slots"]
    match, prepare = minted(chosen, made, made["window"], slots[0]["slot"], len(slots))
    assert [row.tobytes().hex() for row in match] == [slot["match_bytes"] for slot in slots]
    assert [row.tobytes().hex() for row in prepare] == [slot["prepare_bytes"] for slot in slots]


@settings(max_examples=10, deadline=None)
@given(
    seeds=st.lists(st.binary(min_size=32, max_size=32), min_size=4, max_size=4),
    first=st.integers(0, 200),
    headroom=st.integers(5, 30),
    dim=st.integers(1, 5),
    places=st.sampled_from([1, 15, 16, 17, 33]),
)
def test_minted_slots_equal_the_reference(
    seeds: list[bytes], first: int, headroom: int, dim: int, places: int
) -> None:
    fields: dict[str, Any] = {
        "dim": dim,
        "fraction_bits": 1,
        "headroom_bits": headroom,
        "places": places,
        "threshold": 1,
        "face_bound": 2,
        "entry_bound": 3,
        "model": "random",
    }
    made = {
        "keys": [seed.hex() for seed in seeds[:2]],
        "states": [seed.hex() for seed in seeds[2:]],
        "mint_id": seeds[0][:16].hex(),
        "camera": "random",
    }
    match, prepare = minted(Parameters(**fields), made, "a window", first, 2)
    material = reference_mint.MaterialSet(
        seeds[0][:16], "a window", "random", (seeds[0], seeds[1]), (seeds[2], seeds[3])
    )
    for i in range(2):
        wanted = reference_mint.mint(reference_mint.Params(**fields), material, first + i)
        assert match[i].tobytes() == wanted.match_bytes
        assert prepare[i].tobytes() == wanted.prepare_bytes


def test_entry_digests_equal_the_vectors() -> None:
    vectors = load("hashing")
    entry, chosen = vectors["entry"], Parameters(**vectors["params"])
    scaled = np.array(entry["coordinates"], dtype=np.float64) / 2**chosen.fraction_bits
    person = Person.of(entry["name"], scaled)
    (found,) = Watchlist(chosen.model, chosen.dim, (person,)).entries(chosen)
    assert found.digest.hex() == entry["digest"]


def test_masks_equal_the_vectors() -> None:
    vectors = load("match")
    chosen = Parameters(**vectors["params"])
    people = iter(vectors["faces"])
    for run in vectors["header"]["runs"]:
        state = RatchetState(0, b"".join(hex_all(run["states"])))
        mine = [next(people) for _ in range(run["length"])]
        faces = np.array([person["x"] for person in mine], dtype=np.int64)
        found = Masker(chosen, state).mask(run["first"], faces)
        assert found.tolist() == [person["e"] for person in mine]


def open_set(
    folder: Path, chosen: Parameters, made: dict[str, Any], window: str, slots: int, party: int
) -> PartySet:
    """A set in a real file, opened as this party does."""
    span = Window(window, 0, 1)
    dealer, owner = create_identity("dealer", "dealer"), create_identity(ROLES[party], "party")
    state = folder / f"state {party} {made['camera']}"
    state.mkdir()
    published = publish_window_key(owner, state, folder, span)
    seeds, name, content_key = seeds_of(made), name_of(made, window), bytes(range(32))
    kept = (seeds.key0, seeds.ratchet0) if party == 0 else (seeds.key1, seeds.ratchet1)
    signed = seal_header(
        dealer,
        load_window_key(published, owner.public, window),
        chosen,
        name,
        slots,
        PartySeeds(*kept),
        content_key,
    )
    match, prepare = minted(chosen, made, window, 0, slots)
    path = folder / f"{party} {made['camera']}.tkm"
    with MaterialWriter(path, signed, content_key) as writer:
        for kind, rows in ((ChunkKind.MATCH, match), (ChunkKind.PREPARE, prepare)):
            size = signed.header.chunk_slots(kind)
            for number in range(signed.header.chunks(kind)):
                part = np.ascontiguousarray(rows[number * size : (number + 1) * size])
                writer.write_chunk(kind, number, part.reshape(-1))
        writer.finish()
        writer.commit()
    key = load_private_window_key(state, window, ROLES[party], "party")
    file = MaterialFile.open(
        path, dealer=dealer.public, window_key=key, params=chosen, camera=made["camera"]
    )
    buffers = ChunkBuffers(chosen, file.header.match_chunk_slots, 64, limit=0)
    return PartySet(name, chosen, party, file, buffers)


def place_table(chosen: Parameters, vectors: dict[str, Any]) -> PlaceTable:
    """The vectors' entries as a watchlist gives them, bound to their places."""
    people = []
    for entry in vectors["entries"].values():
        scaled = np.array(entry["coordinates"], dtype=np.float64) / 2**chosen.fraction_bits
        people.append(Person.of(entry["name"], scaled))
    listed = Watchlist(chosen.model, chosen.dim, tuple(people)).entries(chosen)
    bound = dict(zip(map(int, vectors["entries"]), listed, strict=True))
    return PlaceTable(chosen, vectors["window"], 0, bound)


@pytest.mark.parametrize("party", [0, 1])
def test_opening_shares_from_a_file_equal_the_vectors(tmp_path: Path, party: int) -> None:
    vectors = load("prepare")
    chosen = Parameters(**vectors["params"])
    table = place_table(chosen, vectors)
    assert table.digest().hex() == vectors["header"]["place_map"]
    wanted = vectors["shares"][party]
    kappas, macs, alphas = [], [], []
    for made in vectors["sets"]:
        owned = open_set(tmp_path, chosen, made, vectors["window"], 80, party)
        places = tuple(vectors["header"]["places"])
        found = owned.opening_shares(made["first"], made["length"], places, table.numbers)
        kappas.append(found.kappa)
        macs.append(found.mac)
        alphas.append(np.repeat(found.alphas, len(places), axis=0))
        owned.close()
    assert np.array_equal(np.concatenate(kappas), elements(wanted["kappa"]))
    assert np.array_equal(np.concatenate(macs), elements(wanted["mac"]))
    assert np.array_equal(np.concatenate(alphas), elements(wanted["alpha"]))


@pytest.mark.parametrize("party", [0, 1])
def test_tags_from_a_file_equal_the_vectors(tmp_path: Path, party: int) -> None:
    vectors = load("match")
    chosen = Parameters(**vectors["params"])
    table = place_table(chosen, vectors)
    live = tuple(vectors["header"]["live"])
    people, at = vectors["faces"], 0
    for number, run in enumerate(vectors["header"]["runs"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        owned = open_set(folder, chosen, run, vectors["window"], 80, party)
        mine = people[at : at + run["length"]]
        kappa = np.array([person["kappa"] for person in mine], dtype=np.uint32)
        owned.keep_kappa(run["first"], live, kappa)
        masked = np.array([person["e"] for person in mine], dtype=np.uint32)
        part = owned.tags(run["first"], masked, table.numbers)
        tags = part.tags[:, list(live)]
        wanted = vectors["tags"][party]
        for row, texts in zip(tags, wanted["tags"][at : at + len(mine)], strict=True):
            assert np.array_equal(row, words64(texts))
        assert np.array_equal(part.deltas, words64(wanted["delta"][at : at + len(mine)]))
        at += len(mine)
        owned.close()
