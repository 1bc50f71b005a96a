"""A whole window, run with fixed randomness, as each of those around sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from party.matching import TagShares
from party.outbox import Limits
from shared.messages import (
    CAMERA_CODEC,
    Confirm0,
    Confirm1,
    PartyMessage,
    Prep0,
    Prep1,
    Prep2,
    Prep3,
    Prep4,
    Reveal0,
    Reveal1,
    Run,
    unpack_runs,
)
from shared.watchlist import Entry
from tests.support.minted import entries_of, minted, parameters
from tests.support.pair import Frames, Pair

DIM: Final = 16
PLACES: Final = 8
PARAMS: Final = parameters(dim=DIM, places=PLACES)
FACES: Final = 1_536  # of the camera in the east; the one in the north has NORTH
NORTH: Final = 64
_MESSAGE: Final = 32
_LIMITS: Final = Limits(prepare_ahead=2_048, check_slots=256, checks_in_flight=4)
_CENTRE: Final = 20
_RANDOM: Final[dict[type, tuple[str, ...]]] = {
    Prep0: ("seed_commitment",),
    Prep1: ("seed",),
    Prep2: ("seed", "nonce", "sigma_commitment"),
    Prep3: ("verdict",),
    Prep4: ("sigma", "nonce"),
    Reveal1: ("commitment",),
    Confirm0: ("confirmation",),
    Confirm1: ("confirmation", "nonce"),
}


@dataclass
class Window:
    """Everything that was to be seen of the camera in the east, and what it was about.

    faces: (F, d) int64. masked: e, (F, d + 1) uint32. Of either party: kappa_shares, (F, places,
    2), tags, (F, live) uint64, and bit_shares, their least bits as sent, (F, bytes). short:
    digests, seeds and nonces between the parties. prepared: prepare's messages. traffic: link,
    kind and sizes of every message, in order. north: what the other camera received.
    """

    faces: NDArray[np.int64]
    masked: NDArray[np.uint32]
    kappa_shares: tuple[NDArray[np.uint64], NDArray[np.uint64]]
    tags: tuple[NDArray[np.uint64], NDArray[np.uint64]]
    bit_shares: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    short: list[bytes]
    prepared: list[bytes]
    traffic: list[tuple[str, str, tuple[int, ...]]]
    north: list[bytes]

    @property
    def kappa(self) -> NDArray[np.uint64]:
        """The opened values, (F, places, 2)."""
        return add(*self.kappa_shares)

    @property
    def bits(self) -> NDArray[np.uint8]:
        """The opened bits, (F, live)."""
        packed = self.bit_shares[0] ^ self.bit_shares[1]
        return np.unpackbits(packed, axis=1, count=PLACES, bitorder="little")


@dataclass
class _Seen:
    """What passes by, of either party. runs: of each batch; checked: of each check."""

    openings: tuple[list[Prep0 | Prep1], list[Prep0 | Prep1]] = field(
        default_factory=lambda: ([], [])
    )
    reveals: tuple[list[Reveal0 | Reveal1], list[Reveal0 | Reveal1]] = field(
        default_factory=lambda: ([], [])
    )
    tags: tuple[list[NDArray[np.uint64]], list[NDArray[np.uint64]]] = field(
        default_factory=lambda: ([], [])
    )
    runs: dict[int, tuple[Run, ...]] = field(default_factory=dict)
    checked: dict[int, tuple[Run, ...]] = field(default_factory=dict)
    short: list[bytes] = field(default_factory=list)
    prepared: list[bytes] = field(default_factory=list)
    traffic: list[tuple[str, str, tuple[int, ...]]] = field(default_factory=list)

    def between_parties(self, sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        """A tap that changes nothing."""
        self.note(f"P{sender} to P{1 - sender}", message, frames)
        if isinstance(message, Prep0):
            self.checked[message.check] = unpack_runs(message.runs)
        if isinstance(message, Prep0 | Prep1):
            self.openings[sender].append(message)
        if isinstance(message, Prep0 | Prep1 | Prep2 | Prep3 | Prep4):
            self.prepared.append(b"".join(bytes(frame) for frame in frames))
        if isinstance(message, Reveal0):
            self.runs[message.batch] = unpack_runs(message.runs)
        if isinstance(message, Reveal0 | Reveal1):
            self.reveals[sender].append(message)
        for name in _RANDOM.get(type(message), ()):
            self.short.append(getattr(message, name))
        return [frames]

    def note(self, link: str, message: object, frames: Frames) -> None:
        """One message more in the traffic."""
        sizes = tuple(len(bytes(frame)) for frame in frames)
        self.traffic.append((link, type(message).__name__, sizes))

    def matched(self, party: int, set_id: bytes) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """This party's tags and bit shares of a set's slots 0.. to the last face, in order."""
        tags: dict[int, NDArray[np.uint64]] = {}
        shares: dict[int, NDArray[np.uint8]] = {}
        for message, block in zip(self.reveals[party], self.tags[party], strict=True):
            rows = np.frombuffer(message.bits, dtype=np.uint8).reshape(len(block), -1)
            for row, slot in _rows_of(self.runs[message.batch], set_id):
                tags[slot], shares[slot] = block[row], rows[row]
        order = sorted(tags)
        return np.array([tags[slot] for slot in order]), np.array([shares[slot] for slot in order])

    def opened(self, party: int, set_id: bytes) -> NDArray[np.uint64]:
        """This party's shares of kappa of a set's slots 0.., (F, places, 2)."""
        found: dict[int, NDArray[np.uint64]] = {}
        for message in self.openings[party]:
            rows = np.frombuffer(message.kappa, dtype="<u8").reshape(-1, PLACES, 2)
            found.update(
                {slot: rows[row] for row, slot in _rows_of(self.checked[message.check], set_id)}
            )
        return np.array([found[slot] for slot in range(FACES)])


def _rows_of(runs: tuple[Run, ...], set_id: bytes) -> Iterator[tuple[int, int]]:
    """Row and slot of what is of this set."""
    row = 0
    for run in runs:
        for slot in range(run.first, run.stop):
            if run.set_id == set_id:
                yield row, slot
            row += 1


def add(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mod 2^128, without the product's own kernel."""
    low = a[..., 0] + b[..., 0]
    return np.stack([low, a[..., 1] + b[..., 1] + (low < a[..., 0])], axis=-1)


def entries() -> tuple[Entry, ...]:
    """Eight people who look alike: whoever is near one is near all."""
    rng = np.random.default_rng(1)
    people = _CENTRE + rng.integers(-1, 2, (PLACES, DIM))
    return entries_of(PARAMS, {f"person {i}": row.tolist() for i, row in enumerate(people)})


def faces(matching: float, seed: int, count: int = FACES) -> NDArray[np.int64]:
    """Faces of which this share match every entry; the others match none."""
    rng = np.random.default_rng(seed)
    near = rng.random(count) < matching
    return np.where(near, _CENTRE, -_CENTRE)[:, None] + rng.integers(-1, 2, (count, DIM))


def watch(matching: float, *, seed: int) -> Window:
    """Runs a window in which such faces pass the camera in the east. seed: of everything else."""
    ground = minted(PARAMS, ("east", "north"), slots=FACES + 64, seed=seed)
    seen = _Seen()
    passing = {"east": faces(matching, seed), "north": faces(0.5, 99, NORTH)}
    masked: dict[str, list[bytes]] = {"east": [], "north": []}
    with (
        _recorded_tags(seen),
        Pair(ground, entries(), limits=_LIMITS, tap=seen.between_parties, seed=seed) as pair,
    ):
        if not pair.run(60, lambda: pair.prepared(FACES)):
            raise AssertionError("the slots were not prepared in time")
        for first in range(0, FACES, _MESSAGE):
            for name, rows in passing.items():
                part = rows[first : first + _MESSAGE]
                if len(part):
                    frames = pair.cameras[name].message(part)
                    masked[name].append(bytes(frames[2]))
                    _deliver(pair, seen, name, frames)
            pair.tick()
            _acknowledge(pair, seen)
        if not pair.run(30, pair.settled):
            raise AssertionError("not every face was verified")
        _acknowledge(pair, seen)
        north = [
            b"".join(bytes(frame) for frame in CAMERA_CODEC.encode(message))
            for side in pair.sides
            for name, message in side.cameras
            if name == "north"
        ]
    east = ground.cameras["east"].name.set_id()
    (tags0, shares0), (tags1, shares1) = (seen.matched(party, east) for party in (0, 1))
    return Window(
        passing["east"],
        np.frombuffer(b"".join(masked["east"]), dtype="<u4").reshape(FACES, DIM + 1),
        (seen.opened(0, east), seen.opened(1, east)),
        (tags0, tags1),
        (shares0, shares1),
        seen.short,
        seen.prepared,
        seen.traffic,
        north,
    )


def masks(camera: str, seed: int, slots: int = FACES) -> NDArray[np.uint32]:
    """r mod 2^32 of a camera's slots, as it has them itself: (slots, d + 1)."""
    masker = minted(PARAMS, ("east", "north"), slots=FACES + 64, seed=seed).cameras[camera].masker()
    nothing = np.zeros((slots, DIM), dtype=np.int64)
    return np.asarray(-masker.mask(0, nothing).astype(np.int64) % (1 << 32)).astype(np.uint32)


def _deliver(pair: Pair, seen: _Seen, name: str, frames: Frames) -> None:
    for side in pair.sides:
        seen.note(f"{name} to P{side.party}", CAMERA_CODEC.decode(frames), frames)
        side.from_camera(frames, pair.moment)


def _acknowledge(pair: Pair, seen: _Seen) -> None:
    """What the parties tell the cameras, as it leaves."""
    for side in pair.sides:
        told = len([link for link, _, _ in seen.traffic if link.startswith(f"P{side.party} to c")])
        for name, message in side.cameras[told:]:
            seen.note(f"P{side.party} to camera {name}", message, CAMERA_CODEC.encode(message))


@contextmanager
def _recorded_tags(seen: _Seen) -> Iterator[None]:
    """Keeps the tags of which each party reveals the least bits; P0's Deltas are the odd ones."""
    original = TagShares.bit_shares

    def recorded(self: TagShares) -> bytes:
        party = 1 - int(self.parts[0].deltas[0] & np.uint64(1))
        seen.tags[party].append(np.concatenate([part.tags for part in self.parts]))
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TagShares, "bit_shares", recorded)
        yield
