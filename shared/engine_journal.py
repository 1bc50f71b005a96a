"""What of the engine's material was used here, durably: sessions, and masks of clients.

No session begins twice, no mask serves twice (protocol sections 5 and 6).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from shared.database import Database, sealed
from shared.engine_header import EngineHeader
from shared.errors import SlotReused

JOURNAL_FILE: Final = "engine.db"
_APPLICATION: Final = 0x74776B65
_VERSION: Final = 2
_SCHEMA: Final = (
    "CREATE TABLE begun (mint_id BLOB PRIMARY KEY, window TEXT, name TEXT,"
    f" {sealed('begun', 'mint_id', 'window', 'name')}) STRICT"
)

MASKS_FILE: Final = "masks.db"
_MASKS_APPLICATION: Final = 0x74776B6D
_MASKS_SCHEMA: Final = (
    "CREATE TABLE used (mint_id BLOB, client INTEGER, masks INTEGER NOT NULL,"
    f" {sealed('used', 'mint_id', 'client', 'masks')},"
    " PRIMARY KEY (mint_id, client)) STRICT"
)


def mark_begun(state: Path, header: EngineHeader) -> None:
    """Durable, before a session's first message. Raises SlotReused when it has begun before.

    state: the folder of private files of this party or client. A session that was begun is never
    resumed: after a crash its material is of no use. Also raises Locked, DiskFull, ResourceError,
    FormatError.
    """
    with _begun(state) as database, database.transaction(durable=True) as connection:
        try:
            connection.execute(
                "INSERT INTO begun VALUES (?, ?, ?)",
                (header.mint_id, header.window.id, header.name),
            )
        except sqlite3.IntegrityError:
            raise _spent(header) from None


def refuse_begun(state: Path, header: EngineHeader) -> None:
    """Raises SlotReused when a session was marked here; otherwise as `mark_begun`."""
    if has_begun(state, header):
        raise _spent(header)


def has_begun(state: Path, header: EngineHeader) -> bool:
    """Whether a session was marked here. Raises as `mark_begun`."""
    with _begun(state) as database, database.reading() as connection:
        query = "SELECT count(*) FROM begun WHERE mint_id = ?"
        found: int = connection.execute(query, (header.mint_id,)).fetchone()[0]
    return found > 0


class MaskJournal:
    """How many masks of each of a client's files are used; held by one process alone.

    Raises Locked, DiskFull, ResourceError, FormatError.
    """

    def __init__(self, state: Path) -> None:
        self._database = Database(
            state / MASKS_FILE,
            kind="mask journal",
            application_id=_MASKS_APPLICATION,
            version=_VERSION,
            schema=_MASKS_SCHEMA,
        )

    def used(self, header: EngineHeader) -> int:
        """Masks of this file that are used, from the first one on."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT masks FROM used WHERE mint_id = ? AND client = ?",
                (header.mint_id, header.client),
            ).fetchone()
        return 0 if row is None else int(row[0])

    def advance(self, header: EngineHeader, masks: int) -> None:
        """So many are used now; on stable storage when this returns."""
        with self._database.transaction(durable=True) as connection:
            connection.execute(
                "INSERT INTO used VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET masks = max(masks, excluded.masks)",
                (header.mint_id, header.client, masks),
            )

    def close(self) -> None:
        """Lets go of the journal; twice is no error."""
        self._database.close()


def _spent(header: EngineHeader) -> SlotReused:
    return SlotReused(
        f"engine session {header.name} of window {header.window.id}: it has begun before "
        "and is never resumed; its material is spent"
    )


def _begun(state: Path) -> Database:
    return Database(
        state / JOURNAL_FILE,
        kind="engine journal",
        application_id=_APPLICATION,
        version=_VERSION,
        schema=_SCHEMA,
    )
