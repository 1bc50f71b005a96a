"""Faces that a party holds: accepted from cameras, not yet in a batch (protocol section 3)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from party.matching import TagPart
from party.material import PartySet
from shared.codec import Buffer
from shared.errors import FormatError, HeaderMismatch, ResourceError, SlotReused
from shared.hashing import digest
from shared.intervals import Intervals
from shared.messages import Faces, Run

_LOOK = 256
_ONE_MESSAGE = 1024  # faces that a camera sends together at most: it may always bring these


@dataclass(slots=True)
class HeldFaces:
    """One camera message. times: (faces,) uint64 ms; masked: e, (faces, d + 1) uint32.

    tags: once evaluated, for the used places, with the digest of their place map; of use at
    tags_places only, a mask: at the others kappa was not known then.
    """

    run: Run
    owner: PartySet
    times: NDArray[np.uint64]
    masked: NDArray[np.uint32] = field(repr=False)
    digest: bytes
    since: float
    tags: TagPart | None = field(default=None, repr=False)
    tags_map: bytes = b""
    tags_places: int = 0

    def evaluated(self, places: int, place_map: bytes) -> bool:
        """Whether the tags at these places, a mask, are there under this map."""
        return (
            self.tags is not None and self.tags_map == place_map and not places & ~self.tags_places
        )


class Intake:
    """All held faces of a window, by set and first slot, in the order of arrival.

    limit: of faces, shared out evenly over the cameras: one that floods does not shut others out.
    """

    def __init__(self, limit: int, cameras: int) -> None:
        self._share = max(limit // max(cameras, 1), min(limit, _ONE_MESSAGE))
        self._held: dict[tuple[bytes, int], HeldFaces] = {}
        self._slots: dict[bytes, Intervals] = {}
        self._firsts: dict[bytes, list[int]] = {}  # of each set's messages, ascending
        self._unevaluated: dict[tuple[bytes, int], HeldFaces] = {}
        self.faces = 0

    def add(self, faces: HeldFaces) -> bool:
        """Takes the faces in; False when they are here already (a resend).

        Raises SlotReused for other bytes on a held slot, ResourceError when its camera's share
        is full.
        """
        run = faces.run
        key = (run.set_id, run.first)
        slots = self._slots.setdefault(run.set_id, Intervals())
        if slots.intersects(run.first, run.length):
            held = self._held.get(key)
            if held is not None and held.digest == faces.digest:
                return False
            raise SlotReused(
                f"camera {faces.owner.name.camera}: slots {run.first} to {run.stop - 1} hold "
                "other faces already"
            )
        if slots.total + run.length > self._share:
            raise ResourceError(
                f"camera {faces.owner.name.camera}: {slots.total} faces are held, its share is "
                f"{self._share}"
            )
        self._held[key] = faces
        self._unevaluated[key] = faces
        slots.add(run.first, run.length)
        insort(self._firsts.setdefault(run.set_id, []), run.first)
        self.faces += run.length
        return True

    @property
    def unevaluated(self) -> bool:
        """Whether there may be messages that nobody has evaluated."""
        return bool(self._unevaluated)

    def get(self, run: Run) -> HeldFaces | None:
        """The held message of exactly this run."""
        held = self._held.get((run.set_id, run.first))
        return held if held is not None and held.run.length == run.length else None

    def remove(self, run: Run) -> HeldFaces | None:
        """Takes the message of this run out."""
        held = self.get(run)
        if held is not None:
            del self._held[(run.set_id, run.first)]
            self._unevaluated.pop((run.set_id, run.first), None)
            self._slots[run.set_id].subtract(run.first, run.length)
            firsts = self._firsts[run.set_id]
            del firsts[bisect_left(firsts, run.first)]
            self.faces -= run.length
        return held

    def take_unevaluated(
        self, faces: int, prepared: Callable[[HeldFaces], bool]
    ) -> list[HeldFaces]:
        """Messages of about so many faces that nobody has evaluated, oldest first.

        Those that are not prepared yet are looked at again later, a bounded number a call.
        """
        chosen: list[HeldFaces] = []
        for key, held in list(islice(self._unevaluated.items(), _LOOK)):
            if faces <= 0:
                break
            del self._unevaluated[key]
            if held.tags is not None:
                continue
            if prepared(held):
                chosen.append(held)
                faces -= held.run.length
            else:
                self._unevaluated[key] = held
        return chosen

    def overlapping(self, run: Run) -> list[HeldFaces]:
        """Held messages with a slot in this run."""
        firsts = self._firsts.get(run.set_id, [])
        begin = max(bisect_right(firsts, run.first) - 1, 0)  # it may reach into the run
        found = []
        for first in firsts[begin : bisect_left(firsts, run.stop)]:
            held = self._held[(run.set_id, first)]
            if run.first < held.run.stop:
                found.append(held)
        return found

    def highest(self, set_id: bytes) -> int:
        """The slot after the highest one held of a set."""
        slots = self._slots.get(set_id)
        return slots.stop if slots is not None else 0

    def __iter__(self) -> Iterator[HeldFaces]:
        return iter(self._held.values())

    def __len__(self) -> int:
        return len(self._held)


def parse_faces(message: Faces, frames: list[Buffer], owner: PartySet, now: float) -> HeldFaces:
    """A camera's message as held faces. Raises HeaderMismatch or FormatError, naming what differs.

    frames: the message's wire frames, for its digest.
    """
    name, params = owner.name, owner.params
    for what, found, expected in (
        ("window", message.window, name.window),
        ("camera", message.camera, name.camera),
        ("mint id", message.mint_id.hex(), name.mint_id.hex()),
        ("parameters", message.params.hex(), params.digest().hex()),
    ):
        if found != expected:
            raise HeaderMismatch(f"faces: found {what} {found:.40}, expected {expected:.40}")
    times = np.frombuffer(message.times, dtype="<u8")
    masked = np.frombuffer(message.masked, dtype="<u4")
    if len(times) > _ONE_MESSAGE:
        raise FormatError(
            f"faces: found {len(times)} in one message, expected at most {_ONE_MESSAGE}"
        )
    if len(times) == 0 or masked.size != len(times) * params.coordinates:
        raise FormatError(
            f"faces: found {len(times)} times and {masked.size} masked values, expected "
            f"{params.coordinates} values a face"
        )
    if message.first + len(times) > owner.slots:
        raise HeaderMismatch(
            f"faces: found slots {message.first} to {message.first + len(times) - 1}, expected "
            f"slots below {owner.slots}"
        )
    return HeldFaces(
        Run(owner.set_id, message.first, len(times)),
        owner,
        times,
        masked.reshape(len(times), params.coordinates),
        digest("faces", *frames),
        now,
    )
