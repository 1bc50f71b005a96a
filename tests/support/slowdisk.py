"""A disk that confirms a sync when it is told to, and not before."""

from __future__ import annotations

import threading

from shared.errors import ResourceError


class SlowDisk:
    """asked: set at the first sync. syncs: how many were asked for. error: what they end in."""

    def __init__(self) -> None:
        self._permits = threading.Semaphore(0)
        self.asked = threading.Event()
        self.syncs = 0
        self.error: ResourceError | None = None

    def allow(self, syncs: int = 1) -> None:
        """So many more syncs come to their end."""
        self._permits.release(syncs)

    def sync(self) -> None:
        """Waits for a permit. Raises `error`."""
        self.syncs += 1
        self.asked.set()
        assert self._permits.acquire(timeout=10)
        if self.error is not None:
            raise self.error
