"""What an endurance run does and when. Times are seconds from its beginning."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from shared.params import Parameters, for_bounds
from shared.windowkeys import TAG_BYTES

MODEL = "dlib-resnet-v1"
THRESHOLD = 0.36
FACE_NORM = 2.30
ENTRY_NORM = 1.69
ROTATING = 4  # entries of the list that come and go
RETURNS = 3  # every so many changes an entry comes back that was on the list before
VECTORS = 24  # different ones among those
_DEADLINES: dict[str, float] = {
    # Generous: two cores do all roles' work, and perhaps more.
    "check_deadline": 60.0,
    "confirm_deadline": 30.0,
    "face_deadline": 180.0,
    "entry_deadline": 180.0,
    "peer_silence": 15.0,
    "clock_tolerance": 10.0,
    # Some seconds of faces: every check waits for a disk that is busy with material twice.
    "prepare_ahead": 1024,
    "check_slots": 1024,
    "reserve_block": 1024,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is laid out. rate: faces a second of all cameras; 0: as fast as it goes.

    slots_rate: faces a second that there are slots for. frame: faces of a frame.
    patience: so long after both parties' files were changed an old watchlist may still be seen.
    """

    minutes: float = 60.0
    rate: float = 300.0
    slots_rate: float = 330.0
    cameras: int = 4
    frame: int = 15
    dim: int = 128
    places: int = 50
    window_seconds: float = 600.0
    watchlist_seconds: float = 60.0
    restart_seconds: float = 300.0
    sample_seconds: float = 5.0
    rotate_seconds: float = 60.0
    patience: float = 60.0
    queue_mib: int = 8
    seed: int = 1
    limits: dict[str, float] = field(default_factory=lambda: dict(_DEADLINES))

    @property
    def names(self) -> tuple[str, ...]:
        """The cameras."""
        return tuple(f"camera-{number}" for number in range(1, self.cameras + 1))

    @property
    def seconds(self) -> float:
        """How long faces come: a little over, so that the last window changes as well."""
        return 60 * self.minutes + min(30.0, self.window_seconds / 10)

    @property
    def windows(self) -> int:
        """Windows that are at least begun."""
        return math.ceil(self.seconds / self.window_seconds)

    def window_slots(self, number: int) -> int:
        """Slots of a camera in a window, numbered from 0; the last one is short."""
        begins = number * self.window_seconds
        lasts = min(self.window_seconds, self.seconds - begins)
        return math.ceil(self.slots_rate / self.cameras * lasts) + 64 * self.frame + 1024

    @property
    def open_ahead(self) -> float:
        """Seconds before its beginning at which a window is opened, if its material is there."""
        return self.window_seconds / 2

    @property
    def base(self) -> int:
        """Entries that stay on the list: what the others leave of a window's places."""
        open_seconds = self.window_seconds + self.open_ahead  # a place is bound once it is open
        changes = math.ceil(open_seconds / self.watchlist_seconds) + 1
        if self.watchlist_seconds > self.seconds:
            changes = 0
        return self.places - ROTATING - changes

    @property
    def listed(self) -> int:
        """Entries on the list at any time."""
        return self.base + ROTATING

    def parameters(self) -> Parameters:
        """As the dealer makes them of its configuration."""
        return for_bounds(
            dim=self.dim,
            places=self.places,
            threshold=THRESHOLD,
            face_norm=FACE_NORM,
            entry_norm=ENTRY_NORM,
            model=MODEL,
        )

    def window_bytes(self) -> int:
        """Disk space of one window's material at both parties, about."""
        params = self.parameters()
        slot = 2 * params.slot_match_bytes + params.slot_prepare_bytes + 4 * TAG_BYTES
        return self.cameras * self.window_slots(0) * slot
