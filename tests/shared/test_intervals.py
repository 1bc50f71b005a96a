"""Interval sets against plain Python sets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import FormatError, RangeError
from shared.intervals import Interval, Intervals

spans = st.tuples(st.integers(0, 40), st.integers(1, 12))
changes = st.lists(st.tuples(st.booleans(), spans), max_size=25)


def slots_of(intervals: Intervals) -> set[int]:
    return {slot for span in intervals for slot in range(span.first, span.stop)}


def build(steps: list[tuple[bool, tuple[int, int]]]) -> tuple[Intervals, set[int]]:
    found, expected = Intervals(), set[int]()
    for adds, (first, length) in steps:
        if adds:
            found.add(first, length)
            expected |= set(range(first, first + length))
        else:
            found.subtract(first, length)
            expected -= set(range(first, first + length))
    return found, expected


@given(changes)
def test_adding_and_subtracting_is_what_sets_do(
    steps: list[tuple[bool, tuple[int, int]]],
) -> None:
    found, expected = build(steps)
    assert slots_of(found) == expected
    assert found.total == len(expected)
    assert found.stop == max(expected, default=-1) + 1
    assert bool(found) == bool(expected)
    parts = list(found)
    assert all(one.stop < two.first for one, two in pairwise(parts))


@given(changes, spans)
def test_questions_about_a_span_are_answered_as_by_sets(
    steps: list[tuple[bool, tuple[int, int]]], span: tuple[int, int]
) -> None:
    found, expected = build(steps)
    first, length = span
    asked = set(range(first, first + length))
    assert found.intersects(first, length) == bool(asked & expected)
    assert found.covers(first, length) == (asked <= expected)
    assert {s for p in found.within(*span) for s in range(p.first, p.stop)} == asked & expected
    assert {s for p in found.missing(*span) for s in range(p.first, p.stop)} == asked - expected
    assert all((slot in found) == (slot in expected) for slot in asked)


@given(changes, changes)
def test_sets_of_intervals_combine(
    one: list[tuple[bool, tuple[int, int]]], two: list[tuple[bool, tuple[int, int]]]
) -> None:
    left, left_slots = build(one)
    right, right_slots = build(two)
    both = left.copy()
    both.update(right)
    assert slots_of(both) == left_slots | right_slots
    difference = left.copy()
    difference.difference_update(right)
    assert slots_of(difference) == left_slots - right_slots
    assert slots_of(left) == left_slots  # the copies are independent


@given(changes)
def test_bytes_are_read_back(steps: list[tuple[bool, tuple[int, int]]]) -> None:
    found, _ = build(steps)
    assert Intervals.from_bytes(found.to_bytes()) == found


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        bytes(16),
        Intervals([(3, 2)]).to_bytes() * 2,
        Intervals([(3, 2)]).to_bytes() + Intervals([(5, 1)]).to_bytes(),
        b"\xff" * 16,
    ],
    ids=["cut", "empty interval", "repeated", "touching", "too large"],
)
def test_bytes_that_no_set_gives_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Intervals.from_bytes(data)


@pytest.mark.parametrize("span", [(-1, 2), (0, 0), (0, -1), ((1 << 32) - 1, 2)])
def test_slots_that_are_no_u32_are_refused(span: tuple[int, int]) -> None:
    for method in ("add", "subtract", "covers", "intersects", "within", "missing"):
        with pytest.raises(RangeError):
            getattr(Intervals(), method)(*span)


def test_the_last_slot_can_be_used() -> None:
    found = Intervals([((1 << 32) - 1, 1)])
    assert list(found) == [Interval((1 << 32) - 1, 1)]
    assert found.stop == 1 << 32


@given(changes, changes, st.integers(0, 60), st.booleans())
def test_sets_of_any_proportion_are_joined_and_taken_away_as_slots_are(
    ours: list[tuple[bool, tuple[int, int]]],
    theirs: list[tuple[bool, tuple[int, int]]],
    more: int,
    linear: bool,
) -> None:
    scattered = [(True, (60 + 2 * slot, 1)) for slot in range(more)]
    for operation in ("update", "difference_update"):
        found, expected = build(ours + ([] if linear else scattered))
        other, slots = build(theirs + (scattered if linear else []))
        getattr(found, operation)(other)
        getattr(expected, operation)(slots)
        assert slots_of(found) == expected
        assert all(one.stop < after.first for one, after in pairwise(found))
        assert slots_of(other) == slots
        getattr(found, operation)(found)
        assert slots_of(found) == (expected if operation == "update" else set())
