"""What the peer has to answer, and until when (protocol section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shared.errors import PeerVanished


class Awaited(Protocol):
    """An exchange that waits for the peer's next message. deadline: monotonic seconds."""

    deadline: float


def refuse_late(what: str, awaited: Mapping[int, Awaited], seconds: float) -> None:
    """Raises PeerVanished when one of these is overdue; they go by number."""
    for number, exchange in awaited.items():
        if seconds > exchange.deadline:
            raise PeerVanished(f"{what} {number}: no answer in time")
