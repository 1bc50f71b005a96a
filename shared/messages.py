"""Every message on the wire: one frozen dataclass each, a closed set (encodings E7)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from shared.codec import (
    RAW_LIMIT,
    U8,
    U32,
    U64,
    AtMost,
    Buffer,
    Codec,
    Digest,
    Frame,
    Name,
    Nonce,
    Text,
)
from shared.errors import FormatError

_RUN = struct.Struct("<8sII")
MAX_SETS = 20_000

RunBytes = Annotated[Buffer, Frame(_RUN.size, 1 << 20)]
AllRunBytes = Annotated[Buffer, Frame(_RUN.size, 1 << 24)]  # of all sets, however scattered
Digests = Annotated[Buffer, Frame(32, 1 << 25)]
Places = Annotated[Buffer, Frame(4, 1 << 22)]
RingBytes = Annotated[Buffer, Frame(16, RAW_LIMIT)]
BitBytes = Annotated[Buffer, Frame(1, RAW_LIMIT)]
TimeBytes = Annotated[Buffer, Frame(8, 1 << 20)]
MaskedBytes = Annotated[Buffer, Frame(4, 1 << 25)]


class Run(NamedTuple):
    """Consecutive slots of one set: set id (8 bytes), first slot, how many."""

    set_id: bytes
    first: int
    length: int

    @property
    def stop(self) -> int:
        """The slot after the last one."""
        return self.first + self.length


def pack_runs(runs: Iterable[Run]) -> bytes:
    """Runs as records of 16 bytes: set id, first u32, length u32."""
    return b"".join(_RUN.pack(*run) for run in runs)


def unpack_runs(data: Buffer) -> tuple[Run, ...]:
    """The inverse of `pack_runs`; refuses empty and overflowing runs with FormatError."""
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    if size % _RUN.size:
        raise FormatError(f"runs: found {size} bytes, expected a multiple of {_RUN.size}")
    runs = tuple(Run(*record) for record in _RUN.iter_unpack(data))
    for run in runs:
        if run.length == 0 or run.stop > 1 << 32:
            raise FormatError(f"run: found first {run.first}, length {run.length}")
    return runs


class SetMark(NamedTuple):
    """What a party says of a set: mint id, camera, slots, and its two high-water marks."""

    mint_id: Nonce
    camera: Name
    slots: U32
    prepared: U32
    revealed: U32


class Binding(NamedTuple):
    """An entry place and the digest of the entry bound to it for the whole window."""

    place: U32
    entry: Digest


class Outcome(NamedTuple):
    """A run of slots of one camera and what became of them: VERIFIED or BURNED."""

    first: U32
    length: U32
    outcome: U8


VERIFIED = 1
BURNED = 2

# -- between the parties ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Opens a session for a window: what this party holds, to compare before bits are sent.

    answers: P1 repeats P0's nonce here, P0 sends zeros. journal, generation: the identity of the
    sender's slot journal. prepared, used: its slots that may, and that may no longer, be matched.
    approved: digests of its watchlist entries, ascending.
    """

    party: U8
    window: Name
    params: Digest
    nonce: Nonce
    answers: Nonce
    clock_ms: U64
    journal: Nonce
    generation: U64
    sets: Annotated[tuple[SetMark, ...], AtMost(MAX_SETS)]
    prepared: AllRunBytes
    used: AllRunBytes
    approved: Digests


@dataclass(frozen=True, slots=True)
class Approved:
    """The digests of all entries that the sender's watchlist holds now."""

    session: Digest
    entries: Digests


@dataclass(frozen=True, slots=True)
class PlaceMap:
    """P0's proposal: which entry is bound to which place, from this epoch on."""

    session: Digest
    epoch: U64
    bindings: Annotated[tuple[Binding, ...], AtMost(1 << 20)]


@dataclass(frozen=True, slots=True)
class PlaceMapAgreed:
    """P1 has bound the same places durably."""

    session: Digest
    epoch: U64
    place_map: Digest


@dataclass(frozen=True, slots=True)
class Prep0:
    """P0 opens kappa shares for slots and places, and commits to seed0."""

    session: Digest
    check: U64
    params: Digest
    place_map: Digest
    runs: RunBytes
    places: Places
    kappa: RingBytes
    seed_commitment: Digest


@dataclass(frozen=True, slots=True)
class Prep1:
    """P1's kappa shares and its seed."""

    session: Digest
    check: U64
    kappa: RingBytes
    seed: Digest


@dataclass(frozen=True, slots=True)
class Prep2:
    """P0 opens seed0 and commits to sigma^0."""

    session: Digest
    check: U64
    seed: Digest
    nonce: Nonce
    sigma_commitment: Digest


@dataclass(frozen=True, slots=True)
class Prep3:
    """P1's verdict: a digest of minus sigma^1."""

    session: Digest
    check: U64
    verdict: Digest


@dataclass(frozen=True, slots=True)
class Prep4:
    """P0 opens sigma^0, only after a right Prep3."""

    session: Digest
    check: U64
    sigma: Nonce
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class Held:
    """P1 holds these faces: runs, each one camera message, with the digest of that message."""

    session: Digest
    runs: RunBytes
    faces: Digests


@dataclass(frozen=True, slots=True)
class Reveal0:
    """P0's header of a batch and its bit shares."""

    session: Digest
    batch: U64
    params: Digest
    place_map: Digest
    faces: Digest
    live: BitBytes
    runs: RunBytes
    bits: BitBytes


@dataclass(frozen=True, slots=True)
class Reveal1:
    """P1's bit shares and its commitment to its confirmation."""

    session: Digest
    batch: U64
    commitment: Digest
    bits: BitBytes


@dataclass(frozen=True, slots=True)
class Confirm0:
    """P0's confirmation."""

    session: Digest
    batch: U64
    confirmation: Digest


@dataclass(frozen=True, slots=True)
class Confirm1:
    """P1 opens its confirmation; also offered again after a reconnect."""

    session: Digest
    batch: U64
    confirmation: Digest
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class Refused:
    """A typed refusal: the error's class name and one line of detail."""

    session: Digest
    error: Name
    detail: Text


@dataclass(frozen=True, slots=True)
class Burned:
    """The sender has burned these slots; they are of no use to the receiver either."""

    session: Digest
    runs: RunBytes


@dataclass(frozen=True, slots=True)
class Ping:
    """A sign of life in a session; every batch below `settled` is settled at the sender."""

    session: Digest
    clock_ms: U64
    settled: U64


@dataclass(frozen=True, slots=True)
class Stopping:
    """P1 is about to end this session in good order: P0 is to begin nothing more in it."""

    session: Digest


@dataclass(frozen=True, slots=True)
class Paused:
    """P0 begins nothing more in this session: what it has begun came before this."""

    session: Digest


# -- between a camera and a party ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CameraHello:
    """A camera asks a party what it knows of its set."""

    window: Name
    camera: Name
    mint_id: Nonce
    params: Digest
    clock_ms: U64


@dataclass(frozen=True, slots=True)
class Welcome:
    """The party's high-water mark for the camera's set, and its clock."""

    window: Name
    camera: Name
    mint_id: Nonce
    high_water: U32
    clock_ms: U64


@dataclass(frozen=True, slots=True)
class Faces:
    """Masked faces for consecutive slots: capture times (u64 ms), e (u32, d + 1 per face)."""

    mint_id: Nonce
    params: Digest
    window: Name
    camera: Name
    first: U32
    times: TimeBytes
    masked: MaskedBytes


@dataclass(frozen=True, slots=True)
class FaceAck:
    """Durable outcomes: the camera may forget these slots as far as this party goes."""

    window: Name
    camera: Name
    mint_id: Nonce
    outcomes: Annotated[tuple[Outcome, ...], AtMost(100_000)]


@dataclass(frozen=True, slots=True)
class CameraRefused:
    """A party refuses a camera's message: the error's class name and one line."""

    window: Name
    camera: Name
    error: Name
    detail: Text


PartyMessage = (
    Hello
    | Approved
    | PlaceMap
    | PlaceMapAgreed
    | Prep0
    | Prep1
    | Prep2
    | Prep3
    | Prep4
    | Held
    | Reveal0
    | Reveal1
    | Confirm0
    | Confirm1
    | Refused
    | Burned
    | Ping
    | Stopping
    | Paused
)
CameraMessage = CameraHello | Welcome | Faces | FaceAck | CameraRefused

PARTY_CODEC = Codec(
    {
        1: Hello,
        2: Approved,
        3: PlaceMap,
        4: PlaceMapAgreed,
        10: Prep0,
        11: Prep1,
        12: Prep2,
        13: Prep3,
        14: Prep4,
        20: Held,
        21: Reveal0,
        22: Reveal1,
        23: Confirm0,
        24: Confirm1,
        30: Refused,
        31: Burned,
        32: Ping,
        33: Stopping,
        34: Paused,
    }
)
CAMERA_CODEC = Codec({40: CameraHello, 41: Welcome, 42: Faces, 43: FaceAck, 44: CameraRefused})
