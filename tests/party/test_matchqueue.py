"""P0's queue: nothing twice, nothing lost, in the order in which it came."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import cast

from party.intake import HeldFaces
from party.matchqueue import MatchQueue
from shared.messages import Run


def held(first: int) -> HeldFaces:
    return cast("HeldFaces", SimpleNamespace(run=Run(b"12345678", first, 1)))


def firsts(queue: MatchQueue, masks: dict[int, int]) -> list[tuple[int, int]]:
    with closing(queue.candidates(lambda one: masks[one.run.first])) as found:
        return [(one.run.first, mask) for one, mask in found]


def test_what_only_the_peer_holds_is_no_candidate() -> None:
    queue = MatchQueue()
    queue.told(held(3).run, b"digest")
    assert queue.digest_of(held(3).run) == b"digest"
    assert firsts(queue, {}) == []
    queue.add(held(3))
    assert queue.digest_of(held(3).run) is None
    assert firsts(queue, {3: 5}) == [(3, 5)]
    assert len(queue) == 1


def test_what_is_not_prepared_waits_and_keeps_its_place() -> None:
    queue = MatchQueue()
    for first in (1, 2, 3):
        queue.add(held(first))
    assert firsts(queue, {1: 0, 2: 7, 3: 7}) == [(2, 7), (3, 7)]
    assert firsts(queue, {2: 7, 3: 7}) == [(2, 7), (3, 7)], "asked for a waiting one again"
    queue.try_again()
    assert firsts(queue, {1: 7, 2: 7, 3: 7}) == [(1, 7), (2, 7), (3, 7)]


def test_a_message_that_is_gone_is_dropped() -> None:
    queue = MatchQueue()
    queue.add(held(1))
    queue.add(held(2))
    assert firsts(queue, {1: -1, 2: 1}) == [(2, 1)]
    assert len(queue) == 1


def test_stopping_early_leaves_the_rest_untouched() -> None:
    queue = MatchQueue()
    for first in (1, 2, 3):
        queue.add(held(first))
    with closing(queue.candidates(lambda one: one.run.first - 1)) as found:
        assert next(found)[0].run.first == 2
    assert firsts(queue, {2: 1, 3: 1}) == [(2, 1), (3, 1)]
    queue.try_again()
    assert len(queue) == 3


def test_discarded_and_finished_runs_are_forgotten() -> None:
    queue = MatchQueue()
    queue.told(held(1).run, b"a")
    queue.told(held(2).run, b"b")
    queue.add(held(3))
    queue.discard(held(3).run)
    queue.prune(lambda run: run.first == 1)
    assert len(queue) == 1
    assert queue.digest_of(held(2).run) == b"b"
    queue.clear()
    assert len(queue) == 0
