"""Protocol section 9, durable marks: each attack fails, and succeeds without its protection."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from party.journal import PartyJournal
from party.journal_rows import PlaceBinding
from party.slots import SetInfo, SlotState
from shared.errors import SlotReused
from shared.messages import Run
from shared.sets import SetName
from tests.adversary.prepare_attacks import (
    TARGET,
    Knowledge,
    attack_p1,
    check_on,
    slot_of,
    true_kappa,
)
from tests.reference import prepare
from tests.reference.blocks import M128
from tests.reference.face import entry_constant, mask
from tests.reference.mint import Slot
from tests.reference.samples import FACES, SMALL, drawn, material_set

N = SMALL.n

# -- a journal -------------------------------------------------------------------------


def open_journal(path: Path) -> PartyJournal:
    """A journal that knows the set under attack."""
    material = material_set("attacked")
    journal = PartyJournal(path)
    name = SetName(material.mint_id, material.window, material.camera)
    journal.register_sets([SetInfo(name, 64)])
    entries = [PlaceBinding(place, drawn(f"bound {place}", 32), f"{place}") for place in (0, 1)]
    journal.bind_places(material.window, entries)
    return journal


def crashed(path: Path) -> Path:
    """The journal's files as a crash leaves them."""
    copy = path.parent / "after the crash"
    copy.mkdir()
    for file in path.parent.glob(path.name + "*"):
        shutil.copy(file, copy / file.name)
    return copy / path.name


def run_of(number_: int) -> list[Run]:
    return [Run(material_set("attacked").set_id, number_, 1)]


def opened_with(slot: Slot, entry: list[int]) -> int:
    """kappa of place 0 if it is opened for this entry."""
    zero, one = (prepare.shares([side], [0], {0: entry}).kappa[0] for side in slot.sides)
    return (zero + one) & M128


def test_one_place_prepared_with_several_entries_gives_the_face_away() -> None:
    slot, face = slot_of(5), FACES[3]
    e = mask(SMALL, material_set("attacked"), slot.number, face)
    entries = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    # What each preparation makes public: D + rho mod 2^n.
    public = []
    for entry in entries:
        row = [-2 * v for v in entry] + [1]
        inner = sum(a * b for a, b in zip(row, e, strict=True))
        public.append(inner + entry_constant(entry) + opened_with(slot, entry))
    steps = [(value - public[0]) % (1 << N) for value in public[1:]]
    signed = [step - (1 << N) if step >= 1 << (N - 1) else step for step in steps]
    assert [(1 - step) // 2 for step in signed] == face  # D_c - D_0 = 1 - 2 x_i


def test_a_place_is_not_prepared_again_whatever_happened(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    window = material_set("attacked").window
    with open_journal(path) as journal:
        with pytest.raises(SlotReused):
            journal.bind_places(window, [PlaceBinding(0, drawn("another entry", 32), "x")])
        journal.mark_in_prepare(b"first".ljust(16), run_of(5), [0])
        with pytest.raises(SlotReused):
            journal.mark_in_prepare(b"again".ljust(16), run_of(5), [0])
        after = crashed(path)
    with PartyJournal(after) as journal:
        with pytest.raises(SlotReused):
            journal.bind_places(window, [PlaceBinding(0, drawn("another entry", 32), "x")])
        with pytest.raises(SlotReused):
            journal.mark_in_prepare(b"later".ljust(16), run_of(5), [0])
        # Another slot, which was in no check, is free.
        journal.mark_in_prepare(b"other".ljust(16), run_of(6), [0])


def test_a_check_repeated_on_one_slot_gives_alpha_away_and_is_forged() -> None:
    slot = slot_of(7)
    header, both = check_on(slot)
    known, attempts = Knowledge(), 0
    while known.bits < 128:
        shown, _ = attack_p1(header, both, known.eps(12), 0, f"attempt {attempts}")
        known = known.learn(12, shown.chi, shown.fits)
        attempts += 1  # P0 "restarts" and P1 prepares the same slot again
    assert known.value == both[1].alpha[0]
    assert attempts < 30
    _, fooled = attack_p1(header, both, TARGET, known.value, "forged")
    assert fooled.result == [(true_kappa(slot) + TARGET) % (1 << 32)]


def test_a_slot_is_in_one_check_at_once_and_burned_with_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with open_journal(path) as journal:
        journal.mark_in_prepare(b"one".ljust(16), run_of(7), [0])
        with pytest.raises(SlotReused):  # two checks of one slot at once
            journal.mark_in_prepare(b"two".ljust(16), run_of(7), [1])
        after = crashed(path)
        journal.fail_check(b"one".ljust(16))
        with pytest.raises(SlotReused):  # repeated after a failed check
            journal.mark_in_prepare(b"three".ljust(16), run_of(7), [1])
    with PartyJournal(after) as journal:  # repeated after a crash
        assert journal.load_states(run_of(7)[0].set_id)[7] == SlotState.BURNED
        with pytest.raises(SlotReused):
            journal.mark_in_prepare(b"four".ljust(16), run_of(7), [1])
