"""The camera's journal: what was sent, until both parties acknowledge it (protocol section 5)."""

from __future__ import annotations

import contextlib
import glob
import logging
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from camera.ratchetfile import RatchetFile, RatchetState, erase
from shared.database import Database
from shared.errors import (
    FormatError,
    InputError,
    MaterialExhausted,
    ProtocolViolation,
    QueueFull,
    RangeError,
    ResourceError,
    SlotReused,
)
from shared.intervals import Interval, Intervals
from shared.messages import Outcome
from shared.sets import SetName

__all__ = ["CameraJournal", "CameraSet", "RatchetState", "StoredMessage"]

RATCHET_SLOTS = 64  # slots of one ratchet block (encodings E2)
_APPLICATION_ID = 0x744B434A
_VERSION = 1
_U32 = struct.Struct("<I")
_SCHEMA = """
CREATE TABLE sets (
    set_id BLOB PRIMARY KEY,
    mint_id BLOB NOT NULL, window TEXT NOT NULL, camera TEXT NOT NULL,
    slots INTEGER NOT NULL, next_slot INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    set_id BLOB NOT NULL, first INTEGER NOT NULL, length INTEGER NOT NULL, frames BLOB NOT NULL,
    waiting0 BLOB NOT NULL, waiting1 BLOB NOT NULL
);
CREATE TABLE outcomes (
    set_id BLOB, party INTEGER, outcome INTEGER, faces INTEGER NOT NULL,
    PRIMARY KEY (set_id, party, outcome)
) WITHOUT ROWID;
"""
_SAVE_WAITING = (
    "UPDATE messages SET waiting0=? WHERE number=?",
    "UPDATE messages SET waiting1=? WHERE number=?",
)
_log = logging.getLogger(__name__)


class CameraSet(NamedTuple):
    """A set whose material this camera has taken over, and the first slot not used yet."""

    name: SetName
    slots: int
    next_slot: int


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it was first sent. waiting: for each party the slots it has not acknowledged."""

    number: int
    set_id: bytes
    first: int
    length: int
    frames: tuple[bytes, ...] = field(repr=False)
    waiting: tuple[tuple[Interval, ...], tuple[Interval, ...]]


@dataclass(slots=True)
class _Waiting:
    number: int
    first: int
    length: int
    size: int
    slots: list[Intervals]


@dataclass(slots=True)
class _Set:
    name: SetName
    slots: int
    next_slot: int
    ratchet: RatchetFile
    waiting: dict[int, _Waiting] = field(default_factory=dict)


class CameraJournal:
    """An open journal, held by this process alone; all methods may be called from any thread.

    limit_bytes: of stored messages; beyond it `append` raises QueueFull. A method that raises has
    recorded nothing. Every method may raise DiskFull or ResourceError; the constructor also
    Locked and FormatError.
    """

    def __init__(self, path: Path, *, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._sets: dict[bytes, _Set] = {}
        self._stored = 0
        self._path = path
        self._db = Database(
            path,
            kind="camera journal",
            application_id=_APPLICATION_ID,
            version=_VERSION,
            schema=_SCHEMA,
            secure_delete=True,
        )
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the files. Closing twice is no error."""
        with self._db.lock:
            for known in self._sets.values():
                known.ratchet.close()
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- sets --------------------------------------------------------------------------

    def adopt_set(self, name: SetName, slots: int, ratchet: RatchetState) -> None:
        """Durable: from now on the material file is not needed, its keys can be destroyed.

        Raises SlotReused for a set that was adopted before.
        """
        set_id = name.set_id()
        if not 0 < slots < 1 << 32:
            raise RangeError(f"slots of a set: found {slots}, expected 1 to 2^32 - 1")
        with self._db.lock:
            if set_id in self._sets:
                raise SlotReused(f"window {name.window}: this set was taken over before")
            file = RatchetFile.create(self._ratchet_path(set_id), ratchet)
            try:
                with self._db.transaction(durable=True) as connection:
                    connection.execute(
                        "INSERT INTO sets VALUES (?,?,?,?,?,0)",
                        (set_id, name.mint_id, name.window, name.camera, slots),
                    )
            except BaseException:
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    file.erase()
                raise
            self._sets[set_id] = _Set(name, slots, 0, file)

    def sets(self) -> list[CameraSet]:
        """All adopted sets."""
        with self._db.lock:
            return [CameraSet(s.name, s.slots, s.next_slot) for s in self._sets.values()]

    def next_slot(self, set_id: bytes) -> int:
        """The first slot that was never used; equals the set's slots when it is used up."""
        with self._db.lock:
            return self._known(set_id).next_slot

    def ratchet(self, set_id: bytes) -> RatchetState:
        """The state as stored last: of the next slot's block, or (after a crash) of one before."""
        with self._db.lock:
            return self._known(set_id).ratchet.current

    def advance_ratchet(self, set_id: bytes, ratchet: RatchetState) -> None:
        """Durable: stores the state and erases the former one.

        Raises InputError for a block before the stored one or after that of the next slot.
        """
        with self._db.lock:
            known = self._known(set_id)
            self._refuse_early(ratchet, known.next_slot)
            known.ratchet.advance(ratchet)

    def raise_high_water(self, set_id: bytes, mark: int) -> int:
        """Durable: slots below a party's mark are not used (again). Returns how many are skipped.

        A mark above the next slot means that this journal is a restored backup.
        """
        with self._db.lock:
            known = self._known(set_id)
            mark = min(mark, known.slots)
            skipped = mark - known.next_slot
            if skipped <= 0:
                return 0
            with self._db.transaction(durable=True) as connection:
                connection.execute("UPDATE sets SET next_slot=? WHERE set_id=?", (mark, set_id))
            known.next_slot = mark
            return skipped

    def forget_set(self, set_id: bytes) -> None:
        """Durable, when the window has ended: drops its messages and erases its ratchet state."""
        with self._db.lock:
            known = self._known(set_id)
            with self._db.transaction(durable=True) as connection:
                connection.execute("DELETE FROM messages WHERE set_id=?", (set_id,))
                connection.execute("DELETE FROM outcomes WHERE set_id=?", (set_id,))
                connection.execute("DELETE FROM sets WHERE set_id=?", (set_id,))
            self._stored -= sum(message.size for message in known.waiting.values())
            del self._sets[set_id]
            known.ratchet.erase()

    # -- messages ----------------------------------------------------------------------

    def append(
        self,
        set_id: bytes,
        first: int,
        length: int,
        frames: Sequence[bytes],
        ratchet: RatchetState | None = None,
    ) -> int:
        """Durable, before the message is sent to either party; returns its number.

        frames: the wire bytes; a resend is these. ratchet: the state of the block of the slot
        after these, when it is another block; the former one is erased. Slots may be left out,
        never used again: SlotReused. Raises QueueFull, MaterialExhausted, RangeError.
        """
        content = _pack_frames(frames)
        with self._db.lock:
            known = self._known(set_id)
            whole = Intervals([(first, length)])
            if first < known.next_slot:
                raise SlotReused(
                    f"slots from {first}: found below the next unused slot {known.next_slot}"
                )
            if whole.stop > known.slots:
                raise MaterialExhausted(
                    f"window {known.name.window}: slots {first} to {whole.stop - 1} wanted, "
                    f"the set has {known.slots}"
                )
            if ratchet is not None:
                self._refuse_early(ratchet, whole.stop)
            if self._stored + len(content) > self._limit:
                raise QueueFull(
                    f"{self._stored} bytes wait for the parties, the limit is {self._limit}"
                )
            blob = whole.to_bytes()
            with self._db.transaction(durable=True) as connection:
                connection.execute(
                    "UPDATE sets SET next_slot=? WHERE set_id=?", (whole.stop, set_id)
                )
                number = connection.execute(
                    "INSERT INTO messages VALUES (NULL,?,?,?,?,?,?)",
                    (set_id, first, length, content, blob, blob),
                ).lastrowid
            message = _Waiting(number or 0, first, length, len(content), [whole, whole.copy()])
            known.waiting[message.number] = message
            known.next_slot = whole.stop
            self._stored += message.size
            if ratchet is not None:
                try:
                    known.ratchet.advance(ratchet)
                except ResourceError as error:  # the message is stored; the next block erases
                    _log.warning("a former ratchet state is not erased yet: %s", error)
            return message.number

    def acknowledge(self, set_id: bytes, party: int, outcomes: Iterable[Outcome]) -> list[int]:
        """Written: a party's outcomes for slots. Returns the numbers of messages forgotten by it.

        A message is forgotten when both parties have acknowledged all its slots. Slots that are
        acknowledged already are ignored; slots never sent are ProtocolViolation.
        """
        with self._db.lock:
            known = self._known(set_id)
            tally: Counter[int] = Counter()
            changed: dict[int, Intervals] = {}
            waiting = list(known.waiting.values())  # by number, and so by slot
            stops = [message.first + message.length for message in waiting]
            for first, length, outcome in outcomes:
                acknowledged = Intervals([(first, length)])
                if acknowledged.stop > known.next_slot:
                    raise ProtocolViolation(
                        f"party {party} acknowledges slot {acknowledged.stop - 1}, which was "
                        "never sent"
                    )
                for message in waiting[bisect_right(stops, first) :]:
                    if message.first >= acknowledged.stop:
                        break
                    left = changed.get(message.number, message.slots[party]).copy()
                    before = left.total
                    left.difference_update(acknowledged)
                    tally[outcome] += before - left.total
                    changed[message.number] = left
            done = [
                number
                for number, left in changed.items()
                if not left and not known.waiting[number].slots[1 - party]
            ]
            with self._db.transaction(durable=False) as connection:
                connection.executemany(
                    _SAVE_WAITING[party],
                    [(left.to_bytes(), number) for number, left in changed.items()],
                )
                connection.executemany(
                    "DELETE FROM messages WHERE number=?", [(number,) for number in done]
                )
                connection.executemany(
                    "INSERT INTO outcomes VALUES (?,?,?,?) ON CONFLICT DO UPDATE"
                    " SET faces = faces + excluded.faces",
                    [(set_id, party, outcome, faces) for outcome, faces in tally.items()],
                )
            for number, left in changed.items():
                known.waiting[number].slots[party] = left
            for number in done:
                self._stored -= known.waiting.pop(number).size
            return done

    def owed(self, set_id: bytes, party: int) -> set[int]:
        """Numbers of a set's messages that this party has not acknowledged in full."""
        with self._db.lock:
            waiting = self._known(set_id).waiting
            return {number for number, message in waiting.items() if message.slots[party]}

    def frames(self, number: int) -> tuple[bytes, ...] | None:
        """A stored message as it was first sent; None once it is forgotten."""
        with self._db.reading() as connection:
            row = connection.execute(
                "SELECT frames FROM messages WHERE number=?", (number,)
            ).fetchone()
        return None if row is None else _unpack_frames(row[0])

    def pending(self, party: int | None = None) -> Iterator[StoredMessage]:
        """Messages not yet forgotten, oldest first: all, or those that a party still owes."""
        last = 0
        while True:
            with self._db.restoring() as connection:
                row = connection.execute(
                    "SELECT number, set_id, first, length, frames FROM messages WHERE number > ?"
                    " ORDER BY number LIMIT 1",
                    (last,),
                ).fetchone()
                if row is None:
                    return
                last, set_id, first, length, frames = row
                waiting = self._sets[set_id].waiting[last].slots
                left = (tuple(waiting[0]), tuple(waiting[1]))
                message = StoredMessage(last, set_id, first, length, _unpack_frames(frames), left)
            if party is None or left[party]:
                yield message

    def outcomes(self, set_id: bytes) -> dict[tuple[int, int], int]:
        """Faces by (party, outcome)."""
        with self._db.reading() as connection:
            rows = connection.execute(
                "SELECT party, outcome, faces FROM outcomes WHERE set_id=?", (set_id,)
            )
            return {(party, outcome): faces for party, outcome, faces in rows}

    @property
    def stored_bytes(self) -> int:
        """Bytes of messages that are not forgotten yet; at most the limit."""
        return self._stored

    def maintain(self) -> None:
        """Copies the log back, so that the files stay small; from time to time."""
        self._db.checkpoint()

    def _load(self) -> None:
        with self._db.restoring() as connection:
            for set_id, mint_id, window, camera, slots, next_slot in connection.execute(
                "SELECT * FROM sets"
            ):
                name = SetName(mint_id, window, camera)
                if name.set_id() != set_id:
                    raise FormatError(f"camera journal {self._path}: a set's id is not its own")
                file = RatchetFile.open(self._ratchet_path(set_id))
                self._sets[set_id] = _Set(name, slots, next_slot, file)
            for number, set_id, first, length, size, *waiting in connection.execute(
                "SELECT number, set_id, first, length, length(frames), waiting0, waiting1"
                " FROM messages ORDER BY number"
            ):
                left = [Intervals.from_bytes(blob) for blob in waiting]
                message = _Waiting(number, first, length, size, left)
                self._sets[set_id].waiting[number] = message
                self._stored += size
        expected = {self._ratchet_path(set_id) for set_id in self._sets}
        for path in self._path.parent.glob(f"{glob.escape(self._path.name)}.ratchet-*"):
            if path not in expected:  # of an adoption or an end that was cut short
                erase(path)

    def _known(self, set_id: bytes) -> _Set:
        known = self._sets.get(set_id)
        if known is None:
            raise ProtocolViolation(f"set {set_id.hex()}: not adopted by this camera")
        return known

    def _ratchet_path(self, set_id: bytes) -> Path:
        return self._path.with_name(f"{self._path.name}.ratchet-{set_id.hex()}")

    def _refuse_early(self, ratchet: RatchetState, next_slot: int) -> None:
        if ratchet.block > next_slot // RATCHET_SLOTS:
            raise InputError(
                f"ratchet: found block {ratchet.block}, slot {next_slot} still needs block "
                f"{next_slot // RATCHET_SLOTS}"
            )


def _pack_frames(frames: Sequence[bytes]) -> bytes:
    parts = [_U32.pack(len(frames))]
    for frame in frames:
        parts += [_U32.pack(len(frame)), frame]
    return b"".join(parts)


def _unpack_frames(content: bytes) -> tuple[bytes, ...]:
    frames: list[bytes] = []
    try:
        (count,) = _U32.unpack_from(content)
        at = _U32.size
        while len(frames) < count:
            start = at + _U32.size
            at = start + _U32.unpack_from(content, at)[0]
            frames.append(content[start:at])
    except struct.error:
        raise FormatError("stored message: its frames are cut off") from None
    if at != len(content):
        raise FormatError(f"stored message: found {len(content)} bytes, expected {at}")
    return tuple(frames)
