"""Bytes and messages between the parties, by phase, as they are on the wire before encryption."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.codec import Buffer
from shared.messages import (
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
)

_PHASES: dict[type[PartyMessage], str] = {
    Prep0: "prepare",
    Prep1: "prepare",
    Prep2: "prepare",
    Prep3: "prepare",
    Prep4: "prepare",
    Reveal0: "online",
    Reveal1: "online",
    Confirm0: "online",
    Confirm1: "online",
}


@dataclass(slots=True)
class WireCounters:
    """What this party sent, per phase (prepare, online, other); and all bytes it received.

    Without the 16 bytes by which each message is numbered.
    """

    bytes_sent: dict[str, int] = field(
        default_factory=lambda: {"prepare": 0, "online": 0, "other": 0}
    )
    messages_sent: dict[str, int] = field(
        default_factory=lambda: {"prepare": 0, "online": 0, "other": 0}
    )
    bytes_received: int = 0

    def sent(self, kind: type[PartyMessage], frames: list[Buffer]) -> None:
        """Counts a message that leaves."""
        phase = _PHASES.get(kind, "other")
        self.bytes_sent[phase] += frame_bytes(frames)
        self.messages_sent[phase] += 1

    def received(self, frames: list[Buffer]) -> None:
        """Counts a message that came."""
        self.bytes_received += frame_bytes(frames)

    def as_map(self) -> dict[str, object]:
        """For the status file."""
        return {
            "bytes_sent": self.bytes_sent,
            "messages_sent": self.messages_sent,
            "bytes_received": self.bytes_received,
        }


def frame_bytes(frames: list[Buffer]) -> int:
    """The sum of the frames' lengths."""
    return sum(f.nbytes if isinstance(f, memoryview) else len(f) for f in frames)
