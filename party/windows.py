"""Opening and ending windows: which material files there are, and which are usable now."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from party.chunks import ChunkBuffers
from party.events import EventStore
from party.follow import FollowSession
from party.journal import PartyJournal
from party.lead import LeadSession
from party.material import PartySet
from party.materialfolder import FoundFile, remove
from party.outbox import Limits, Outbox
from party.session import WindowSession
from party.slots import HighWater, SetInfo
from party.windowstate import Moment, WindowSpec
from shared.errors import HeaderMismatch, TwokeyError
from shared.keys import PublicIdentity, Role
from shared.materialfile import Header, MaterialFile
from shared.params import Parameters, scaled_threshold
from shared.sets import SetName
from shared.watchlist import Entry
from shared.windowkeys import destroy_window_key, load_private_window_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Opener:
    """What it takes to open a window on this party's side."""

    party: int
    name: str
    state: Path
    dealer: PublicIdentity
    journal: PartyJournal
    events: EventStore
    limits: Limits
    outbox: Outbox
    chunk_cache: int

    @property
    def role(self) -> Role:
        """P0 or P1 as the files name it."""
        return "p0" if self.party == 0 else "p1"

    def open(
        self, files: Sequence[FoundFile], entries: Sequence[Entry], moment: Moment
    ) -> WindowSession:
        """A session for the window of these files; all must be of one window.

        Raises a typed error that names the file; nothing stays open then.
        """
        spec = _spec(files[0].header)
        if moment.wall_ms > spec.end_ms + self.limits.grace * 1000:
            raise HeaderMismatch(f"window {spec.name}: it has ended")
        for found in files:
            if _spec(found.header) != spec:
                raise HeaderMismatch(
                    f"{found.path}: other times or parameters than the window's other files"
                )
        key = load_private_window_key(self.state, spec.name, self.role, self.name)
        buffers = ChunkBuffers(
            spec.params,
            max(f.header.match_chunk_slots for f in files),
            max(f.header.prepare_chunk_slots for f in files),
            self.chunk_cache,
        )
        sets: list[PartySet] = []
        names: set[SetName] = set()
        try:
            for found in files:
                header = found.header
                file = MaterialFile.open(
                    found.path,
                    dealer=self.dealer,
                    window_key=key,
                    params=spec.params,
                    camera=header.camera,
                )
                name = file.header.set_name()
                if name in names:
                    log.warning("%s: holds the same set as another file, left out", found.path)
                    file.close()
                    continue
                names.add(name)
                sets.append(PartySet(name, spec.params, self.party, file, buffers))
                if _spec(file.header) != spec:  # what was found first, nobody had verified
                    raise HeaderMismatch(f"{found.path}: was replaced while it was opened")
            self.journal.register_sets([SetInfo(held.name, held.slots) for held in sets])
            self._believe_events(spec.name, sets)
            self._restore(sets)
            kind = LeadSession if self.party == 0 else FollowSession
            session = kind(spec, sets, self.journal, self.events, entries, self.limits, self.outbox)
            session.recover(moment)
            return session
        except TwokeyError:
            for held in sets:
                held.close()
            raise
        finally:
            key.destroy()

    def _believe_events(self, window: str, sets: Sequence[PartySet]) -> None:
        """Slots with a result that the journal knows nothing of: it was put back, or damaged."""
        marks = {}
        for held in sets:
            slots = self.events.released(held.set_id)
            ledger = self.journal.ledger(held.set_id)
            for known in (ledger.revealed, ledger.done, ledger.burned):
                slots.difference_update(known)
            if slots.total:
                marks[held.set_id] = HighWater(slots.stop, slots.stop)
        burned = sum(run.length for run in self.journal.raise_high_water(marks)) if marks else 0
        if burned:
            text = f"the slot journal is older than the events: {burned} slots burned"
            log.critical("window %s: %s", window, text)
            self.events.announce("restored", f"window {window}: {text}")

    def _restore(self, sets: Sequence[PartySet]) -> None:
        """Kappas that passed before a restart."""
        for held in sets:
            for stored in self.journal.prepared(held.set_id):
                held.keep_kappa(stored.run.first, stored.places, stored.kappa)

    def end(self, window: str, files: Sequence[FoundFile]) -> None:
        """After a window: its key is destroyed, so that recorded files stay closed."""
        destroy_window_key(self.state, window)
        remove(found.path for found in files)


def check_threshold(agreed: float | None, params: Parameters) -> None:
    """Raises HeaderMismatch when a window is for another threshold than this party agrees to.

    agreed: on the squared distance; None when the dealer's is taken.
    """
    if agreed is not None and params.threshold != scaled_threshold(agreed, params):
        raise HeaderMismatch(
            f"parameters: found threshold {params.threshold}, this party agrees to "
            f"{scaled_threshold(agreed, params)} ({agreed} on the squared distance)"
        )


def _spec(header: Header) -> WindowSpec:
    window = header.window
    return WindowSpec(window.id, window.start_ms, window.end_ms, header.params)
