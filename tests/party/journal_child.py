"""A process that uses a slot journal and is killed at its n-th write, before or after it commits.

Arguments: the journal's path, the number of the write, "before" or "after". Every mark that has
returned is told on standard output.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np

from party.journal import BatchOutcome, PartyJournal, PlaceBinding, SetInfo
from shared.database import Database
from shared.messages import Run
from shared.sets import SetName

BOOT = "the same boot"
SET = SetInfo(SetName(bytes(16), "w", "front"), 100)
STEPS = (
    "opened",
    "registered",
    "bound",
    "in prepare",
    "prepared",
    "in prepare again",
    "failed",
    "reserved",
    "revealed",
    "expected",
    "verified",
    "revealed again",
    "last in prepare",
)


def steps(path: Path) -> Iterator[str]:
    """The life of a journal, one mark a step; names it when it has returned."""
    run = Run(SET.set_id, 0, 8)
    journal = PartyJournal(path, boot_id=BOOT)
    yield "opened"
    journal.register_sets([SET])
    yield "registered"
    journal.bind_places("w", [PlaceBinding(place, bytes(32), "x") for place in range(3)])
    yield "bound"
    journal.mark_in_prepare(b"c", [run], [0, 1])
    yield "in prepare"
    journal.mark_prepared(b"c", np.arange(16, dtype=np.uint32).reshape(8, 2))
    yield "prepared"
    journal.mark_in_prepare(b"d", [Run(SET.set_id, 20, 2)], [0, 1])
    yield "in prepare again"
    journal.fail_check(b"d")
    yield "failed"
    journal.reserve_reveal({SET.set_id: 6})
    yield "reserved"
    journal.mark_revealed(b"b", [Run(SET.set_id, 0, 2)])
    yield "revealed"
    journal.record_expectation(b"b", b"expected", b"commitment")
    yield "expected"
    journal.finish(b"b", BatchOutcome.VERIFIED)
    journal.write_verified()
    yield "verified"
    journal.mark_revealed(b"e", [Run(SET.set_id, 2, 1)])
    yield "revealed again"
    journal.mark_in_prepare(b"f", [Run(SET.set_id, 30, 1)], [0])
    yield "last in prepare"


def main() -> None:
    """Lives until the given write, which kills."""
    path, number, moment = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    plain = Database.transaction
    plain_write = Database.write
    left = number

    @contextmanager
    def deadly(self: Database, *, durable: bool) -> Iterator[sqlite3.Connection]:
        nonlocal left
        left -= 1
        with plain(self, durable=durable) as connection:
            yield connection
            if left == 0 and moment == "before":
                die()
        if left == 0:
            die()

    def deadly_write(self: Database, statement: str, values: tuple[object, ...]) -> int:
        nonlocal left
        left -= 1
        if left == 0 and moment == "before":
            die()
        row = plain_write(self, statement, values)
        if left == 0:
            die()
        return row

    Database.write = deadly_write  # type: ignore[method-assign]
    Database.transaction = deadly  # type: ignore[method-assign]
    for step in steps(path):
        print(step, flush=True)


def die() -> NoReturn:
    """As `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit


if __name__ == "__main__":
    main()
