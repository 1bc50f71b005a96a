"""The audit log: records chained by hashes, and how two parties' logs are compared. Pure.

It is kept beside the events, in the same transactions, so that neither a kill nor a full disk can
part what happened from its record. The slot journal keeps where the log ended a second ago, which
shows a log that was cut off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self

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


@dataclass(slots=True)
class Extent:
    """How much there is of a log: records by kind, the time of the first one, and the last one."""

    kinds: Counter[str] = field(default_factory=Counter)
    first_ms: int = 0
    last: Record | None = None

    def measuring(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, counted as they pass by."""
        for record in records:
            if self.last is None:
                self.first_ms = record.at_ms
            self.last = record
            self.kinds[record.kind] += 1
            yield record


def check_chain(records: Iterable[Record], known: Head = EMPTY) -> list[str]:
    """Every change that shows: one line each, none when the log is as it was written.

    known: an end that this log once had.
    """
    found = []
    head = EMPTY
    passed_known = False
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
        passed_known = passed_known or head == known
    if known.sequence:
        if known.sequence > head.sequence:
            found.append(
                f"the log ends with record {head.sequence}, the slot journal knows of record "
                f"{known.sequence}: its end is missing"
            )
        elif not passed_known:
            found.append(f"record {known.sequence} is not the one that the slot journal knows")
    return found


def compare(p0: Iterable[Record], p1: Iterable[Record]) -> list[str]:
    """Contradictions between both parties' logs, one line each.

    What only one of them has is none, but for a batch that P0 verified: P1 did so before it.
    """
    of_p0, of_p1 = _Claims.of(p0), _Claims.of(p1)
    found = []
    for batch_id, batch in of_p0.batches.items():
        other = of_p1.batches.get(batch_id)
        if other is not None and other.transcript != batch.transcript:
            found.append(
                f"batch {batch_id.hex()}: verified by both, with different transcripts "
                f"(record {batch.sequence} of P0, {other.sequence} of P1)"
            )
    found += [
        f"batch {batch_id.hex()}: verified by P0 (record {batch.sequence}), P1 has no such batch"
        for batch_id, batch in of_p0.batches.items()
        if batch_id not in of_p1.batches and batch.at_ms + _LATER_MS < of_p1.last_ms
    ]
    found += [
        f"window {window} place {place}: bound to different entries"
        for (window, place), entry in of_p0.places.items()
        if of_p1.places.get((window, place), entry) != entry
    ]
    return found


class _Batch(NamedTuple):
    """What a log says of a verified batch."""

    sequence: int
    at_ms: int
    transcript: bytes


@dataclass(slots=True)
class _Claims:
    """What of a log the other party's has to agree with. places: entry digests."""

    batches: dict[bytes, _Batch] = field(default_factory=dict)
    places: dict[tuple[str, int], bytes] = field(default_factory=dict)
    last_ms: int = 0

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Of a sound log, read once."""
        claims = cls()
        for record in records:
            claims.last_ms = max(claims.last_ms, record.at_ms)
            if record.kind == BATCH:
                claims.batches[record.subject] = _Batch(
                    record.sequence, record.at_ms, record.transcript
                )
            elif record.kind == PLACE:
                window, _, rest = record.subject.partition(b"\0")
                place = int.from_bytes(rest[:4], "little")
                claims.places[window.decode(errors="replace"), place] = rest[4:]
        return claims
