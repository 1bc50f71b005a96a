"""The slot journal: every way in which a slot or place could be used twice is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from party.journal import (
    BatchOutcome,
    Count,
    HighWater,
    JournalIdentity,
    PartyJournal,
    PlaceBinding,
    SetInfo,
    SlotState,
)
from shared.errors import (
    DiskFull,
    InputError,
    Locked,
    ProtocolViolation,
    RangeError,
    SlotReused,
    StaleMessage,
    TwokeyError,
    WindowClosed,
)
from shared.messages import Run
from shared.sets import SetName
from tests.disk_support import small_disk

FRONT = SetInfo(SetName(bytes(16), "w1", "front"), 200)
BACK = SetInfo(SetName(bytes(16), "w1", "back"), 100)
LATER = SetInfo(SetName(bytes(16), "w2", "front"), 100)
F, B, L = FRONT.set_id, BACK.set_id, LATER.set_id
PLACES = (0, 1, 2)
BINDINGS = [PlaceBinding(place, bytes([place]) * 32, f"entry {place}") for place in range(5)]


def kappa(
    slots: int, places: int = 3, start: int = 0
) -> np.ndarray[tuple[int, int], np.dtype[np.uint32]]:
    return (start + np.arange(slots * places, dtype=np.uint32)).reshape(slots, places)


def open_journal(folder: Path, boot_id: str = "boot") -> PartyJournal:
    return PartyJournal(folder / "journal", boot_id=boot_id)


def set_up(journal: PartyJournal) -> None:
    journal.register_sets([FRONT, BACK, LATER])
    for window in ("w1", "w2"):
        journal.bind_places(window, BINDINGS)


def prepare(journal: PartyJournal, check_id: bytes, *runs: Run, start: int = 0) -> None:
    journal.mark_in_prepare(check_id, runs, PLACES)
    journal.mark_prepared(check_id, kappa(sum(run.length for run in runs), start=start))


def match(journal: PartyJournal, batch_id: bytes, *runs: Run) -> None:
    journal.mark_revealed(batch_id, runs)
    journal.finish(batch_id, BatchOutcome.VERIFIED)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[PartyJournal]:
    with open_journal(tmp_path) as found:
        set_up(found)
        yield found


def states(journal: PartyJournal, set_id: bytes, *slots: int) -> list[SlotState]:
    found = journal.load_states(set_id)
    return [SlotState(found[slot]) for slot in slots]


# -- the normal course -------------------------------------------------------------------


def test_a_slot_goes_from_fresh_to_done(journal: PartyJournal) -> None:
    runs = [Run(F, 10, 4), Run(B, 0, 2)]
    assert states(journal, F, 10) == [SlotState.FRESH]
    journal.mark_in_prepare(b"c", runs, PLACES)
    assert states(journal, F, 9, 10, 13, 14) == [0, 1, 1, 0]
    journal.mark_prepared(b"c", kappa(6))
    assert states(journal, F, 10) == [SlotState.PREPARED]
    assert journal.ledger(F).is_ready(10, 4)
    journal.reserve_reveal({F: 64, B: 64})
    journal.mark_revealed(b"b", runs)
    assert states(journal, B, 0, 1, 2) == [3, 3, 0]
    journal.finish(b"b", BatchOutcome.VERIFIED)
    assert states(journal, F, 10) == [SlotState.DONE]
    assert not journal.ledger(F).is_ready(10, 4)


def test_prepared_kappas_are_read_back_by_run_until_their_slots_are_used(
    journal: PartyJournal,
) -> None:
    prepare(journal, b"c", Run(F, 10, 4), Run(B, 0, 2))
    journal.mark_in_prepare(b"d", [Run(F, 8, 4)], [4])
    with pytest.raises(ProtocolViolation):
        journal.mark_prepared(b"c", kappa(6))
    journal.mark_prepared(b"d", kappa(4, 1, start=90))
    journal.reserve_reveal({F: 64, B: 64})
    match(journal, b"b", Run(F, 11, 1))
    found = list(journal.prepared(F))
    assert [(part.run, part.places, part.kappa.tolist()) for part in found] == [
        (Run(F, 10, 1), PLACES, [[0, 1, 2]]),
        (Run(F, 12, 2), PLACES, [[6, 7, 8], [9, 10, 11]]),
        (Run(F, 8, 3), (4,), [[90], [91], [92]]),
    ]
    (part,) = journal.prepared(B)
    assert part.kappa.tolist() == [[12, 13, 14], [15, 16, 17]]


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        set_up(journal)
        prepare(journal, b"c", Run(F, 0, 8))
        journal.reserve_reveal({F: 6})
        match(journal, b"b", Run(F, 0, 2))
        journal.mark_revealed(b"p", [Run(F, 2, 1)])
        journal.record_expectation(b"p", b"expected", b"commitment", b"context")
        journal.burn([Run(F, 20, 1)])
        journal.count("w1", Count.OUTAGES)
        before = journal.load_states(F)
        identity = journal.identity
    with open_journal(tmp_path, boot_id="another") as journal:  # it was closed in good order
        assert (journal.load_states(F) == before).all()
        assert {info.name for info in journal.known_sets()} == {
            FRONT.name,
            BACK.name,
            LATER.name,
        }
        assert journal.known_sets("w2") == [LATER]
        assert journal.places("w1") == BINDINGS
        assert journal.reserved(F) == 6
        assert journal.counts("w1")[Count.OUTAGES] == 1
        assert journal.identity == JournalIdentity(identity.instance, identity.generation + 1)
        assert not journal.recovery.machine_restarted
        assert journal.recovery.batches == ()
        (pending,) = journal.pending()
        assert journal.recovery.pending == (pending,)
        assert (pending.expected, pending.commitment) == (b"expected", b"commitment")
        assert (pending.context, pending.runs) == (b"context", (Run(F, 2, 1),))
        match(journal, b"next", Run(F, 3, 3))


def test_upkeep_forgets_kappas_and_batches_but_no_slot(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        set_up(journal)
        journal.reserve_reveal({F: 200})
        for number in range(40):
            prepare(journal, b"c%d" % number, Run(F, 4 * number, 4))
            match(journal, b"b%d" % number, Run(F, 4 * number, 3))
        journal.burn([Run(F, 4 * number + 3, 1) for number in range(0, 40, 2)])
        before = journal.load_states(F)
        journal.maintain()
        assert (journal.load_states(F) == before).all()
        with journal._db.reading() as connection:
            rows = connection.execute(
                "SELECT (SELECT count(*) FROM batches), (SELECT count(*) FROM checks),"
                " (SELECT count(*) FROM kappa)"
            ).fetchone()
        assert rows == (0, 20, 20)
        marks = journal.high_water_marks("w1")
        with pytest.raises(SlotReused):
            journal.mark_in_prepare(b"x", [Run(F, 0, 1)], [4])
    with open_journal(tmp_path) as journal:
        assert (journal.load_states(F) == before).all()
        assert journal.high_water_marks("w1") == marks
        with pytest.raises(SlotReused):
            journal.mark_in_prepare(b"x", [Run(F, 0, 1)], [4])


# -- every refusal ------------------------------------------------------------------------


def _same_places(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.mark_in_prepare(b"d", [Run(F, 7, 2)], [2, 3])


def _in_another_check(journal: PartyJournal) -> None:
    journal.mark_in_prepare(b"c", [Run(F, 0, 8)], [0])
    journal.mark_in_prepare(b"d", [Run(F, 7, 2)], [1])


def _failed_check_again(journal: PartyJournal) -> None:
    journal.mark_in_prepare(b"c", [Run(F, 0, 8)], [0])
    journal.fail_check(b"c")
    journal.mark_in_prepare(b"d", [Run(F, 7, 2)], [1])


def _prepare_burned(journal: PartyJournal) -> None:
    journal.burn([Run(F, 3, 1)])
    journal.mark_in_prepare(b"c", [Run(F, 0, 8)], PLACES)


def _prepare_revealed(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    journal.mark_revealed(b"b", [Run(F, 0, 1)])
    journal.mark_in_prepare(b"d", [Run(F, 0, 1)], [4])


def _slot_twice_in_a_check(journal: PartyJournal) -> None:
    journal.mark_in_prepare(b"c", [Run(F, 5, 4), Run(B, 0, 1), Run(F, 8, 1)], PLACES)


def _place_twice_in_a_check(journal: PartyJournal) -> None:
    journal.mark_in_prepare(b"c", [Run(F, 5, 4)], [1, 2, 1])


def _revealed_twice(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    journal.mark_revealed(b"b", [Run(F, 0, 4)])
    journal.mark_revealed(b"d", [Run(F, 3, 2)])


def _done_again(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    match(journal, b"b", Run(F, 0, 4))
    journal.mark_revealed(b"b", [Run(F, 3, 1)])


def _slot_twice_in_a_batch(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    journal.mark_revealed(b"b", [Run(F, 0, 4), Run(F, 3, 1)])


def _batch_id_in_use(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    journal.mark_revealed(b"b", [Run(F, 0, 1)])
    journal.mark_revealed(b"b", [Run(F, 1, 1)])


def _reveal_unprepared(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 20})
    journal.mark_revealed(b"b", [Run(F, 7, 2)])


def _reveal_in_a_check(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    journal.mark_in_prepare(b"d", [Run(F, 7, 1)], [4])
    journal.mark_revealed(b"b", [Run(F, 6, 2)])


def _reveal_burned(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    journal.burn([Run(F, 2, 1)])
    journal.mark_revealed(b"b", [Run(F, 0, 8)])


def _reveal_unreserved(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 7})
    journal.mark_revealed(b"b", [Run(F, 0, 8)])


def _rebind(journal: PartyJournal) -> None:
    journal.bind_places("w1", [PlaceBinding(9, bytes(32), "new"), PlaceBinding(1, bytes(32), "x")])


REUSES: list[tuple[Callable[[PartyJournal], None], str]] = [
    (_same_places, "slots 7 to 7: opened before at one of these places"),
    (_in_another_check, "slots 7 to 7: in another check"),
    (_failed_check_again, "slots 7 to 7: burned"),
    (_prepare_burned, "slots 3 to 3: burned"),
    (_prepare_revealed, "slots 0 to 0: revealed"),
    (_slot_twice_in_a_check, "slot 8 is named twice"),
    (_place_twice_in_a_check, "place 1 is named twice"),
    (_revealed_twice, "slots 3 to 3: revealed before"),
    (_done_again, "slots 3 to 3: revealed before"),
    (_slot_twice_in_a_batch, "slot 3 is named twice"),
    (_batch_id_in_use, "this batch id is in use"),
    (_reveal_unprepared, "slots 7 to 8: not prepared"),
    (_reveal_in_a_check, "slots 7 to 7: in a check"),
    (_reveal_burned, "slots 2 to 2: burned"),
    (_reveal_unreserved, "only slots below 7 are reserved"),
    (_rebind, "place 1: bound to another entry"),
]


@pytest.mark.parametrize(("reuse", "message"), REUSES, ids=[r.__name__[1:] for r, _ in REUSES])
def test_no_reuse_gets_through_and_nothing_is_recorded(
    journal: PartyJournal, reuse: Callable[[PartyJournal], None], message: str
) -> None:
    with pytest.raises(SlotReused, match=message):
        reuse(journal)
    assert (journal.load_states(B) == SlotState.FRESH).all()
    assert all(binding.place < 5 for binding in journal.places("w1"))


def test_another_place_of_a_prepared_slot_may_be_opened_later(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.mark_in_prepare(b"d", [Run(F, 4, 8)], [3, 4])
    assert states(journal, F, 0, 4, 8) == [2, 1, 1]
    journal.mark_prepared(b"d", kappa(8, 2))
    assert states(journal, F, 0, 4, 8) == [2, 2, 2]


def test_a_failed_check_of_a_new_place_burns_all_places(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.mark_in_prepare(b"d", [Run(F, 4, 2)], [4])
    journal.fail_check(b"d")
    assert states(journal, F, 3, 4, 5, 6) == [2, 5, 5, 2]
    assert journal.counts("w1")[Count.PREPARE_ATTEMPTS] == 1


OTHER_MISUSES: list[tuple[Callable[[PartyJournal], object], type[TwokeyError]]] = [
    (lambda j: j.mark_in_prepare(b"c", [Run(b"x" * 8, 0, 1)], PLACES), ProtocolViolation),
    (lambda j: j.mark_in_prepare(b"c", [], PLACES), ProtocolViolation),
    (lambda j: j.mark_in_prepare(b"c", [Run(F, 0, 1)], []), ProtocolViolation),
    (lambda j: j.mark_in_prepare(b"c", [Run(F, 0, 1)], [7]), ProtocolViolation),
    (lambda j: j.mark_in_prepare(b"c", [Run(F, 0, 1), Run(L, 0, 1)], [1]), ProtocolViolation),
    (lambda j: j.mark_in_prepare(b"c", [Run(F, 199, 2)], PLACES), RangeError),
    (lambda j: j.mark_prepared(b"c", kappa(1)), ProtocolViolation),
    (lambda j: j.fail_check(b"c"), ProtocolViolation),
    (lambda j: j.burn([Run(F, 200, 1)]), RangeError),
    (lambda j: j.mark_revealed(b"b", [Run(F, 200, 1)]), RangeError),
    (lambda j: j.finish(b"b", BatchOutcome.VERIFIED), ProtocolViolation),
    (lambda j: j.record_opening(b"b", b""), ProtocolViolation),
    (lambda j: j.reserve_reveal({b"x" * 8: 3}), ProtocolViolation),
    (lambda j: j.load_states(b"x" * 8), ProtocolViolation),
    (lambda j: j.register_sets([SetInfo(FRONT.name, 199)]), ProtocolViolation),
    (lambda j: j.bind_places("w1", [PlaceBinding(1 << 20, bytes(32), "")]), RangeError),
    (lambda _: SetInfo(FRONT.name, 0), RangeError),
    (lambda _: SetInfo(SetName(b"short", "w", "c"), 1), InputError),
]


@pytest.mark.parametrize(("misuse", "kind"), OTHER_MISUSES)
def test_other_misuses_are_typed(
    journal: PartyJournal, misuse: Callable[[PartyJournal], object], kind: type[TwokeyError]
) -> None:
    with pytest.raises(kind):
        misuse(journal)


@pytest.mark.parametrize(
    "wrong", [kappa(3), kappa(4, 2), kappa(4).astype(np.int64)], ids=["rows", "columns", "dtype"]
)
def test_kappa_of_another_shape_is_refused(
    journal: PartyJournal, wrong: NDArray[np.uint32]
) -> None:
    journal.mark_in_prepare(b"c", [Run(F, 0, 4)], PLACES)
    with pytest.raises(RangeError):
        journal.mark_prepared(b"c", wrong)
    assert states(journal, F, 0) == [SlotState.IN_PREPARE]


# -- batches ------------------------------------------------------------------------------


def start_batch(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    journal.mark_revealed(b"b", [Run(F, 0, 2)])


def test_an_expectation_lasts_until_the_verdict(journal: PartyJournal) -> None:
    start_batch(journal)
    journal.record_expectation(b"b", b"expected", b"commitment")
    journal.finish(b"b", BatchOutcome.UNRESOLVED)
    assert states(journal, F, 0) == [SlotState.REVEALED]
    assert [pending.batch_id for pending in journal.pending()] == [b"b"]
    journal.finish(b"b", BatchOutcome.VERIFIED)
    assert states(journal, F, 0) == [SlotState.DONE]
    assert journal.pending() == []


def test_an_opening_lasts_until_the_peer_has_it(journal: PartyJournal) -> None:
    start_batch(journal)
    journal.record_opening(b"b", b"opening")
    journal.finish(b"b", BatchOutcome.VERIFIED)
    (pending,) = journal.pending()
    assert pending.opening == b"opening"
    journal.resolve(b"b")
    assert journal.pending() == []
    journal.resolve(b"b")


def test_an_opening_survives_the_restart_after_the_verdict(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        set_up(journal)
        start_batch(journal)
        journal.record_opening(b"b", b"opening")
        journal.finish(b"b", BatchOutcome.VERIFIED)
        journal.maintain()
    with open_journal(tmp_path) as journal:
        assert states(journal, F, 0) == [SlotState.DONE]
        assert [pending.opening for pending in journal.pending()] == [b"opening"]
        journal.resolve(b"b")
        journal.maintain()
    with open_journal(tmp_path) as journal:
        assert journal.pending() == []
        assert states(journal, F, 0) == [SlotState.DONE]


def test_a_batch_has_one_final_verdict(journal: PartyJournal) -> None:
    start_batch(journal)
    journal.record_opening(b"b", b"opening")
    with pytest.raises(ProtocolViolation, match="recorded already"):
        journal.record_expectation(b"b", b"", b"")
    journal.finish(b"b", BatchOutcome.VERIFIED)
    with pytest.raises(ProtocolViolation, match="BURNED after VERIFIED"):
        journal.finish(b"b", BatchOutcome.BURNED)


def test_a_burned_batch_stays_burned(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        set_up(journal)
        start_batch(journal)
        journal.record_expectation(b"b", b"expected", b"commitment")
        journal.finish(b"b", BatchOutcome.BURNED)
        assert states(journal, F, 0, 1, 2) == [5, 5, 2]
    with open_journal(tmp_path) as journal:
        assert states(journal, F, 0, 1, 2) == [5, 5, 2]
        assert journal.pending() == []


# -- windows ------------------------------------------------------------------------------


def test_nothing_of_a_closed_window_is_used_but_late_openings_resolve(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        set_up(journal)
        start_batch(journal)
        journal.record_expectation(b"b", b"expected", b"commitment")
        journal.mark_in_prepare(b"d", [Run(F, 20, 1)], PLACES)
        journal.close_window("w1", "a check failed")
        journal.close_window("w1", "again")
    with open_journal(tmp_path) as journal:
        assert journal.closed("w1") == "a check failed"
        assert journal.closed("w2") is None
        uses: list[Callable[[], object]] = [
            lambda: journal.mark_in_prepare(b"e", [Run(F, 30, 1)], PLACES),
            lambda: journal.mark_revealed(b"x", [Run(F, 4, 1)]),
            lambda: journal.reserve_reveal({F: 100}),
            lambda: journal.bind_places("w1", []),
            lambda: journal.register_sets([FRONT]),
        ]
        for use in uses:
            with pytest.raises(WindowClosed, match="window w1: closed, a check failed"):
                use()
        journal.finish(b"b", BatchOutcome.VERIFIED)
        journal.mark_in_prepare(b"e", [Run(L, 30, 1)], PLACES)


def test_a_check_does_not_pass_in_a_window_that_was_closed_meanwhile(
    journal: PartyJournal,
) -> None:
    journal.mark_in_prepare(b"c", [Run(F, 0, 1)], PLACES)
    journal.close_window("w1", "a check failed")
    with pytest.raises(WindowClosed):
        journal.mark_prepared(b"c", kappa(1))
    journal.fail_check(b"c")


def test_a_forgotten_window_never_comes_back(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        set_up(journal)
        start_batch(journal)
        journal.forget_window("w1")
        assert journal.known_sets() == [LATER]
        prepare(journal, b"c", Run(L, 0, 1))
    with open_journal(tmp_path) as journal:
        assert journal.known_sets() == [LATER]
        assert states(journal, L, 0) == [SlotState.PREPARED]
        with pytest.raises(WindowClosed, match="ended"):
            journal.register_sets([FRONT])


def test_upkeep_of_a_forgotten_window_takes_no_mark_of_another(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        set_up(journal)
        prepare(journal, b"c", Run(F, 0, 4))
        prepare(journal, b"d", Run(L, 0, 4))
        journal.reserve_reveal({F: 4, L: 4})
        match(journal, b"b", Run(F, 0, 1))  # upkeep has its row to delete
        journal.forget_window("w1")
        journal.mark_revealed(b"e", [Run(L, 0, 1)])  # and its row number is given again
        journal.maintain()
    with open_journal(tmp_path) as journal:
        assert states(journal, L, 0, 1) == [SlotState.BURNED, SlotState.PREPARED]


def test_counters_grow_and_stay(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        assert [journal.count("w1", Count.OUTAGES) for _ in range(3)] == [1, 2, 3]
        journal.count("w1", Count.FAILURES)
    with open_journal(tmp_path) as journal:
        assert journal.counts("w1") == {
            Count.PREPARE_ATTEMPTS: 0,
            Count.OUTAGES: 3,
            Count.FAILURES: 1,
        }


# -- restored backups ---------------------------------------------------------------------


def test_slots_that_only_the_peer_knows_as_used_are_burned(journal: PartyJournal) -> None:
    prepare(journal, b"c", Run(F, 0, 8))
    journal.reserve_reveal({F: 8})
    match(journal, b"b", Run(F, 0, 2))
    assert journal.high_water_marks("w1") == {F: HighWater(8, 2), B: HighWater(0, 0)}
    burned = journal.raise_high_water({F: HighWater(12, 4), b"unknown.": HighWater(5, 5)})
    assert sorted(burned) == [Run(F, 2, 2), Run(F, 8, 4)]
    assert states(journal, F, 1, 2, 3, 4, 7, 8, 11, 12) == [4, 5, 5, 2, 2, 5, 5, 0]
    assert journal.high_water_marks("w1")[F] == HighWater(12, 4)
    assert journal.raise_high_water({F: HighWater(12, 4)}) == []
    assert journal.raise_high_water({F: HighWater(1 << 30, 0)}) == [Run(F, 12, 188)]


def test_raised_marks_stay(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        set_up(journal)
        journal.raise_high_water({F: HighWater(3, 2)})
    with open_journal(tmp_path) as journal:
        assert journal.high_water_marks("w1")[F] == HighWater(3, 2)
        assert states(journal, F, 0, 2, 3) == [5, 5, 0]


def test_a_restored_backup_of_the_peer_is_noticed(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        first = journal.identity
        journal.remember_peer("p1", JournalIdentity(b"p" * 16, 7))
    with open_journal(tmp_path) as journal:
        assert journal.recall_peer("p1") == JournalIdentity(b"p" * 16, 7)
        assert journal.recall_peer("p0") is None
        with pytest.raises(StaleMessage, match="opened 6 times, expected 7 or more"):
            journal.remember_peer("p1", JournalIdentity(b"p" * 16, 6))
        journal.remember_peer("p1", JournalIdentity(b"q" * 16, 1))
        assert (journal.identity.instance, journal.identity.generation) == (first.instance, 2)


# -- files --------------------------------------------------------------------------------


def test_one_process_holds_the_journal(tmp_path: Path, journal: PartyJournal) -> None:
    with pytest.raises(Locked, match="held by another process"):
        open_journal(tmp_path)
    journal.burn([Run(F, 0, 1)])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


def test_on_a_full_disk_a_mark_is_whole_or_absent(disk: Path) -> None:
    large = SetInfo(SetName(bytes(16), "w1", "large"), 100_000)
    passed = refused = 0
    with open_journal(disk) as journal:
        journal.register_sets([large])
        journal.bind_places("w1", BINDINGS)
        for number in range(500):
            check_id = b"%d" % number
            runs = [Run(large.set_id, 1000 * (number % 90), 1000)]
            try:
                if number < 90:
                    journal.mark_in_prepare(check_id, runs, PLACES)
            except DiskFull:
                refused += 1
                assert states(journal, large.set_id, runs[0].first) == [SlotState.FRESH]
                break
            try:
                journal.mark_prepared(check_id, kappa(1000))
                passed += 1
            except DiskFull:
                refused += 1
                assert states(journal, large.set_id, runs[0].first) == [SlotState.IN_PREPARE]
                break
        assert (passed > 3, refused) == (True, 1)
        (disk / "journal-shm").stat()
        found = [part.run for part in journal.prepared(large.set_id)]
        assert found == [Run(large.set_id, 1000 * number, 1000) for number in range(passed)]
