"""A party's audit log, for tests that look at all of it."""

from __future__ import annotations

from pathlib import Path

from party.audit import Head, Record
from party.auditfile import open_log


def read_state(journal: Path, events: Path) -> tuple[list[Record], Head]:
    """A whole log that is short enough, and its end that the slot journal knows."""
    with open_log(journal, events) as log:
        return list(log.records()), log.known
