"""The audit log: records chained by hashes, and how two parties' logs are compared. Pure.

It is kept beside the events, in the same transactions, so that neither a kill nor a full disk can
part what happened from its record. The slot journal keeps where the log ended a second ago, which
shows a log that was cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from shared.hashing import digest

BATCH: Final = "batch"  # verified; subject: batch id
UNRESOLVED: Final = "unresolved"  # P0: past Confirm0, not verified; subject: batch id
PLACE: Final = "place"  # bound to an entry; subject: window, zero byte, place u32, entry digest
WINDOW: Final = "window"  # opened or ended
WATCHLIST: Final = "watchlist"  # another list is in force
START: Final = digest("audit start")
_LATER_MS = 60_000  # by then the other party has settled a batch, or never will


class Head(NamedTuple):
    """Where a log ends: the last record's sequence (0 before the first) and its digest."""

    sequence: int
    digest: bytes


EMPTY: Final = Head(0, START)


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened. at_ms: unix ms. subject: what it is about, by kind; may be empty.

    transcript: of the check or batch, 32 bytes, or empty. previous: digest of the record before.
    """

    sequence: int
    at_ms: int
    kind: str
    subject: bytes
    transcript: bytes
    detail: str
    previous: bytes
    digest: bytes = b""

    def expected_digest(self) -> bytes:
        """What `digest` has to be: over all other fields."""
        return digest(
            "audit record",
            self.sequence,
            self.at_ms,
            self.kind,
            self.subject,
            self.transcript,
            self.detail,
            self.previous,
        )

    def well_formed(self) -> bool:
        """Whether each field has its type: a database keeps what somebody else puts there."""
        return (
            all(type(n) is int and 0 <= n < 1 << 63 for n in (self.sequence, self.at_ms))
            and all(type(text) is str for text in (self.kind, self.detail))
            and all(
                type(octets) is bytes
                for octets in (self.subject, self.transcript, self.previous, self.digest)
            )
        )

    @property
    def head(self) -> Head:
        """The end of a log whose last record this is."""
        return Head(self.sequence, self.digest)


def following(
    head: Head, at_ms: int, kind: str, detail: str, subject: bytes = b"", transcript: bytes = b""
) -> Record:
    """The record that comes after `head`."""
    record = Record(head.sequence + 1, at_ms, kind, subject, transcript, detail, head.digest)
    return replace(record, digest=record.expected_digest())


def place_subject(window: str, place: int, entry: bytes) -> bytes:
    """The subject of a place's binding."""
    return window.encode() + b"\0" + place.to_bytes(4, "little") + entry


def check_chain(records: Sequence[Record], known: Head = EMPTY) -> list[str]:
    """Every change that shows: one line each, none when the log is as it was written.

    known: an end that this log once had.
    """
    found = []
    head = EMPTY
    for record in records:
        if not record.well_formed():
            found.append(f"record {head.sequence + 1} was changed: it is malformed")
            head = Head(head.sequence + 1, b"")
            continue
        if record.sequence != head.sequence + 1:
            found.append(f"found record {record.sequence} after record {head.sequence}")
        elif record.previous != head.digest:
            found.append(f"record {record.sequence} does not follow from the one before it")
        if record.digest != record.expected_digest():
            found.append(f"record {record.sequence} was changed: its digest is another")
        head = record.head
    if known.sequence:
        if known.sequence > head.sequence:
            found.append(
                f"the log ends with record {head.sequence}, the slot journal knows of record "
                f"{known.sequence}: its end is missing"
            )
        elif known.digest not in (r.digest for r in records if r.sequence == known.sequence):
            found.append(f"record {known.sequence} is not the one that the slot journal knows")
    return found


def compare(p0: Sequence[Record], p1: Sequence[Record]) -> list[str]:
    """Contradictions between both parties' logs, one line each.

    What only one of them has is none, but for a batch that P0 verified: P1 did so before it.
    """
    found = []
    batches0, batches1 = _batches(p0), _batches(p1)
    for batch_id, record in batches0.items():
        other = batches1.get(batch_id)
        if other is not None and other.transcript != record.transcript:
            found.append(
                f"batch {batch_id.hex()}: verified by both, with different transcripts "
                f"(record {record.sequence} of P0, {other.sequence} of P1)"
            )
    last = max((record.at_ms for record in p1), default=0)
    found += [
        f"batch {batch_id.hex()}: verified by P0 (record {record.sequence}), P1 has no such batch"
        for batch_id, record in batches0.items()
        if batch_id not in batches1 and record.at_ms + _LATER_MS < last
    ]
    places0, places1 = _places(p0), _places(p1)
    found += [
        f"window {window} place {place}: bound to different entries"
        for (window, place), entry in places0.items()
        if places1.get((window, place), entry) != entry
    ]
    return found


def _batches(records: Iterable[Record]) -> dict[bytes, Record]:
    return {record.subject: record for record in records if record.kind == BATCH}


def _places(records: Iterable[Record]) -> dict[tuple[str, int], bytes]:
    found = {}
    for record in records:
        if record.kind == PLACE:
            window, _, rest = record.subject.partition(b"\0")
            found[window.decode(errors="replace"), int.from_bytes(rest[:4], "little")] = rest[4:]
    return found
