"""Outcomes are told to cameras after the disk has them, and never before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from party.acks import FEW_FACES, GATHER_SECONDS, LONGEST_SECONDS, Acknowledgements
from shared.errors import ResourceError
from shared.messages import FaceAck, Outcome
from tests.support.slowdisk import SlowDisk

MINT = bytes(16)


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def told() -> list[tuple[str, FaceAck]]:
    return []


@pytest.fixture
def acks(disk: SlowDisk, told: list[tuple[str, FaceAck]]) -> Iterator[Acknowledgements]:
    made = Acknowledgements(disk.sync, lambda camera, ack: told.append((camera, ack)))
    yield made
    disk.allow(10)
    made.close()


def ack(first: int, faces: int = 1) -> FaceAck:
    return FaceAck("w", "gate", MINT, (Outcome(first, faces, 1),))


def until(acks: Acknowledgements, seconds: float, reached: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not reached():
        acks.advance(seconds)
        assert time.monotonic() < end
        time.sleep(0.001)


def test_nothing_is_told_before_the_disk_has_it(
    acks: Acknowledgements, disk: SlowDisk, told: list[tuple[str, FaceAck]]
) -> None:
    acks.add("gate", ack(0, 64), 1.0)
    acks.advance(1.0 + 2 * GATHER_SECONDS)
    assert disk.asked.wait(10)
    acks.add("gate", ack(64, 64), 2.0)  # too late for the sync that is under way
    acks.advance(3.0)
    assert told == []
    disk.allow(10)
    until(acks, 2.0, lambda: told)
    assert [a.outcomes for _, a in told] == [(Outcome(0, 64, 1),)]
    until(acks, 3.0, lambda: len(told) == 2)
    assert told[1][1].outcomes == (Outcome(64, 64, 1),)


def test_a_few_faces_are_gathered_for_longer(acks: Acknowledgements, disk: SlowDisk) -> None:
    for slot in range(FEW_FACES - 1):
        acks.add("gate", ack(slot), 1.0)
    acks.advance(1.0 + 2 * GATHER_SECONDS)
    assert not disk.asked.wait(0.05)
    acks.advance(1.0 + 2 * LONGEST_SECONDS)
    assert disk.asked.wait(10)


def test_a_disk_that_fails_ends_it_and_nothing_is_told(
    acks: Acknowledgements, disk: SlowDisk, told: list[tuple[str, FaceAck]]
) -> None:
    disk.error = ResourceError("the disk did not confirm a write")
    disk.allow(10)
    acks.add("gate", ack(0, 64), 1.0)
    acks.advance(2.0)
    until(acks, 2.0, lambda: acks.error is not None)
    with pytest.raises(ResourceError, match="did not confirm"):
        acks.finish()
    assert told == []


def test_at_the_end_all_that_waits_is_made_durable_and_told(
    acks: Acknowledgements, disk: SlowDisk, told: list[tuple[str, FaceAck]]
) -> None:
    disk.allow(10)
    acks.add("gate", ack(0), 1.0)
    acks.finish()
    assert disk.asked.is_set()
    assert [a.outcomes for _, a in told] == [(Outcome(0, 1, 1),)]
