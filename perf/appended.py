"""Waits, without polling, until lines are appended to files (inotify)."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from shared.errors import ResourceError

_MODIFY = 0x2
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Appended:
    """Files that others append lines to. Use as a context manager."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]
        self._at = [os.fstat(file).st_size for file in self._files]
        self._watch = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._watch < 0:
            raise ResourceError(f"inotify: {os.strerror(ctypes.get_errno())}")
        for path in paths:
            if _libc.inotify_add_watch(self._watch, os.fsencode(path), _MODIFY) < 0:
                raise ResourceError(f"inotify: {path}: {os.strerror(ctypes.get_errno())}")

    def wait_lines(self, lines: int, seconds: float) -> None:
        """Until every file has so many more lines than after the last call. ResourceError."""
        left = [lines] * len(self._files)
        deadline = time.monotonic() + seconds
        while True:
            for index, file in enumerate(self._files):
                while left[index] > 0:
                    found = os.pread(file, 1 << 20, self._at[index])
                    end = found.rfind(b"\n") + 1
                    if end == 0:
                        break
                    self._at[index] += end
                    left[index] -= found.count(b"\n", 0, end)
            if not any(rest > 0 for rest in left):
                return
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([self._watch], [], [], wait)[0]:
                raise ResourceError(f"{lines} lines were not appended in {seconds:.0f} s")
            os.read(self._watch, 64 * _EVENT.size)

    def __enter__(self) -> Appended:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in (self._watch, *self._files):
            os.close(handle)
