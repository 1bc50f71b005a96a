"""The upkeep thread: tasks run, an error ends it and is kept, closing waits."""

from __future__ import annotations

import threading

import pytest

from party import upkeep
from shared.errors import DiskFull


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "SECONDS", 0.001)


def test_every_task_runs_again_and_again() -> None:
    rounds = threading.Semaphore(0)
    running = upkeep.Upkeep(lambda: None, rounds.release)
    for _ in range(3):
        assert rounds.acquire(timeout=10)
    running.close()
    assert running.error is None


def test_an_error_ends_it_and_is_kept() -> None:
    done = threading.Event()

    def fail() -> None:
        done.set()
        raise DiskFull("slot journal: no space left")

    running = upkeep.Upkeep(fail)
    assert done.wait(timeout=10)
    running.close()
    assert isinstance(running.error, DiskFull)


def test_nothing_runs_after_it_is_closed() -> None:
    calls: list[int] = []
    running = upkeep.Upkeep(lambda: calls.append(1))
    running.close()
    count = len(calls)
    threading.Event().wait(0.01)
    assert len(calls) == count
