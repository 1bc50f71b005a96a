"""What must not leave before the disk has its mark waits for it, and so does all that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from party.outgoing import Outgoing
from shared.errors import ResourceError
from shared.messages import PartyMessage, Ping
from tests.support.slowdisk import SlowDisk


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def sent() -> list[PartyMessage]:
    return []


@pytest.fixture
def outgoing(disk: SlowDisk, sent: list[PartyMessage]) -> Iterator[Outgoing]:
    made = Outgoing(disk.sync, sent.append)
    yield made
    disk.allow(10)
    made.close()


def number(i: int) -> Ping:
    return Ping(bytes(32), i, 0)


def until(outgoing: Outgoing, reached: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not reached():
        outgoing.advance()
        assert time.monotonic() < end
        time.sleep(0.001)


def test_without_a_barrier_everything_leaves_at_once(
    outgoing: Outgoing, disk: SlowDisk, sent: list[PartyMessage]
) -> None:
    for i in range(3):
        outgoing.put(number(i))
    assert sent == [number(i) for i in range(3)]
    assert disk.syncs == 0


def test_nothing_behind_a_barrier_leaves_before_the_disk_has_confirmed(
    outgoing: Outgoing, disk: SlowDisk, sent: list[PartyMessage]
) -> None:
    outgoing.put(number(0))
    outgoing.barrier()
    outgoing.put(number(1))
    outgoing.put(number(2))
    time.sleep(0.05)
    outgoing.advance()
    assert sent == [number(0)]
    disk.allow()
    until(outgoing, lambda: len(sent) == 3)
    assert sent == [number(0), number(1), number(2)]
    outgoing.put(number(3))
    assert sent[-1] == number(3)


def test_each_barrier_has_a_sync_of_its_own_that_begins_after_it(
    outgoing: Outgoing, disk: SlowDisk, sent: list[PartyMessage]
) -> None:
    outgoing.barrier()
    outgoing.put(number(0))
    outgoing.barrier()  # what it is for was perhaps written while the first sync ran
    outgoing.put(number(1))
    disk.allow()
    until(outgoing, lambda: sent)
    time.sleep(0.05)
    outgoing.advance()
    assert sent == [number(0)]
    disk.allow()
    until(outgoing, lambda: len(sent) == 2)
    assert sent == [number(0), number(1)]
    assert disk.syncs == 2


def test_when_the_disk_fails_what_waited_for_it_is_never_sent(
    outgoing: Outgoing, disk: SlowDisk, sent: list[PartyMessage]
) -> None:
    disk.error = ResourceError("no")
    outgoing.barrier()
    outgoing.put(number(0))
    disk.allow()
    until(outgoing, lambda: outgoing.error)
    outgoing.advance()
    with pytest.raises(ResourceError):
        outgoing.finish()
    assert sent == []


def test_at_the_end_everything_is_sent_in_order(
    outgoing: Outgoing, disk: SlowDisk, sent: list[PartyMessage]
) -> None:
    for i in range(3):
        outgoing.barrier()
        outgoing.put(number(i))
    disk.allow(3)
    outgoing.finish()
    assert sent == [number(i) for i in range(3)]
    assert disk.syncs == 2  # one after the last mark was written is enough for the rest


def test_closing_sends_nothing_that_waits(
    outgoing: Outgoing, disk: SlowDisk, sent: list[PartyMessage]
) -> None:
    outgoing.barrier()
    outgoing.put(number(0))
    disk.allow()
    outgoing.close()
    assert sent == []
