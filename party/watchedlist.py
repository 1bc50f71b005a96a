"""The watchlist file of a running party, read again when it changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from shared import watchlist
from shared.errors import InputError
from shared.params import Parameters
from shared.watchlist import Entry


class WatchedList:
    """The watchlist file, read again when it changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._list = watchlist.load(path)
        self._stamp = self._look()

    def describe(self) -> str:
        """For the audit log: which list is in force, without a name."""
        content = watchlist.encode(self._list)
        return f"{self.size} entries, digest {hashlib.sha256(content).hexdigest()}"

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self._list.people)

    def entries(self, params: Parameters) -> tuple[Entry, ...]:
        """The entries for a window of these parameters. Raises InputError, naming the file."""
        try:
            return self._list.entries(params)
        except InputError as error:
            raise type(error)(f"watchlist {self._path}: {error}") from None

    def changed(self, wanted: Iterable[Parameters]) -> bool:
        """Reads the file again if it is another one now; it must fit all windows that are open.

        Raises InputError and its kin; then the former list stays.
        """
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        found = watchlist.load(self._path)
        for params in wanted:
            found.entries(params)
        self._list = found
        return True

    def _look(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise InputError(f"watchlist {self._path}: {error.strerror}") from None
        return (found.st_mtime_ns, found.st_size, found.st_ino)
