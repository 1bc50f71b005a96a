"""The slot journal across crashes: killed at any write, cut from power at any moment."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from party.journal import (
    BatchOutcome,
    Count,
    HighWater,
    PartyJournal,
    PlaceBinding,
    SetInfo,
    SlotState,
)
from shared.errors import SlotReused
from shared.messages import Run
from shared.sets import SetName
from tests.party import journal_child
from tests.party.journal_child import BOOT, SET, STEPS

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")  # fast; what reaches a disk is modelled here
FIRST_TWO = slice(0, 2)


def killed(path: Path, number: int, moment: str) -> list[str]:
    """Steps that had returned when the child was killed."""
    done = subprocess.run(
        [sys.executable, "-m", journal_child.__name__, path, str(number), moment],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (-9, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", range(1, len(STEPS) + 2))
def test_after_kill_9_at_any_write_marks_hold_and_nothing_is_used_twice(
    tmp_path: Path, number: int
) -> None:
    # The first write creates the file, the second is that of opening.
    for moment in ("before", "after"):
        path = tmp_path / moment
        told = killed(path, number, moment)
        # Each step is one write: what is in the file is what was told, and, when the process died
        # after a write had committed, the step of that write.
        happened = set(STEPS[: max(0, number - 2) + (moment == "after" and number > 1)])
        assert told == list(STEPS[: max(0, number - 2)])
        with PartyJournal(path, boot_id=BOOT) as journal:
            check_recovered(journal, happened)
        with PartyJournal(path, boot_id=BOOT) as journal:
            assert journal.recovery.checks == ()
            assert journal.recovery.batches == ()


def check_recovered(journal: PartyJournal, happened: set[str]) -> None:
    assert [info.name for info in journal.known_sets()] == [SET.name] * ("registered" in happened)
    assert len(journal.places("w")) == (3 if "bound" in happened else 0)
    if "registered" not in happened:
        return
    states = journal.load_states(SET.set_id)
    attempts = journal.counts("w")[Count.PREPARE_ATTEMPTS]
    burned_checks = {check_id for check_id, _ in journal.recovery.checks}
    expected = np.zeros(100, dtype=np.uint8)
    if "in prepare" in happened:
        expected[:8] = SlotState.PREPARED if "prepared" in happened else SlotState.BURNED
        assert (b"c" in burned_checks) == ("prepared" not in happened)
    if "in prepare again" in happened:
        expected[20:22] = SlotState.BURNED
        assert (b"d" in burned_checks) == ("failed" not in happened)
    if "revealed" in happened:
        if "verified" in happened:
            expected[FIRST_TWO] = SlotState.DONE
        elif "expected" in happened:
            expected[FIRST_TWO] = SlotState.REVEALED
        else:
            expected[FIRST_TWO] = SlotState.BURNED
    pending = {"expected", "verified"} & happened == {"expected"}
    assert [p.expected for p in journal.pending()] == [b"expected"] * pending
    if "revealed again" in happened:
        expected[2] = SlotState.BURNED
        assert journal.recovery.batches == ((b"e", (Run(SET.set_id, 2, 1),)),)
    if "last in prepare" in happened:
        expected[30] = SlotState.BURNED
    assert states.tolist() == expected.tolist()
    assert attempts == len(burned_checks) + ("failed" in happened)
    kappa = {
        part.run.first + row: part.kappa[row].tolist()
        for part in journal.prepared(SET.set_id)
        for row in range(part.run.length)
    }
    ready = [slot for slot in range(100) if states[slot] == SlotState.PREPARED]
    assert kappa == {slot: [2 * slot, 2 * slot + 1] for slot in ready}
    used = {"in prepare": (0, 8), "in prepare again": (20, 2), "last in prepare": (30, 1)}
    for step in happened & set(used):
        with pytest.raises(SlotReused):
            journal.mark_in_prepare(b"x", [Run(SET.set_id, *used[step])], [0])
    if "revealed" in happened:
        with pytest.raises(SlotReused):
            journal.mark_revealed(b"x", [Run(SET.set_id, 0, 1)])


def test_after_a_power_cut_reserved_slots_are_burned_unless_done_or_pending(
    tmp_path: Path,
) -> None:
    steps = journal_child.steps(tmp_path / "j")
    for step in steps:
        if step == "revealed again":
            break
    _copy(tmp_path / "j", tmp_path / "image")
    with PartyJournal(tmp_path / "image", boot_id="another boot") as journal:
        assert journal.recovery.machine_restarted
        # 0 and 1 are known to be done, 2 was burned as a batch without a verdict.
        assert journal.recovery.reserved == (Run(SET.set_id, 3, 3),)
        assert journal.load_states(SET.set_id)[:9].tolist() == [4, 4, 5, 5, 5, 5, 2, 2, 0]
        assert journal.high_water_marks("w")[SET.set_id].revealed == 6
    with PartyJournal(tmp_path / "image", boot_id="a third boot") as journal:
        assert not journal.recovery.machine_restarted  # it had been closed in good order


def test_a_machine_without_a_boot_id_counts_as_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> str:
        raise FileNotFoundError

    with PartyJournal(tmp_path / "j") as journal:
        journal.register_sets([SET])
        journal.reserve_reveal({SET.set_id: 4})
        _copy(tmp_path / "j", tmp_path / "image")
    with PartyJournal(tmp_path / "image") as journal:
        assert not journal.recovery.machine_restarted
        _copy(tmp_path / "image", tmp_path / "second")
    monkeypatch.setattr(Path, "read_text", missing)
    with PartyJournal(tmp_path / "second") as journal:
        assert journal.recovery.machine_restarted
        assert journal.recovery.reserved == (Run(SET.set_id, 0, 4),)


def _copy(path: Path, image: Path) -> None:
    """What would be found on disk if everything stopped now."""
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{image}{suffix}")


def test_a_check_that_a_power_cut_forgets_has_shown_nothing_and_one_that_is_synced_is_burned(
    tmp_path: Path,
) -> None:
    path, image = tmp_path / "j", tmp_path / "image"
    one = [Run(ONE.set_id, 0, 4)]
    with PartyJournal(path, boot_id="boot") as journal:
        journal.register_sets([ONE])
        journal.bind_places("w", [PlaceBinding(0, bytes(32), "x")])
        _copy(path, image)  # what is durable: nothing was written for its sake since
        journal.mark_in_prepare(b"c", one, [0])
        with PartyJournal(image, boot_id="after") as after:
            assert set(after.load_states(ONE.set_id)) == {SlotState.FRESH}
            after.mark_in_prepare(b"c", one, [0])  # the first one's shares never left
        journal.sync()
        _copy(path, image)
        with PartyJournal(image, boot_id="after") as after:
            assert after.load_states(ONE.set_id)[:5].tolist() == [SlotState.BURNED] * 4 + [0]
            with pytest.raises(SlotReused):
                after.mark_in_prepare(b"d", one, [0])


SLOTS, PLACES = 24, 3
ONE = SetInfo(SetName(bytes(16), "w", "camera"), SLOTS)
runs = st.integers(0, SLOTS - 1).flatmap(
    lambda first: st.tuples(st.just(first), st.integers(1, min(4, SLOTS - first)))
)
places = st.sets(st.integers(0, PLACES - 1), min_size=1).map(sorted)


class JournalMachine(RuleBasedStateMachine):
    """What left this party (openings, reveals) against what the journal lets leave next.

    `stored` is the image of the last durable write, `boot` grows with every power cut.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(
            tempfile.mkdtemp(prefix="journal", dir=MEMORY if MEMORY.is_dir() else None)
        )
        self.lives = 0
        self.boot = 0
        self.names = 0
        self.opened: set[tuple[int, int]] = set()
        self.passed: dict[tuple[int, int], int] = {}
        self.revealed: set[int] = set()
        self.states = np.zeros(SLOTS, dtype=np.uint8)
        self.reserved = 0
        self.checks: dict[bytes, tuple[int, int, list[int]]] = {}
        self.batches: dict[bytes, tuple[int, int, bool]] = {}
        self.open()

    def open(self) -> None:
        self.path = self.folder / f"life{self.lives}"
        self.journal = PartyJournal(self.path, boot_id=f"boot {self.boot}")
        database = self.journal._db
        plain = database.transaction

        @contextmanager
        def watched(*, durable: bool) -> Iterator[sqlite3.Connection]:
            with plain(durable=durable) as connection:
                yield connection
            if durable:
                self.keep_image()

        database.transaction = watched  # type: ignore[method-assign]
        self.keep_image()

    def keep_image(self) -> None:
        """What is there now survives a power cut;"""
        _copy(self.path, self.folder / "stored")

    def name(self) -> bytes:
        self.names += 1
        return b"%d" % self.names

    @initialize()
    def register(self) -> None:
        self.journal.register_sets([ONE])
        self.journal.bind_places("w", [PlaceBinding(p, bytes([p]) * 32, "x") for p in range(3)])

    @rule(span=runs, chosen=places)
    def prepare_and_pass(self, span: tuple[int, int], chosen: list[int]) -> None:
        running = set(self.checks)
        self.prepare(span, chosen)
        for name in set(self.checks) - running:
            self.pass_or_fail(name, passes=True)

    @precondition(lambda self: self.opened)
    @rule(data=st.data())
    def prepare_what_was_opened(self, data: st.DataObject) -> None:
        slot, place = data.draw(st.sampled_from(sorted(self.opened)))
        with pytest.raises(SlotReused):
            self.journal.mark_in_prepare(self.name(), [Run(ONE.set_id, slot, 1)], [place])

    @precondition(lambda self: self.revealed)
    @rule(data=st.data())
    def reveal_what_was_revealed(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.revealed)))
        with pytest.raises(SlotReused):
            self.journal.mark_revealed(self.name(), [Run(ONE.set_id, slot, 1)])

    @rule(span=runs, chosen=places)
    def prepare(self, span: tuple[int, int], chosen: list[int]) -> None:
        slots = range(span[0], sum(span))
        pairs = {(slot, place) for slot in slots for place in chosen}
        allowed = not pairs & self.opened and all(
            self.states[slot] in (SlotState.FRESH, SlotState.PREPARED) for slot in slots
        )
        name = self.name()
        try:
            self.journal.mark_in_prepare(name, [Run(ONE.set_id, *span)], chosen)
        except SlotReused:
            assert not allowed
            return
        assert allowed
        assert not pairs & self.opened
        self.sync()  # before anything of it is shown
        self.opened |= pairs
        self.checks[name] = (*span, chosen)
        self.states[slots] = SlotState.IN_PREPARE

    @precondition(lambda self: self.checks)
    @rule(data=st.data(), passes=st.booleans())
    def end_check(self, data: st.DataObject, passes: bool) -> None:
        self.pass_or_fail(data.draw(st.sampled_from(sorted(self.checks))), passes)

    def pass_or_fail(self, name: bytes, passes: bool) -> None:
        first, length, chosen = self.checks.pop(name)
        burned = self.states[first : first + length] == SlotState.BURNED
        state = SlotState.PREPARED if passes else SlotState.BURNED
        if passes:
            kappa = np.array(
                [[100 * s + p for p in chosen] for s in range(first, first + length)],
                dtype=np.uint32,
            )
            self.journal.mark_prepared(name, kappa)
            for slot in range(first, first + length):
                self.passed.update({(slot, place): 100 * slot + place for place in chosen})
        else:
            self.journal.fail_check(name)
        self.states[first : first + length] = np.where(burned, SlotState.BURNED, state)

    @rule(limit=st.sampled_from([SLOTS // 2, SLOTS - 1, SLOTS + 2]))
    def reserve(self, limit: int) -> None:
        self.journal.reserve_reveal({ONE.set_id: limit})
        self.reserved = max(self.reserved, min(limit, SLOTS))

    @precondition(lambda self: (self.states[: self.reserved] == SlotState.PREPARED).any())
    @rule(data=st.data())
    def reveal_ready(self, data: st.DataObject) -> None:
        ready = np.flatnonzero(self.states[: self.reserved] == SlotState.PREPARED).tolist()
        self.reveal((data.draw(st.sampled_from(ready)), 1))

    @rule(span=runs)
    def reveal(self, span: tuple[int, int]) -> None:
        slots = range(span[0], sum(span))
        allowed = slots.stop <= self.reserved and all(
            self.states[slot] == SlotState.PREPARED for slot in slots
        )
        name = self.name()
        try:
            self.journal.mark_revealed(name, [Run(ONE.set_id, *span)])
        except SlotReused:
            assert not allowed
            return
        assert allowed
        assert not self.revealed & set(slots)
        self.revealed |= set(slots)
        self.states[slots] = SlotState.REVEALED
        self.batches[name] = (*span, False)

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), how=st.sampled_from(["expect", "unresolved", "verified", "burned"]))
    def end_batch(self, data: st.DataObject, how: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.batches)))
        first, length, expected = self.batches[name]
        if how == "expect":
            if not expected:
                self.journal.record_expectation(name, b"e", b"c")
                self.batches[name] = (first, length, True)
            return
        if how == "unresolved":
            if expected:
                self.journal.finish(name, BatchOutcome.UNRESOLVED)
            return
        verified = how == "verified"
        self.journal.finish(name, BatchOutcome.VERIFIED if verified else BatchOutcome.BURNED)
        kept = self.states[first : first + length] == SlotState.BURNED
        state = SlotState.DONE if verified else SlotState.BURNED
        self.states[first : first + length] = np.where(kept, SlotState.BURNED, state)
        del self.batches[name]

    @rule(slot=st.integers(0, SLOTS - 1))
    def burn(self, slot: int) -> None:
        self.journal.burn([Run(ONE.set_id, slot, 1)])
        self.states[slot] = SlotState.BURNED

    @rule(prepared=st.integers(0, 4), revealed=st.integers(0, 4))
    @precondition(lambda self: not self.checks and not self.batches)
    def meet_peer(self, prepared: int, revealed: int) -> None:
        self.journal.raise_high_water({ONE.set_id: HighWater(prepared, revealed)})
        opened = {slot for slot, _ in self.opened}
        for slot in range(SLOTS):
            unknown = slot < prepared and slot not in opened
            if unknown or (slot < revealed and slot not in self.revealed):
                self.states[slot] = SlotState.BURNED

    @rule()
    def maintain(self) -> None:
        self.journal.maintain()

    @rule()
    def sync(self) -> None:
        self.journal.sync()
        self.keep_image()

    @rule(how=st.sampled_from(["close", "kill", "power"]))
    def restart(self, how: str) -> None:
        before = self.path
        self.lives += 1
        after = self.folder / f"life{self.lives}"
        if how == "close":
            self.journal.close()
            self.boot += 1
            shutil.copy(before, after)
        else:
            self.boot += how == "power"
            _copy(self.folder / "stored" if how == "power" else before, after)
            self.journal.close()
        self.open()
        if how == "power":
            self.check_after_power_cut()
        else:
            for first, length, _ in self.checks.values():
                self.states[first : first + length] = SlotState.BURNED
            for first, length, expected in self.batches.values():
                if not expected:
                    self.states[first : first + length] = SlotState.BURNED
        self.checks = {}
        pending = {one.batch_id for one in self.journal.pending()}
        self.batches = {name: b for name, b in self.batches.items() if name in pending}

    def check_after_power_cut(self) -> None:
        """Written marks may be lost; slots may be burned for it, never become usable again."""
        found = self.journal.load_states(ONE.set_id)
        fine = {
            SlotState.FRESH: {SlotState.FRESH, SlotState.BURNED},
            SlotState.PREPARED: {SlotState.PREPARED, SlotState.BURNED},
            SlotState.REVEALED: {SlotState.REVEALED, SlotState.BURNED},
            SlotState.DONE: {SlotState.DONE, SlotState.REVEALED, SlotState.BURNED},
            SlotState.IN_PREPARE: {SlotState.BURNED},
            SlotState.BURNED: {SlotState.BURNED},
        }
        for slot in range(SLOTS):
            assert SlotState(found[slot]) in fine[SlotState(self.states[slot])], slot
        self.states = found
        for pending in self.journal.pending():
            # It had been finished, but the machine forgot; its late opening resolves it anew.
            (run,) = pending.runs
            self.batches[pending.batch_id] = (run.first, run.length, True)
        assert self.journal.reserved(ONE.set_id) == self.reserved

    @invariant()
    def the_journal_agrees(self) -> None:
        if not self.journal.known_sets():
            return
        mark = self.journal.high_water_marks("w")[ONE.set_id]
        assert mark.prepared > max((slot for slot, _ in self.opened), default=-1)
        assert mark.revealed > max(self.revealed, default=-1)
        assert self.journal.load_states(ONE.set_id).tolist() == self.states.tolist()
        ready = {slot for slot in range(SLOTS) if self.states[slot] == SlotState.PREPARED}
        found = {}
        for part in self.journal.prepared(ONE.set_id):
            for row in range(part.run.length):
                for column, place in enumerate(part.places):
                    key = (part.run.first + row, place)
                    assert key not in found
                    found[key] = int(part.kappa[row, column])
        assert found == {key: value for key, value in self.passed.items() if key[0] in ready}

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.folder)


TestNothingIsUsedTwice = JournalMachine.TestCase
TestNothingIsUsedTwice.settings = settings(max_examples=50, stateful_step_count=40)
