"""What a session hands to the process around it, and the limits that it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.messages import CameraMessage, PartyMessage

_OPENINGS = 1 << 16
_COMPARISONS = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines in seconds, sizes in slots or faces, counts for a window."""

    check_deadline: float = 10.0
    confirm_deadline: float = 5.0
    face_deadline: float = 30.0
    entry_deadline: float = 60.0
    peer_silence: float = 5.0
    clock_tolerance: float = 5.0
    prepare_ahead: int = 64
    check_slots: int = 256
    checks_in_flight: int = 4
    batch_faces: int = 1024
    batches_in_flight: int = 4
    held_faces: int = 65_536
    reserve_block: int = 256
    outages: int = 20
    prepare_attempts: int = 10_000

    @property
    def grace(self) -> float:
        """Seconds after a window's end in which its last batches may still be confirmed."""
        return self.clock_tolerance + self.confirm_deadline

    def slots_per_check(self, places: int) -> int:
        """Slots in one check, so that memory does not grow with the places in use."""
        return max(1, min(self.check_slots, _OPENINGS // max(places, 1)))

    def faces_per_batch(self, places: int) -> int:
        """Faces in one batch, so that memory does not grow with the places in use."""
        return min(self.batch_faces, most_faces(places))


def most_faces(places: int) -> int:
    """Faces in a batch of several messages, whatever the parties have configured."""
    return max(1, _COMPARISONS // max(places, 1))


def _nobody() -> None:
    """Nobody takes messages early: they lie in the outbox until the step ends."""


@dataclass(slots=True)
class Outbox:
    """Messages that a step of a session produced, in order.

    random: fresh random bytes. barrier: what comes after it leaves when all that is written by now
    is durable. deliver: sends the peer what lies here, before the step ends.
    """

    random: Callable[[int], bytes]
    barrier: Callable[[], None]
    deliver: Callable[[], None] = _nobody
    peer: list[PartyMessage] = field(default_factory=list)
    cameras: list[tuple[str, CameraMessage]] = field(default_factory=list)

    def take_peer(self) -> list[PartyMessage]:
        """The peer's messages, which are then gone from here."""
        taken, self.peer = self.peer, []
        return taken

    def take_cameras(self) -> list[tuple[str, CameraMessage]]:
        """The cameras' messages, which are then gone from here."""
        taken, self.cameras = self.cameras, []
        return taken
