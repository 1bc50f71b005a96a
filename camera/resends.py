"""What goes to a party once more, and when: bookkeeping without a clock (protocol section 5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Set

FIRST = 64
MOST = 1024


class Resends:
    """The messages that one party still owes an outcome for.

    A message is due `seconds` after it was sent last, the longest waiting first. Not all at once:
    a party that is behind would get still more to do. As many as were acknowledged, twice, may be
    out at a time; half as many after some were not.
    """

    def __init__(self, seconds: float, stored: Iterable[int] = ()) -> None:
        self._seconds = seconds
        self._never = deque(stored)  # by this process
        self._sent: dict[int, float] = {}  # when last, the longest ago first
        self._again: dict[int, float] = {}
        self._allowed = FIRST

    def sent(self, number: int, now: float) -> None:
        """The message is on its way."""
        self._sent.pop(number, None)
        self._sent[number] = now

    def keep(self, owed: Set[int]) -> None:
        """All others have their outcome."""
        for number in [number for number in self._sent if number not in owed]:
            del self._sent[number]
            if self._again.pop(number, None) is not None:
                self._allowed = min(self._allowed + 1, MOST)

    def due(self, now: float) -> list[int]:
        """What is to be sent again now; it counts as sent."""
        late = [number for number, at in self._again.items() if now - at >= self._seconds]
        if late:
            self._allowed = max(FIRST, self._allowed // 2)
            for number in late:
                del self._again[number]
        found: list[int] = []
        while len(self._again) < self._allowed:
            following = self._next(now)
            if following is None:
                break
            self.sent(following, now)
            self._again[following] = now
            found.append(following)
        return found

    def _next(self, now: float) -> int | None:
        if self._never:
            return self._never.popleft()
        for number, at in self._sent.items():
            return number if now - at >= self._seconds else None
        return None
