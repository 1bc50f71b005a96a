"""One batch of faces as a pair of pure state machines (protocol section 3, Reveal0 to Confirm1).

Each step takes a state and a message and returns the next state and a message; only `Verified`
holds the match bits. Randomness is handed in; nothing here does I/O.
Cost of a batch: 4 messages, two round trips, 2 ceil(live / 8) bytes a face and three digests.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from party import bitkernels
from shared.codec import Buffer
from shared.errors import HeaderMismatch, ProtocolViolation, TamperDetected
from shared.hashing import Field, digest, digest_pieces
from shared.messages import Confirm0, Confirm1, Reveal0, Reveal1, Run, pack_runs
from shared.params import PROTOCOL_VERSION
from shared.sets import SetName

Bits = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """What a batch is about; both parties must name the same.

    runs: slots in order, each run one camera message; sets: the set of each run; faces: the
    digest of each run's camera message (32 bytes). live: ascending live places.
    """

    session: bytes
    batch: int
    params: bytes
    place_map: bytes
    places: int
    runs: tuple[Run, ...]
    sets: tuple[SetName, ...]
    faces: tuple[bytes, ...]
    live: tuple[int, ...]

    @property
    def slots(self) -> int:
        """F, faces in this batch."""
        return sum(run.length for run in self.runs)

    @property
    def row_bytes(self) -> int:
        """Bytes of one face's packed bits."""
        return (len(self.live) + 7) // 8

    def live_mask(self) -> bytes:
        """One bit a place, least significant first, padded to bytes."""
        return _mask_bytes(self.live, self.places)

    def faces_digest(self) -> bytes:
        """The digest of all camera messages of this batch."""
        return digest("batch faces", *self.faces)

    def matches(self, found: Reveal0) -> None:
        """Raises HeaderMismatch naming the first field in which Reveal0 differs."""
        for name, expected, value in (
            ("session", self.session, found.session),
            ("batch", self.batch, found.batch),
            ("parameters", self.params, found.params),
            ("place map", self.place_map, found.place_map),
            ("slots", pack_runs(self.runs), bytes(found.runs)),
            ("masked faces", self.faces_digest(), found.faces),
            ("live places", self.live_mask(), bytes(found.live)),
        ):
            if expected != value:
                raise HeaderMismatch(f"batch {self.batch}: the peer's {name} differ")

    def transcript(self, bits0: Buffer, bits1: Buffer) -> bytes:
        """The match transcript digest over everything named, and both bit strings."""
        fields: list[Field] = [
            self.session,
            self.batch,
            PROTOCOL_VERSION,
            self.params,
            self.place_map,
            self.live_mask(),
            len(self.runs),
        ]
        for run, name, faces in zip(self.runs, self.sets, self.faces, strict=True):
            fields += [name.mint_id, name.window, name.camera, run.first, run.length, faces]
        return digest("match", *fields, bytes(bits0), bytes(bits1))


@dataclass(frozen=True, slots=True)
class TagPart:
    """Authenticated bits of one run. tags: (faces, live) uint64; deltas: (faces,) uint64."""

    tags: NDArray[np.uint64] = field(repr=False)
    deltas: NDArray[np.uint64] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TagShares:
    """A party's authenticated bits of a batch, run by run."""

    parts: tuple[TagPart, ...] = field(repr=False)
    live: int

    @property
    def faces(self) -> int:
        """How many faces."""
        return sum(len(part.tags) for part in self.parts)

    def bit_shares(self) -> bytes:
        """The least bits, packed row by row."""
        packed = np.zeros((self.faces, (self.live + 7) // 8), dtype=np.uint8)
        row = 0
        for part in self.parts:
            bitkernels.pack_bits(part.tags, packed[row : row + len(part.tags)])
            row += len(part.tags)
        return packed.tobytes()

    def digest(self, packed: Bits) -> bytes:
        """Digest of all t xor b Delta for the opened bits, packed: (F, bytes)."""
        return digest_pieces("tags", self.faces * self.live * 8, self._unmasked(packed))

    def _unmasked(self, packed: Bits) -> Iterator[memoryview]:
        longest = max((len(part.tags) for part in self.parts), default=0)
        scratch = np.empty((longest, self.live), dtype=np.uint64)
        row = 0
        for part in self.parts:
            faces = len(part.tags)
            out = scratch[:faces]
            bitkernels.unmask(part.tags, packed[row : row + faces], part.deltas, out)
            row += faces
            yield out.data.cast("B")


@dataclass(frozen=True, slots=True)
class Verified:
    """Match bits that passed this party's own check. bits: (F, live) uint8 of 0 and 1."""

    header: BatchHeader
    bits: Bits = field(repr=False)
    transcript: bytes


@dataclass(frozen=True, slots=True)
class P0Revealed:
    """P0 after Reveal0: its slots are burned whatever follows."""

    header: BatchHeader
    shares: TagShares = field(repr=False)
    own_bits: bytes = field(repr=False)

    def receive(self, message: Reveal1) -> tuple[P0Confirming, Confirm0]:
        """Opens the bits and confirms. Raises ProtocolViolation for malformed bits."""
        _same_batch(self.header, message)
        packed = _open_bits(self.header, self.own_bits, message.bits)
        transcript = self.header.transcript(self.own_bits, message.bits)
        tags = self.shares.digest(packed)
        state = P0Confirming(
            self.header,
            _unpacked(self.header, packed),
            transcript,
            digest("confirm1", transcript, tags),
            message.commitment,
        )
        confirmation = digest("confirm0", transcript, message.commitment, tags)
        return state, Confirm0(self.header.session, self.header.batch, confirmation)


@dataclass(frozen=True, slots=True)
class P0Confirming:
    """P0 after Confirm0. Its faces are unresolved until Confirm1; this may be stored."""

    header: BatchHeader
    bits: Bits = field(repr=False)
    transcript: bytes
    expected: bytes = field(repr=False)
    commitment: bytes

    def receive(self, message: Confirm1) -> Verified:
        """Accepts a right opening, however late. Raises TamperDetected."""
        _same_batch(self.header, message)
        opened = digest("confirm commitment", self.transcript, message.confirmation, message.nonce)
        if not hmac.compare_digest(opened, self.commitment):
            raise TamperDetected(
                f"batch {self.header.batch}: P1's confirmation does not open its commitment",
                self.transcript,
            )
        if not hmac.compare_digest(message.confirmation, self.expected):
            raise TamperDetected(
                f"batch {self.header.batch}: P1's confirmation is wrong", self.transcript
            )
        return Verified(self.header, self.bits, self.transcript)


@dataclass(frozen=True, slots=True)
class P1Revealed:
    """P1 after Reveal1: its slots are burned whatever follows."""

    header: BatchHeader
    bits: Bits = field(repr=False)
    transcript: bytes
    expected: bytes = field(repr=False)
    opening: Confirm1 = field(repr=False)

    def receive(self, message: Confirm0) -> tuple[Verified, Confirm1]:
        """Checks P0's confirmation, then opens its own. Raises TamperDetected."""
        _same_batch(self.header, message)
        if not hmac.compare_digest(message.confirmation, self.expected):
            raise TamperDetected(
                f"batch {self.header.batch}: P0's confirmation is wrong", self.transcript
            )
        return Verified(self.header, self.bits, self.transcript), self.opening


@lru_cache(maxsize=16)
def _mask_bytes(live: tuple[int, ...], places: int) -> bytes:
    """Most batches have the live places of the one before."""
    mask = np.zeros(places, dtype=np.uint8)
    mask[list(live)] = 1
    return np.packbits(mask, bitorder="little").tobytes()


def reveal_p0(header: BatchHeader, shares: TagShares) -> tuple[P0Revealed, Reveal0]:
    """P0's header and bit shares; the slots must be marked revealed before this leaves."""
    _check_shapes(header, shares)
    own = shares.bit_shares()
    message = Reveal0(
        header.session,
        header.batch,
        header.params,
        header.place_map,
        header.faces_digest(),
        header.live_mask(),
        pack_runs(header.runs),
        own,
    )
    return P0Revealed(header, shares, own), message


def reveal_p1(
    header: BatchHeader, shares: TagShares, message: Reveal0, nonce: bytes
) -> tuple[P1Revealed, Reveal1]:
    """P1's bit shares and commitment; nonce: 16 fresh random bytes.

    The slots must be marked revealed before the answer leaves. Raises HeaderMismatch before
    anything is computed, ProtocolViolation for malformed bits.
    """
    header.matches(message)
    _check_shapes(header, shares)
    own = shares.bit_shares()
    packed = _open_bits(header, own, message.bits)
    transcript = header.transcript(message.bits, own)
    tags = shares.digest(packed)
    confirmation = digest("confirm1", transcript, tags)
    commitment = digest("confirm commitment", transcript, confirmation, nonce)
    state = P1Revealed(
        header,
        _unpacked(header, packed),
        transcript,
        digest("confirm0", transcript, commitment, tags),
        Confirm1(header.session, header.batch, confirmation, nonce),
    )
    return state, Reveal1(header.session, header.batch, commitment, own)


def _check_shapes(header: BatchHeader, shares: TagShares) -> None:
    live = len(header.live)
    shaped = all(part.tags.shape == (len(part.deltas), live) for part in shares.parts)
    if shares.live != live or shares.faces != header.slots or not shaped:
        raise ProtocolViolation(
            f"batch {header.batch}: the tags do not have the shape of the batch"
        )


def _open_bits(header: BatchHeader, own: bytes, other: Buffer) -> Bits:
    """The xor of both bit strings, packed: (F, bytes); checks length and zero padding."""
    shape = (header.slots, header.row_bytes)
    found = np.frombuffer(other, dtype=np.uint8)
    if found.size != shape[0] * shape[1]:
        raise ProtocolViolation(
            f"batch {header.batch}: found {found.size} bytes of bits, expected "
            f"{shape[0] * shape[1]}"
        )
    packed = (found ^ np.frombuffer(own, dtype=np.uint8)).reshape(shape)
    padding = -len(header.live) % 8
    if padding and np.any(packed[:, -1] >> np.uint8(8 - padding)):
        raise ProtocolViolation(f"batch {header.batch}: padding bits are not zero")
    return packed


def _unpacked(header: BatchHeader, packed: Bits) -> Bits:
    return np.unpackbits(packed, axis=1, count=len(header.live), bitorder="little")


def _same_batch(header: BatchHeader, message: Reveal1 | Confirm0 | Confirm1) -> None:
    if message.session != header.session or message.batch != header.batch:
        raise ProtocolViolation(
            f"match: found a message of batch {message.batch}, expected {header.batch}"
        )
