"""A chunk of a party's material that can not be read: its slots burn, everything else goes on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from party.eventlines import Status
from party.journal import SlotState
from shared.materialfile import ChunkKind
from shared.materialheader import read_header
from shared.messages import Welcome
from tests.support.minted import MintedWindow, minted
from tests.support.pair import LIMITS, Pair
from tests.support.scenes import NEAR_ADA, PARAMS, STRANGER, watchlist

SLOTS = 192
CHUNK = 64
LIMITS_HERE = replace(LIMITS, prepare_ahead=SLOTS, check_slots=16, outages=20)
DAMAGED = 1  # the chunk: slots 64 to 127
FACES = [NEAR_ADA, STRANGER] * 4


@pytest.fixture
def copied(tmp_path: Path) -> MintedWindow:
    """A window's files, for this test alone."""
    whole = minted(PARAMS, slots=SLOTS)
    root = tmp_path / "ground"
    shutil.copytree(whole.root, root)
    return replace(whole, root=root)


def damage(ground: MintedWindow, party: int, kind: ChunkKind, *, cut: bool = False) -> None:
    """One chunk of camera east is changed, or the file ends within it."""
    found = next(f for f in ground.files(party) if f.header.camera == "east")
    signed = read_header(found.path)
    assert signed.header.chunk_slots(kind) == CHUNK
    offset, length = signed.chunk_span(kind, DAMAGED)
    with found.path.open("r+b") as file:
        if cut:
            file.truncate(offset + length // 2)
            return
        file.seek(offset + length // 2)
        byte = file.read(1)
        file.seek(offset + length // 2)
        file.write(bytes([byte[0] ^ 0x10]))


def in_damaged(slot: int) -> bool:
    return DAMAGED * CHUNK <= slot < (DAMAGED + 1) * CHUNK


def room(pair: Pair, name: str) -> bool:
    """Whether a camera has slots for one more message, beyond those that a party has burned."""
    marks = [
        message.high_water
        for side in pair.sides
        for camera, message in side.cameras
        if camera == name and isinstance(message, Welcome)
    ]
    return max(pair.cameras[name].next_slot, *marks, 0) <= SLOTS - len(FACES)


def send_all(pair: Pair) -> None:
    """Faces on whatever slots are left."""
    while chosen := [camera for name, camera in pair.cameras.items() if room(pair, name)]:
        for camera in chosen:
            camera.send(FACES)
        pair.run(8, pair.ended)


def judge(pair: Pair, party: int) -> None:
    """Every face has an outcome; lost are only those of the damaged chunk and what met them."""
    assert pair.ended()
    assert pair.wrong_results(watchlist()) == []
    for side in pair.sides:
        assert side.session.closed is None
        assert all(s.status is not Status.UNRESOLVED for s in side.faces().values())
        told = {(camera, slot) for camera, slot in side.verified() if camera == "east"}
        assert not any(in_damaged(slot) for _, slot in told)
        assert len(told) >= SLOTS - CHUNK - 2 * len(FACES)
        others = [slot for camera, slot in side.verified() if camera == "north"]
        assert len(others) >= SLOTS - 2 * len(FACES)
        assert not {"tamper", "violation", "mismatch"} & {
            a.kind for a in side.events.announcements()
        }
        for slot in range(DAMAGED * CHUNK, (DAMAGED + 1) * CHUNK):
            assert side.state("east", slot) is SlotState.BURNED
    victim = pair.sides[party]
    (line,) = victim.told("material damaged")
    assert "camera east slots 64 to 127" in line


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("party", [0, 1])
def test_a_damaged_match_chunk_burns_its_slots_and_nothing_else(
    copied: MintedWindow, party: int, cut: bool
) -> None:
    with Pair(copied, watchlist(), limits=LIMITS_HERE) as pair:
        damage(copied, party, ChunkKind.MATCH, cut=cut)  # the parties have their files open
        assert pair.run(5, lambda: pair.prepared(SLOTS))
        send_all(pair)
        if cut:  # the chunks behind it are gone as well
            victim = pair.sides[party]
            assert len(victim.told("material damaged")) == SLOTS // CHUNK - DAMAGED
            assert victim.session.closed is None
            assert pair.ended()
            assert pair.wrong_results(watchlist()) == []
            return
        judge(pair, party)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_damaged_prepare_chunk_burns_its_slots_and_nothing_else(
    copied: MintedWindow, restarted: bool
) -> None:
    damage(copied, 1, ChunkKind.PREPARE)
    with Pair(copied, watchlist(), limits=LIMITS_HERE) as pair:
        pair.run(5)
        if restarted:
            pair.restart(1)
        send_all(pair)
        judge(pair, 1)


@pytest.mark.parametrize("party", [0, 1])
def test_after_a_restart_a_damaged_chunk_is_no_obstacle(copied: MintedWindow, party: int) -> None:
    """The camera sends its faces again, the chunk is as bad as before."""
    damage(copied, party, ChunkKind.MATCH)
    with Pair(copied, watchlist(), limits=LIMITS_HERE) as pair:
        assert pair.run(5, lambda: pair.prepared(SLOTS))
        east = pair.cameras["east"]
        east.next_slot = DAMAGED * CHUNK
        east.send(FACES)
        pair.restart(party)
        east.resend(0)
        assert pair.run(10, pair.ended)
        for side in pair.sides:
            assert side.state("east", DAMAGED * CHUNK + 7) is SlotState.BURNED
        send_all(pair)
        assert pair.wrong_results(watchlist()) == []
        assert ("north", 0) in pair.sides[party].verified()
