"""Which engine sessions have begun here: none begins twice (protocol section 6)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from shared.database import Database
from shared.engine_header import EngineHeader
from shared.errors import SlotReused

JOURNAL_FILE: Final = "engine.db"
_APPLICATION: Final = 0x74776B65
_VERSION: Final = 1
_SCHEMA: Final = "CREATE TABLE begun (mint_id BLOB PRIMARY KEY, window TEXT, name TEXT) STRICT"


def mark_begun(state: Path, header: EngineHeader) -> None:
    """Durable, before a session's first message. Raises SlotReused when it has begun before.

    state: the folder of private files of this party or client. A session that was begun is never
    resumed: after a crash its material is of no use. Also raises Locked, DiskFull, ResourceError,
    FormatError.
    """
    with (
        Database(
            state / JOURNAL_FILE,
            kind="engine journal",
            application_id=_APPLICATION,
            version=_VERSION,
            schema=_SCHEMA,
        ) as database,
        database.transaction(durable=True) as connection,
    ):
        try:
            connection.execute(
                "INSERT INTO begun VALUES (?, ?, ?)",
                (header.mint_id, header.window.id, header.name),
            )
        except sqlite3.IntegrityError:
            raise SlotReused(
                f"engine session {header.name} of window {header.window.id}: it has begun before "
                "and is never resumed; its material is spent"
            ) from None
