"""Places: which entry gets which, what P1 accepts, and what a map's digest covers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from party.places import PlaceTable, accept, propose
from shared.errors import HeaderMismatch, SlotReused
from shared.messages import Binding
from shared.watchlist import Entry
from tests.support.minted import entries_of, parameters

PARAMS = parameters(places=4)
PEOPLE = entries_of(PARAMS, {name: [i, 2 * i, 0, 1] for i, name in enumerate("abcdefg")})
A, B, C, D, E, F, G = PEOPLE
subsets = st.lists(st.sampled_from(PEOPLE), unique_by=lambda entry: entry.name)


def digests(*entries: Entry) -> list[bytes]:
    """Their digests."""
    return [entry.digest for entry in entries]


def names(places: dict[int, Entry]) -> dict[int, str]:
    """A map by name."""
    return {place: entry.name for place, entry in places.items()}


def test_entries_take_the_lowest_free_places_in_the_order_of_the_watchlist() -> None:
    places, left = propose(PARAMS, {}, (C, A, B), digests(A, B, C))
    assert (names(places), left) == ({0: "c", 1: "a", 2: "b"}, [])


def test_only_entries_that_both_hold_get_a_place() -> None:
    places, left = propose(PARAMS, {}, (A, B, C), digests(C, D, A))
    assert (names(places), left) == ({0: "a", 1: "c"}, [])


def test_a_bound_place_stays_with_its_entry_though_it_is_not_live() -> None:
    bound = {0: A.digest, 1: B.digest}
    places, left = propose(PARAMS, bound, (C, B), digests(A, B, C))
    assert (names(places), left) == ({2: "c", 1: "b"}, [])


def test_entries_for_which_no_place_is_left_are_named_and_the_others_live() -> None:
    bound = {0: A.digest, 1: B.digest, 2: C.digest}
    places, left = propose(PARAMS, bound, (E, F, G, B), digests(*PEOPLE))
    assert (names(places), left) == ({3: "e", 1: "b"}, [F, G])


@given(st.lists(st.tuples(subsets, subsets), max_size=6))
def test_over_any_changes_no_place_changes_its_entry_and_p1_accepts(
    changes: list[tuple[list[Entry], list[Entry]]],
) -> None:
    bound: dict[int, bytes] = {}
    for own, others in changes:
        places, left = propose(PARAMS, bound, own, digests(*others))
        for place, entry in places.items():
            assert bound.get(place, entry.digest) == entry.digest
        bindings = [Binding(place, entry.digest) for place, entry in sorted(places.items())]
        assert accept(PARAMS, bound, others, bindings) == places
        bound.update({place: entry.digest for place, entry in places.items()})
        assert len(set(bound.values())) == len(bound) <= PARAMS.places
        assert not left or len(bound) == PARAMS.places
        assert {entry.name for entry in (*places.values(), *left)} == {
            entry.name for entry in own if entry in others
        }


@pytest.mark.parametrize(
    ("bindings", "error"),
    [
        ([(0, A), (0, B)], HeaderMismatch),
        ([(2, C), (0, A)], HeaderMismatch),
        ([(4, A)], HeaderMismatch),
        ([(0, D)], HeaderMismatch),
        ([(2, B)], SlotReused),
        ([(3, A)], SlotReused),
        ([(0, C)], SlotReused),
    ],
)
def test_a_map_that_moves_or_makes_up_an_entry_is_refused(
    bindings: list[tuple[int, Entry]], error: type[Exception]
) -> None:
    bound = {0: A.digest, 2: C.digest}
    own = (A, B, C)
    with pytest.raises(error):
        accept(PARAMS, bound, own, [Binding(place, entry.digest) for place, entry in bindings])


def test_an_entry_on_two_free_places_is_bound_to_one() -> None:
    with pytest.raises(SlotReused):
        accept(PARAMS, {}, (A,), [Binding(0, A.digest), Binding(1, A.digest)])


def test_the_numbers_of_a_map_are_those_of_its_live_places() -> None:
    table = PlaceTable(PARAMS, "w", 1, {3: B, 1: A})
    assert table.places == (1, 3)
    assert table.mask == 0b1010
    numbers = table.numbers
    assert numbers.used == 4
    assert not numbers.matrix[[0, 2]].any()
    assert numbers.matrix[3].tolist() == [*(-2 * B.coordinates).tolist(), 1]
    square = int((B.coordinates * B.coordinates).sum())
    assert int(numbers.constants[3]) == (square - PARAMS.threshold) % (1 << 32)
    assert PlaceTable(PARAMS, "w", 1, {}).numbers.used == 0


def test_equal_digests_mean_equal_maps_whatever_the_epoch() -> None:
    one = PlaceTable(PARAMS, "w", 1, {0: A, 1: B})
    assert one.digest() == PlaceTable(PARAMS, "w", 7, {1: B, 0: A}).digest()
    other = Entry(A.name, bytes(32), np.array(A.coordinates))
    assert one.digest() != PlaceTable(PARAMS, "w", 1, {0: other, 1: B}).digest()
