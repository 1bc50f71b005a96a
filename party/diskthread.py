"""A thread that waits for the disk, so that no face and no peer does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Generic, TypeVar

from shared.errors import TwokeyError

T = TypeVar("T")


class DiskThread(Generic[T]):
    """Makes durable what was written, again and again; and says for whom it has.

    sync: makes all that was written before the call durable; raises a typed error. error: why the
    disk can no longer be relied on, if so.
    """

    def __init__(self, sync: Callable[[], None], name: str) -> None:
        self._sync = sync
        self._wishes: SimpleQueue[tuple[T] | None] = SimpleQueue()
        self._durable: SimpleQueue[T] = SimpleQueue()
        self.under_way = 0
        self.error: TwokeyError | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def ask(self, wish: T) -> None:
        """`confirmed` will give this when all that is written now is durable."""
        self.under_way += 1
        self._wishes.put((wish,))

    def confirmed(self) -> Iterator[T]:
        """What was asked for and is durable by now, in order; waits for nothing."""
        while not self._durable.empty():
            self.under_way -= 1
            yield self._durable.get()

    def close(self) -> None:
        """Waits until all that was asked for is durable, or the disk has failed; ends the thread.

        Twice is no error.
        """
        if self._thread.is_alive():
            self._wishes.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (wish := self._wishes.get()) is not None:
            try:
                self._sync()
            except TwokeyError as error:
                self.error = error
                return
            self._durable.put(wish[0])
