"""The names of what a party keeps in its state folder."""

from __future__ import annotations

from typing import Final

JOURNAL_FILE: Final = "journal.sqlite"
EVENTS_FILE: Final = "events.sqlite"
LINES_FILE: Final = "events.jsonl"
