"""Outcomes on their way to the cameras, which may forget a face once they have them.

They are told when stable storage has them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from party.diskthread import DiskThread
from shared.errors import TwokeyError
from shared.messages import FaceAck, Outcome

# One sync of the disk, and one message a camera, serve all that was gathered: longer while that is
# only a few faces a camera.
GATHER_SECONDS = 0.02
FEW_FACES = 4
LONGEST_SECONDS = 0.1
MOST_OUTCOMES = 10_000  # in one message, which a camera takes up to a MiB

_Waiting = dict[tuple[str, str, bytes], list[Outcome]]


class Acknowledgements:
    """Gathers outcomes, has them made durable, and then tells each camera its own.

    sync: makes all that was recorded before the call durable; raises a typed error. tell: sends a
    camera its message.
    """

    def __init__(self, sync: Callable[[], None], tell: Callable[[str, FaceAck], None]) -> None:
        self._sync = sync
        self._tell = tell
        self._waiting: _Waiting = defaultdict(list)
        self._faces = 0
        self._since = 0.0
        self._disk: DiskThread[_Waiting] = DiskThread(sync, "sync")

    @property
    def error(self) -> TwokeyError | None:
        """Why the disk can no longer be relied on, if so."""
        return self._disk.error

    def add(self, camera: str, ack: FaceAck, seconds: float) -> None:
        """An outcome that is recorded; seconds: now, monotonic."""
        if not self._waiting:
            self._since = seconds
        self._waiting[ack.window, camera, ack.mint_id] += ack.outcomes
        self._faces += sum(outcome.length for outcome in ack.outcomes)

    def advance(self, seconds: float) -> None:
        """Asks for the disk when it is time, and tells what is durable; waits for nothing."""
        if self._disk.under_way:
            for told in self._disk.confirmed():
                self._tell_all(told)
        if not self._waiting or self._disk.under_way:
            return
        few = self._faces < FEW_FACES * len(self._waiting)
        if seconds - self._since > (LONGEST_SECONDS if few else GATHER_SECONDS):
            self._disk.ask(self._take())

    def finish(self) -> None:
        """Waits until all is durable and told. Raises what the disk answers."""
        self._disk.close()
        if self.error is not None:
            raise self.error
        for told in self._disk.confirmed():
            self._tell_all(told)
        if self._waiting:
            self._sync()
            self._tell_all(self._take())

    def close(self) -> None:
        """Ends the thread; what is not told by then, cameras ask for again."""
        self._disk.close()

    def _take(self) -> _Waiting:
        taken, self._waiting, self._faces = self._waiting, defaultdict(list), 0
        return taken

    def _tell_all(self, waiting: _Waiting) -> None:
        for (window, camera, mint_id), outcomes in waiting.items():
            for first in range(0, len(outcomes), MOST_OUTCOMES):
                part = tuple(outcomes[first : first + MOST_OUTCOMES])
                self._tell(camera, FaceAck(window, camera, mint_id, part))
