"""P1's watch over P0's place maps, and over what P0 leaves out of them (protocol section 3)."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass

from party.matching import BatchHeader
from party.places import PlaceTable, accept
from party.session import WindowSession
from party.windowstate import Moment
from shared.errors import HeaderMismatch, PeerVanished, ProtocolViolation
from shared.messages import PlaceMap, PlaceMapAgreed

_FORMER_MAPS = 16


@dataclass(slots=True)
class _Agreed:
    """A place map that P0 may use; until: seconds, once another one follows."""

    table: PlaceTable
    until: float


class FollowPlaces(WindowSession):
    """The places of `party.follow`."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._tables: dict[int, _Agreed] = {}
        self._entry_since: dict[bytes, float] = {}
        self._placed_since: dict[bytes, float] = {}
        self._removed: set[bytes] = set()
        self._map_due: float | None = None

    def _begin_places(self) -> None:
        """A session begins: no map is agreed."""
        self.table = PlaceTable(self.params, self.spec.name, 0, {})
        self._tables = {}
        self._removed = set()

    def _abandon_places(self) -> None:
        self._tables.clear()
        self._map_due = None

    def _refuse_late_map(self, moment: Moment) -> None:
        if self._map_due is not None and moment.seconds > self._map_due:
            self._map_due = None
            raise PeerVanished("P0 proposed no place map for our watchlist in time")

    def on_watchlist(self, removed: Set[bytes], moment: Moment) -> None:
        """P0 is to propose a new place map, soon if an entry has gone from ours."""
        own = {entry.digest for entry in self.entries}
        self._removed = (self._removed | removed) - own
        if any(e.digest not in own for e in self.table.entries.values()):
            self._map_due = self._map_due or moment.seconds + self.limits.confirm_deadline

    def _place_map(self, message: PlaceMap, moment: Moment) -> None:
        if message.epoch <= self.table.epoch:
            raise ProtocolViolation(
                f"place map: found epoch {message.epoch} after {self.table.epoch}"
            )
        if any(binding.entry in self._removed for binding in message.bindings):
            return  # it crossed our word that the entry is gone, another one will follow
        entries = accept(self.params, self.bound, self.entries, message.bindings)
        table = PlaceTable(self.params, self.spec.name, message.epoch, entries)
        self.bind(table)
        self.adopt(table)
        self.next_check.want_all()
        # What P0 sends before it reads our agreement still names a former map, for a while.
        until = moment.seconds + self.limits.confirm_deadline
        for agreed in self._tables.values():
            agreed.until = min(agreed.until, until)
        self._tables = {e: one for e, one in self._tables.items() if one.until >= moment.seconds}
        if len(self._tables) >= _FORMER_MAPS:
            raise ProtocolViolation(f"place map: {len(self._tables)} maps that P0 has not used")
        self._tables[table.epoch] = _Agreed(table, math.inf)
        self._map_due = None
        now_bound = {entry.digest for entry in entries.values()}
        self._entry_since = {
            digest: since for digest, since in self._entry_since.items() if digest not in now_bound
        }
        self._placed_since = {
            digest: self._placed_since.get(digest, moment.seconds) for digest in now_bound
        }
        self.send(PlaceMapAgreed(self.session or b"", message.epoch, table.digest()))

    def _table_named(self, place_map: bytes, moment: Moment) -> PlaceTable:
        """The agreed map of this digest; those agreed before it are not valid any more.

        A map may come back: then it is the oldest one that it can be.
        """
        named = [e for e, one in self._tables.items() if one.table.digest() == place_map]
        if not named:
            raise HeaderMismatch("the peer's place map is not one that is agreed")
        valid = [e for e in named if moment.seconds <= self._tables[e].until]
        if not valid:
            raise PeerVanished("P0 uses a place map that was replaced a while ago")
        self._tables = {e: one for e, one in self._tables.items() if e >= valid[0]}
        return self._tables[valid[0]].table

    def _overdue_entries(self, moment: Moment) -> None:
        """Entries that both approved and P0 never gave a place."""
        placed = {entry.digest for entry in self.table.entries.values()}
        approved = set(self.peer_approved)
        free = len(self.bound) < self.params.places
        for entry in self.entries:
            if entry.digest in placed or entry.digest not in approved or not free:
                self._entry_since.pop(entry.digest, None)
                continue
            since = self._entry_since.setdefault(entry.digest, moment.seconds)
            if moment.seconds - since > self.limits.entry_deadline:
                self._entry_since[entry.digest] = moment.seconds
                self.events.announce(
                    "omission", f"window {self.spec.name}: P0 gives entry {entry.name} no place"
                )

    def _unprepared(self, header: BatchHeader, table: PlaceTable, moment: Moment) -> None:
        """Entries that have a place for long, and that P0 has not prepared for these faces."""
        limit = moment.seconds - self.limits.entry_deadline
        late = [
            table.entries[place]
            for place in sorted(set(table.places) - set(header.live))
            if self._placed_since.get(table.entries[place].digest, math.inf) < limit
        ]
        if late:
            self._placed_since.update((entry.digest, moment.seconds) for entry in late)
            names = ", ".join(entry.name for entry in late)
            self.events.announce(
                "omission",
                f"window {self.spec.name} batch {header.batch}: P0 has not prepared "
                f"{len(late)} entries: {names:.200}",
            )
