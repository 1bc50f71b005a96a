"""Messages on their way to the peer, in order; some wait for the disk, and so do all after them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from party.diskthread import DiskThread
from shared.errors import TwokeyError
from shared.messages import PartyMessage


class Outgoing:
    """Sends at once, but for what follows a `barrier` that the disk has not confirmed.

    sync: makes all that was written durable. send: hands a message to the network. held: what
    waits for the disk.
    """

    def __init__(self, sync: Callable[[], None], send: Callable[[PartyMessage], None]) -> None:
        self._sync = sync
        self._send = send
        self._disk: DiskThread[None] = DiskThread(sync, "sync-peer")
        self.held: deque[PartyMessage | None] = deque()  # None: a barrier

    @property
    def error(self) -> TwokeyError | None:
        """Why the disk can no longer be relied on, if so."""
        return self._disk.error

    def put(self, message: PartyMessage) -> None:
        """The next message."""
        if self.held:
            self.held.append(message)
        else:
            self._send(message)

    def barrier(self) -> None:
        """What is put from here on leaves when all that is written by now is durable."""
        if not self.held:
            self._disk.ask(None)
        self.held.append(None)

    def advance(self) -> None:
        """Sends what need not wait any longer; waits for nothing."""
        for _ in self._disk.confirmed():
            self.held.popleft()
            self._release()

    def finish(self) -> None:
        """Waits for the disk until all is sent; nothing is to be put any more.

        Raises what the disk answers.
        """
        self._disk.close()
        if self.error is not None:
            raise self.error
        self.advance()
        if self.held:  # behind further barriers
            self._sync()
            for message in self.held:
                if message is not None:
                    self._send(message)
            self.held.clear()

    def close(self) -> None:
        """Ends the thread; what is held back is never sent."""
        self._disk.close()

    def _release(self) -> None:
        """Sends up to the next barrier, and asks for that one."""
        while self.held:
            message = self.held[0]
            if message is None:
                self._disk.ask(None)
                return
            self.held.popleft()
            self._send(message)
