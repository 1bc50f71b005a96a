"""What stores need from time to time, on a thread of its own so that no peer waits for a disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from shared.errors import TwokeyError

log = logging.getLogger(__name__)
SECONDS = 1.0


class Upkeep:
    """Calls every task once a second until it is closed. error: what ended it, if anything did."""

    def __init__(self, *tasks: Callable[[], None]) -> None:
        self._tasks = tasks
        self._stop = threading.Event()
        self.error: TwokeyError | None = None
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Waits for the task that runs now; no other one begins."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SECONDS):
            for task in self._tasks:
                if self._stop.is_set():
                    return
                try:
                    task()
                except TwokeyError as error:
                    log.error("upkeep: %s", error)
                    self.error = error
                    return
