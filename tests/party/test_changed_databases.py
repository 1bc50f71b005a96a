"""A party's databases after somebody else has written into them: one typed error, no traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from party.events import EventStore
from party.journal import PartyJournal
from shared.errors import InputError, ResourceError
from tests.fuzz.world import World, open_world

JOURNAL = {
    "a check of an unknown window": "UPDATE checks SET window='other'",
    "runs of a check cut off": "UPDATE checks SET runs=x'00'",
    "runs of an unknown set": "DELETE FROM sets",
    "places that are a number": "UPDATE checks SET places=7",
    "places cut off": "UPDATE checks SET places=x'000000'",
    "kappa of an unknown check": "UPDATE kappa SET check_number=99",
    "slots of a kappa that are text": "UPDATE kappa SET first='first'",
    "kappa cut off": "UPDATE kappa SET kappa=x'00'",
    "an outcome that there is not": "UPDATE batches SET outcome=9",
    "a mint id too short": "UPDATE sets SET mint_id=x'00'",
    "a reservation that is text": "UPDATE sets SET reserved='many'",
    "slots done twice": "UPDATE sets SET done=done || done",
    "a generation that is text": "UPDATE meta SET value='old' WHERE key='generation'",
    "a table less": "DROP TABLE kappa",
}
EVENTS = {
    "a face of an unknown set": "DELETE FROM sets",
    "a status that there is not": "UPDATE groups SET status=9",
    "runs that are text": "UPDATE groups SET runs='runs'",
    "a next number that is text": "UPDATE meta SET value='many' WHERE key='next'",
    "matches that are no list": "UPDATE faces SET entries='7'",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return open_world(tmp_path_factory.mktemp("world"))


def changed(world: World, name: str, folder: Path, statement: str) -> Path:
    """A copy of this database with something in every table, after the statement."""
    path = folder / name
    path.write_bytes((world.folder / "ledgers" / name).read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
    return path


def read_journal(path: Path) -> None:
    """Everything that the journal reads back."""
    with PartyJournal(path, boot_id="boot") as journal:
        for info in journal.known_sets():
            list(journal.prepared(info.set_id))


def read_events(path: Path) -> None:
    """Everything that the event store reads back."""
    with EventStore(path, path.with_name("lines")) as store:
        store.events()


@pytest.mark.parametrize(
    ("name", "read", "statement"),
    [
        *(pytest.param("slots", read_journal, text, id=what) for what, text in JOURNAL.items()),
        *(pytest.param("events", read_events, text, id=what) for what, text in EVENTS.items()),
    ],
)
def test_what_no_party_stored_is_refused_in_one_line(
    world: World, tmp_path: Path, name: str, read: Callable[[Path], None], statement: str
) -> None:
    read(changed(world, name, tmp_path, "SELECT 1"))
    with pytest.raises((InputError, ResourceError)) as caught:
        read(changed(world, name, tmp_path, statement))
    assert len(str(caught.value).splitlines()) == 1
