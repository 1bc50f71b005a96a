"""One session of private matching, from its entries to its last face (docs/engine.md)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from party.engine import EngineSession, input_of_client
from party.engine.arrays import SharedArray, concatenate
from party.engine.matching import PrivateWatchlist, match_privately, prepare_private
from party.eventlines import EventBatch
from party.events import EventStore
from party.private.accept import Session
from party.private.inbox import FaceFile, FacePart, Inbox
from party.private.lists import SharedList
from shared.errors import (
    FormatError,
    HeaderMismatch,
    PeerVanished,
    ProtocolViolation,
    TamperDetected,
    TwokeyError,
)
from shared.hashing import Field, digest
from shared.messages import Run
from shared.private_plan import AUTHORITY
from shared.sets import SetName

log = logging.getLogger(__name__)
_BATCH_FACES: Final = 256
_BATCH_BITS: Final = 1 << 15
_OFFERED = 1024  # files in one offer
_PAUSE = 0.1
_ENDS, _IDLE = 1, 2  # what an offer says besides


@dataclass(slots=True)
class Summary:
    """What became of a session's faces."""

    matched: int = 0
    hits: int = 0
    burned: int = 0


class PrivateRun:
    """Matches what both parties hold, until one of them ends it.

    Each turn both say which files they hold; those that both do are matched, in one order.
    """

    def __init__(self, shared: SharedList, inbox: Inbox, events: EventStore) -> None:
        self.summary = Summary()
        self._shared = shared
        self._session: Session = shared.session
        self._inbox = inbox
        self._events = events
        self._entries_digest = shared.file.digest()
        self._batches = 0
        self._batch = max(1, min(_BATCH_FACES, _BATCH_BITS // shared.session.shape.entries))

    def run(
        self, engine: EngineSession, stop: Callable[[], bool], *, until_done: bool = False
    ) -> None:
        """Until `stop`, the peer's, the window's end, or, with `until_done` at both, no face left.

        Any error of the engine ends it: announced, faces that were not verified are burned.
        """
        try:
            watchlist = self._prepare(engine)
            end_ms = self._session.header.window.end_ms
            while True:
                self._inbox.scan()
                ours = self._inbox.open()[:_OFFERED]
                ends = stop() or _now_ms() >= end_ms
                flags = (_ENDS if ends else 0) | (_IDLE if until_done and not ours else 0)
                content = bytes([flags]) + b"".join(file.digest for file in ours)
                their_flags, theirs = _decoded(engine.tell(content))
                if (flags | their_flags) & _ENDS or flags & their_flags & _IDLE:
                    break
                common = [file for file in ours if file.digest in theirs]
                if common:
                    self._match(engine, watchlist, _parts(common, self._batch))
                else:
                    time.sleep(_PAUSE)
        except TwokeyError as error:
            self._events.announce(_kind(error), f"{self._session}: {error}")
            raise
        finally:
            self.burn_rest(f"{self._session} has ended before they were matched")

    def burn_rest(self, reason: str) -> None:
        """Faces that are here and were never verified get no result, and operators are told."""
        self._inbox.scan()
        for file in self._inbox.open():
            part = file.part(file.open)
            name = self._name(part)
            self._events.record_burned(name, part.run(name), part.times, reason)
            self.summary.burned += part.count
            file.done += part.count
        self._events.sync()

    def _prepare(self, engine: EngineSession) -> PrivateWatchlist:
        shape, file = self._session.shape, self._shared.file
        agreed = self._entries_digest
        if engine.tell(agreed) != agreed:
            raise HeaderMismatch(f"{self._session}: the other party has added another list")
        size = (shape.entries, shape.params.dim)
        entries = engine.run(input_of_client(AUTHORITY, size, file.elements, 0))
        ready = engine.run(prepare_private(entries, shape.params.threshold))
        engine.check()
        return ready

    def _match(
        self, engine: EngineSession, watchlist: PrivateWatchlist, parts: Sequence[FacePart]
    ) -> None:
        dim = self._session.shape.params.dim
        inputs = [
            input_of_client(
                part.source.file.header.client,
                (part.count, part.source.file.header.columns),
                part.elements,
                part.mask,
            )
            for part in parts
        ]
        faces: SharedArray = concatenate(engine.together(*inputs))
        shared = engine.run(match_privately(watchlist, faces[:, :dim], faces[:, dim]))
        bits = engine.open(shared).astype(np.bool_)
        self._settle(engine.id, parts, bits[:, : len(self._shared.file.header.labels)])

    def _settle(
        self, session_id: bytes, parts: Sequence[FacePart], bits: NDArray[np.bool_]
    ) -> None:
        """Records verified bits."""
        names = [self._name(part) for part in parts]
        runs: list[Run] = [part.run(name) for part, name in zip(parts, names, strict=True)]
        fields: list[Field] = [session_id, self._batches, self._entries_digest]
        for part in parts:
            fields += [part.source.digest, part.first, part.count]
        batch = digest("private batch", *fields)
        self._events.record(
            EventBatch(
                batch[:16],
                self._session.header.window.id,
                tuple(runs),
                tuple(part.source.camera for part in parts),
                np.concatenate([part.times for part in parts]),
                self._shared.file.header.labels,
                bits,
                digest("private transcript", batch, np.packbits(bits).tobytes()),
                _now_ms(),
            )
        )
        self._events.sync()
        self._batches += 1
        for part in parts:
            part.source.done += part.count
        self.summary.matched += len(bits)
        self.summary.hits += int(bits.any(axis=1).sum())

    def _name(self, part: FacePart) -> SetName:
        header = self._session.header
        return SetName(header.mint_id, header.window.id, part.source.camera)


def _parts(files: Sequence[FaceFile], left: int) -> list[FacePart]:
    """The next faces of these files, in their order, so many at most."""
    parts: list[FacePart] = []
    for file in files:
        if left:
            parts.append(file.part(left))
            left -= parts[-1].count
    return parts


def _decoded(offer: bytes) -> tuple[int, set[bytes]]:
    """The flags of an offer, and the digests of the files that the peer holds."""
    if len(offer) % 32 != 1 or len(offer) > 1 + 32 * _OFFERED or offer[0] > _ENDS | _IDLE:
        raise FormatError(f"private matching: found an offer of {len(offer)} bytes")
    return offer[0], {offer[at : at + 32] for at in range(1, len(offer), 32)}


def _kind(error: TwokeyError) -> str:
    """The kind of an announcement."""
    for of, kind in (
        (TamperDetected, "tamper"),
        (PeerVanished, "outage"),
        (HeaderMismatch, "mismatch"),
        (ProtocolViolation, "violation"),
        (FormatError, "violation"),
    ):
        if isinstance(error, of):
            return kind
    return "refused"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
