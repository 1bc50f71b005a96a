"""Resends: the longest waiting first, a bounded number out at a time, and all in the end."""

from __future__ import annotations

from camera.resends import FIRST, MOST, Resends

SECONDS = 2.0


def sent(resends: Resends, numbers: range, now: float) -> None:
    for number in numbers:
        resends.sent(number, now)


def test_nothing_is_due_before_its_time_or_after_its_outcome() -> None:
    resends = Resends(SECONDS)
    sent(resends, range(3), 10.0)
    resends.keep({0, 2})
    assert resends.due(11.9) == []
    assert resends.due(12.0) == [0, 2]
    assert resends.due(13.9) == []
    resends.keep({2})
    assert resends.due(14.0) == [2]
    resends.keep(set())
    assert resends.due(99.0) == []


def test_what_an_earlier_process_has_stored_goes_first_and_at_once() -> None:
    resends = Resends(SECONDS, [4, 5])
    sent(resends, range(6, 8), 10.0)
    assert resends.due(10.1) == [4, 5]
    assert resends.due(12.0) == [6, 7]
    assert resends.due(12.1) == [4, 5]


def test_a_party_that_is_behind_gets_no_more_than_a_few_at_a_time_and_each_in_its_turn() -> None:
    resends = Resends(SECONDS)
    sent(resends, range(1000), 0.0)
    seen: list[int] = []
    now = 2.0
    while len(seen) < 1000:
        found = resends.due(now)
        assert len(found) <= FIRST
        assert resends.due(now + 1.0) == []
        seen += found
        now += SECONDS
    assert seen[:1000] == list(range(1000))


def test_a_party_that_answers_gets_more_and_more_at_a_time() -> None:
    resends = Resends(SECONDS)
    waiting = set(range(10_000))
    sent(resends, range(10_000), 0.0)
    sizes = []
    while waiting:
        found = resends.due(5.0)
        sizes.append(len(found))
        waiting -= set(found)
        resends.keep(waiting)
    assert sizes[:6] == [64, 128, 256, 512, 1024, 1024]
    assert max(sizes) == MOST


def test_after_resends_without_an_outcome_it_is_careful_again() -> None:
    resends = Resends(SECONDS)
    waiting = set(range(5000))
    sent(resends, range(5000), 0.0)
    for _ in range(4):
        waiting -= set(resends.due(5.0))
        resends.keep(waiting)
    assert [len(resends.due(5.0 + SECONDS * k)) for k in range(5)] == [1024, 512, 256, 128, 64]
