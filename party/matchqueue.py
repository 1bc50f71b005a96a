"""P0's faces on their way into a batch: pure bookkeeping, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable, Generator

from party.intake import HeldFaces
from shared.messages import Run


class MatchQueue:
    """What only P1 holds, what both hold, and what of that waits for its slots to be prepared."""

    def __init__(self) -> None:
        self._told: dict[Run, bytes] = {}
        self._both: dict[Run, HeldFaces] = {}
        self._unprepared: dict[Run, HeldFaces] = {}
        self.faces = 0  # in messages that may be matched

    def __len__(self) -> int:
        return len(self._told) + len(self._both) + len(self._unprepared)

    def told(self, run: Run, digest: bytes) -> None:
        """P1 holds a message that is not here yet."""
        self._told[run] = digest

    def digest_of(self, run: Run) -> bytes | None:
        """The digest that P1 told of a message that is not here yet."""
        return self._told.get(run)

    def add(self, held: HeldFaces) -> None:
        """Both hold the same message now."""
        self._told.pop(held.run, None)
        if held.run not in self._unprepared and held.run not in self._both:
            self._both[held.run] = held
            self.faces += held.run.length

    def discard(self, run: Run) -> None:
        """The message is matched, burned, or not the same on both sides."""
        self._told.pop(run, None)
        self._unprepared.pop(run, None)
        if self._both.pop(run, None) is not None:
            self.faces -= run.length

    def clear(self) -> None:
        """The session has ended: P1 tells again what it holds."""
        for part in (self._told, self._both, self._unprepared):
            part.clear()
        self.faces = 0

    def try_again(self) -> None:
        """Slots were prepared, or the place map changed."""
        if self._unprepared:
            self._both = {**self._unprepared, **self._both}
            self.faces += sum(run.length for run in self._unprepared)
            self._unprepared = {}

    def prune(self, finished: Callable[[Run], bool]) -> None:
        """Forgets what P1 told of slots that are finished here."""
        for run in [run for run in self._told if finished(run)]:
            del self._told[run]

    def candidates(
        self, prepared: Callable[[HeldFaces], int]
    ) -> Generator[tuple[HeldFaces, int], None, None]:
        """Messages that can be matched, oldest first, each with the mask of its prepared places.

        prepared: that mask; 0 while the slots are not ready, negative when the message is gone.
        """
        apart: list[Run] = []
        gone: list[Run] = []
        try:
            for run, held in self._both.items():
                mask = prepared(held)
                if mask > 0:
                    yield held, mask
                else:
                    (gone if mask < 0 else apart).append(run)
        finally:
            for run in apart:
                self._unprepared[run] = self._both.pop(run)
            for run in gone:
                del self._both[run]
            self.faces -= sum(run.length for run in (*apart, *gone))
