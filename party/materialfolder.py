"""The folder into which the dealer's files are put, while the party may be running."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shared.atomicfile import file_error, storage_error
from shared.errors import TwokeyError
from shared.materialheader import Header, read_header
from shared.windowkeys import Window

log = logging.getLogger(__name__)
SUFFIX = ".tkm"
_SETTLED_SECONDS = 2.0  # a file that nobody has written to for so long is there as a whole


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A material file and its header, not yet authenticated."""

    path: Path
    header: Header


class _Stamp(NamedTuple):
    modified_ns: int
    size: int
    inode: int


class MaterialFolder:
    """The material files below a folder. Headers are read once, and again when a file changes.

    A file that is not acceptable is reported once, and tried again when it is another one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Path, tuple[_Stamp, FoundFile | None]] = {}
        self._first = True

    def scan(self) -> tuple[dict[str, list[FoundFile]], TwokeyError | None]:
        """Files that may be opened, by window; and, at the first scan, the first error.

        Later errors are logged only, and a file that is being written is left for later.
        """
        result: dict[str, list[FoundFile]] = defaultdict(list)
        error: TwokeyError | None = None
        present: dict[Path, tuple[_Stamp, FoundFile | None]] = {}
        for path in sorted(self._folder.rglob(f"*{SUFFIX}")):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            except OSError as problem:  # a link to itself; one bad file is no reason to end
                if self._first:
                    log.error("%s", file_error(problem, "material file", path))
                continue
            stamp = _Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                if not self._first and time.time() - found.st_mtime < _SETTLED_SECONDS:
                    continue
                try:
                    known = (stamp, FoundFile(path, read_header(path).header))
                except TwokeyError as problem:
                    log.error("%s", problem)
                    error = error or (problem if self._first else None)
                    known = (stamp, None)
            present[path] = known
            if known[1] is not None:
                result[known[1].header.window.id].append(known[1])
        self._known = present
        self._first = False
        return result, error

    def refuse(self, files: Iterable[FoundFile]) -> None:
        """These are not offered again as they are."""
        for file in files:
            known = self._known.get(file.path)
            if known is not None:
                self._known[file.path] = (known[0], None)

    def windows(self) -> list[Window]:
        """The windows that there is acceptable material of, as far as is known."""
        return [found.header.window for _, found in self._known.values() if found is not None]


def remove(paths: Iterable[Path]) -> bool:
    """Removes files of a window that is over; False, and a record in the log, when one stays.

    Their names are gone when it returns. Their room follows on another thread: with gigabytes,
    and above all where the system tells the disk of what is free, it takes seconds.
    """
    handles = []
    all_gone = True
    for path in paths:
        with contextlib.suppress(OSError):
            handles.append(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s", storage_error(error, "material file", path))
            all_gone = False
    if handles:
        threading.Thread(target=_close, args=(handles,), name="removal", daemon=True).start()
    return all_gone


def _close(handles: Sequence[int]) -> None:
    for handle in handles:
        os.close(handle)
