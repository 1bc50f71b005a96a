"""A batch from its own party's view: what an event needs, in memory and in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from party.events import EventBatch
from party.intake import HeldFaces
from party.matching import BatchHeader, P0Confirming
from party.places import PlaceTable
from shared.codec import unpack_canonical
from shared.errors import FormatError
from shared.hashing import digest
from shared.messages import Run, pack_runs, unpack_runs

_TYPES = [bytes, int, bytes, list, bytes, list, bytes, bytes]


def batch_name(session: bytes, number: int) -> bytes:
    """The batch's id in the journal and in events: 16 bytes."""
    return digest("batch id", session, number)[:16]


def check_name(session: bytes, number: int) -> bytes:
    """The check's id in the journal: 16 bytes."""
    return digest("check id", session, number)[:16]


@dataclass(frozen=True, slots=True)
class Settled:
    """Faces of a batch with their opened bits, verified or still unresolved.

    times: (faces,) uint64 ms. names: of the live places. bits: (faces, live) uint8.
    """

    session: bytes
    number: int
    runs: tuple[Run, ...]
    cameras: tuple[str, ...]
    times: NDArray[np.uint64]
    names: tuple[str, ...]
    bits: NDArray[np.uint8] = field(repr=False)
    transcript: bytes

    @property
    def batch_id(self) -> bytes:
        """The id in the journal."""
        return batch_name(self.session, self.number)

    @property
    def faces(self) -> int:
        """How many faces."""
        return len(self.times)

    def event_batch(self, window: str, at_ms: int) -> EventBatch:
        """The same as the events want it."""
        return EventBatch(
            self.batch_id,
            window,
            self.runs,
            self.cameras,
            self.times,
            self.names,
            self.bits,
            self.transcript,
            at_ms,
        )

    def encode(self) -> bytes:
        """For the journal: canonical msgpack, the bits packed row by row."""
        return bytes(
            msgpack.packb(
                [
                    self.session,
                    self.number,
                    pack_runs(self.runs),
                    self.cameras,
                    self.times.tobytes(),
                    self.names,
                    np.packbits(self.bits, axis=1, bitorder="little").tobytes(),
                    self.transcript,
                ]
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Settled:
        """The inverse of `encode`. Raises FormatError."""
        found: Any = unpack_canonical(data, "stored batch")
        if not isinstance(found, list) or [type(value) for value in found] != _TYPES:
            raise FormatError(f"stored batch: expected {len(_TYPES)} fields of their types")
        session, number, runs, cameras, times, names, packed, transcript = found
        texts = all(type(text) is str for text in (*cameras, *names))
        if not texts or not 0 <= number < 1 << 64 or len(times) % 8:
            raise FormatError("stored batch: a name is no text, or a number is out of range")
        faces, width = len(times) // 8, -(-len(names) // 8)
        slots = unpack_runs(runs)
        if sum(run.length for run in slots) != faces or len(cameras) != len(slots):
            raise FormatError(f"stored batch: found times of {faces} faces, its runs have others")
        if len(packed) != faces * width:
            raise FormatError(f"stored batch: found {len(packed)} bytes of bits for {faces} faces")
        rows = np.frombuffer(packed, dtype=np.uint8).reshape(faces, width)
        bits = np.unpackbits(rows, axis=1, count=len(names), bitorder="little")
        if (np.packbits(bits, axis=1, bitorder="little") != rows).any():
            raise FormatError("stored batch: bits beyond the last name are set")
        moments = np.frombuffer(times, dtype="<u8")
        return cls(session, number, slots, tuple(cameras), moments, tuple(names), bits, transcript)


def settled_batch(
    header: BatchHeader,
    held: Sequence[HeldFaces],
    table: PlaceTable,
    bits: NDArray[np.uint8],
    transcript: bytes,
) -> Settled:
    """The opened bits together with what the events need."""
    return Settled(
        header.session,
        header.batch,
        header.runs,
        tuple(name.camera for name in header.sets),
        np.concatenate([one.times for one in held]),
        table.names(header.live),
        bits,
        transcript,
    )


def awaiting(settled: Settled, expected: bytes, commitment: bytes) -> P0Confirming:
    """P0's state after Confirm0, rebuilt from the journal to judge a late Confirm1."""
    header = BatchHeader(settled.session, settled.number, b"", b"", 0, settled.runs, (), (), ())
    return P0Confirming(header, settled.bits, settled.transcript, expected, commitment)
