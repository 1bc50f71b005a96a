"""What the next prepare check covers: never a slot twice, nothing that is used, oldest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from party.schedule import CheckPlan, Demand, plan_check
from party.slots import SetInfo, SetLedger, place_mask
from shared.errors import SlotReused
from shared.messages import Run
from shared.sets import SetName

SLOTS = 40


def ledger(name: str = "east") -> SetLedger:
    """A fresh set."""
    return SetLedger(SetInfo(SetName(bytes(16), "w", name), SLOTS))


def plan(
    one: SetLedger, places: tuple[int, ...], limit: int = 100, until: int = 10
) -> CheckPlan | None:
    """The next check of a set for which faces wait."""
    return plan_check([Demand(one, until, True)], places, limit, 4)


def parts(found: CheckPlan | None) -> list[tuple[int, int]]:
    """Slots of a plan."""
    return [(run.first, run.length) for run in found.runs] if found else []


def test_fresh_slots_are_prepared_in_order_up_to_the_limit() -> None:
    one = ledger()
    found = plan(one, (0, 2))
    assert found == CheckPlan((Run(one.info.set_id, 0, 10),), (0, 2))
    assert parts(plan(one, (0, 2), limit=3)) == [(0, 3)]
    assert parts(plan(one, (0,), until=1000)) == [(0, SLOTS)]


def test_without_a_place_or_a_slot_there_is_nothing_to_prepare() -> None:
    assert plan(ledger(), ()) is None
    assert plan(ledger(), (0,), until=0) is None


def test_slots_in_a_check_burned_or_revealed_are_left_out() -> None:
    one = ledger()
    one.begin_prepare(0, 2, 1)
    one.burn(3, 1)
    one.begin_prepare(5, 1, 1)
    one.pass_check(5, 1)
    one.reveal(5, 1)
    assert parts(plan(one, (0,))) == [(2, 1), (4, 1), (6, 4)]


def test_a_new_place_is_prepared_on_prepared_slots_in_a_check_of_its_own() -> None:
    one = ledger()
    one.begin_prepare(0, 6, 0b11)
    one.pass_check(0, 6)
    found = plan(one, (0, 1, 4))
    assert found is not None
    assert (parts(found), found.places) == ([(0, 6)], (4,))
    one.begin_prepare(0, 6, 0b10000)
    found = plan(one, (0, 1, 4))
    assert found is not None
    assert (parts(found), found.places) == ([(6, 4)], (0, 1, 4))


def test_a_set_with_little_to_do_waits_unless_faces_do() -> None:
    one = ledger()
    one.begin_prepare(0, 8, 1)
    one.pass_check(0, 8)
    assert plan_check([Demand(one, 10, False)], (0,), 100, 4) is None
    assert parts(plan_check([Demand(one, 10, True)], (0,), 100, 4)) == [(8, 2)]
    assert parts(plan_check([Demand(one, 12, False)], (0,), 100, 4)) == [(8, 4)]
    one.begin_prepare(8, SLOTS - 10, 1)
    one.pass_check(8, SLOTS - 10)
    at_end = plan_check([Demand(one, SLOTS + 50, False)], (0,), 100, 4)
    assert parts(at_end) == [(SLOTS - 2, 2)]


def test_a_check_covers_several_sets_that_miss_the_same_places() -> None:
    one, two, three = ledger("east"), ledger("north"), ledger("south")
    two.begin_prepare(0, 10, 1)
    two.pass_check(0, 10)
    demands = [Demand(each, 10, True) for each in (one, two, three)]
    found = plan_check(demands, (0, 1), 15, 4)
    assert found is not None
    assert found.runs == (Run(one.info.set_id, 0, 10), Run(three.info.set_id, 0, 5))


def test_sets_for_which_faces_wait_share_a_check_and_what_one_does_not_need_the_others_get() -> (
    None
):
    east, north, south, west = (ledger(name) for name in ("east", "north", "south", "west"))
    demands = [
        Demand(east, 30, False),
        Demand(north, 30, True),
        Demand(south, 2, True),
        Demand(west, 30, True),
    ]
    found = plan_check(demands, (0,), 24, 4)
    assert found is not None
    assert found.runs == (
        Run(north.info.set_id, 0, 14),
        Run(south.info.set_id, 0, 2),
        Run(west.info.set_id, 0, 8),
    )
    many = [Demand(ledger(f"camera {number}"), 30, True) for number in range(50)]
    found = plan_check(many, (0,), 16, 4)
    assert found is not None
    assert found.runs == tuple(Run(one.ledger.info.set_id, 0, 4) for one in many[:4])


steps = st.lists(
    st.tuples(st.integers(0, SLOTS - 1), st.integers(1, 12), st.integers(1, 15), st.integers(0, 3)),
    max_size=20,
)


@given(steps, st.sets(st.integers(0, 3), min_size=1), st.integers(1, 50))
def test_a_plan_is_always_one_that_the_ledger_allows(
    history: list[tuple[int, int, int, int]], places: set[int], limit: int
) -> None:
    one = ledger()
    for first, wanted, mask, fate in history:
        length = min(wanted, SLOTS - first)
        try:
            one.refuse_prepare(first, length, mask)
        except SlotReused:  # no part of any history
            continue
        one.begin_prepare(first, length, mask)
        if fate == 1:
            one.fail_check(first, length)
        elif fate > 1:
            one.pass_check(first, length)
        if fate == 3:
            one.reveal(first, length)
    ordered = tuple(sorted(places))
    table = place_mask(ordered)
    while (found := plan(one, ordered, limit, SLOTS)) is not None:
        mask = place_mask(found.places)
        assert mask
        assert not mask & ~table
        assert 0 < sum(run.length for run in found.runs) <= limit
        for run in found.runs:
            one.refuse_prepare(run.first, run.length, mask)
            one.begin_prepare(run.first, run.length, mask)
            one.pass_check(run.first, run.length)
    ready = one.ready()
    for first, length in ready:
        for slot in range(first, first + length):
            assert one.opened_places(slot, 1) & table == table


@given(steps)
def test_opened_places_are_those_opened_for_every_slot_of_a_run(
    history: list[tuple[int, int, int, int]],
) -> None:
    one = ledger()
    every: list[int] = [0] * SLOTS
    for first, wanted, mask, _ in history:
        length = min(wanted, SLOTS - first)
        one.begin_prepare(first, length, mask)
        for slot in range(first, first + length):
            every[slot] |= mask
    for first in range(0, SLOTS, 3):
        for length in (1, 2, 7):
            stop = min(first + length, SLOTS)
            common = -1
            for have in every[first:stop]:
                common &= have
            assert one.opened_places(first, stop - first) == common
