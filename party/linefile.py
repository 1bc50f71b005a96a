"""A file of JSON lines that only grows, whole lines at a time."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import orjson

from shared.atomicfile import storage_error
from shared.errors import FormatError

_TAIL = 16 << 20  # where the last whole line is looked for
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_BEGINNING = b'{"sequence":'
_KIND = "event lines"
_log = logging.getLogger(__name__)


class LineFile:
    """An open file of numbered JSON lines; a file that was moved away is begun anew.

    `sync` may be called from any thread, the rest from one at a time. Opening raises
    ResourceError; FormatError where the file holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self._change = threading.Lock()  # of the handle
        self._open()

    def last_sequence(self) -> int | None:
        """The number of the last whole line, None where there is none; cuts off what follows."""
        size = os.fstat(self._handle).st_size
        start = max(0, size - _TAIL)
        tail = os.pread(self._handle, size - start, start)
        end = len(tail)
        while (end := tail.rfind(b"\n", 0, end)) >= 0:
            sequence = _sequence(tail[tail.rfind(b"\n", 0, end) + 1 : end])
            if sequence is not None:
                os.ftruncate(self._handle, start + end + 1)
                return sequence
        if b"\n" not in tail and tail[: len(_BEGINNING)] == _BEGINNING[: len(tail)]:
            os.ftruncate(self._handle, 0)  # the first line, cut short
            return None
        raise FormatError(f"{_KIND} {self._path}: found no event at its end")

    @property
    def inode(self) -> int:
        """Tells this file from one that was put in its place."""
        return os.fstat(self._handle).st_ino

    def append(self, lines: Sequence[str]) -> bool:
        """Whether all lines were written; if not, none was, and a warning is logged."""
        data = "".join(lines).encode()
        if not data:
            return True
        try:
            self._follow_rotation()
            size = os.fstat(self._handle).st_size
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
            except OSError:
                os.ftruncate(self._handle, size)
                raise
        except OSError as error:
            _log.warning("%s: they follow later", storage_error(error, _KIND, self._path))
            return False
        return True

    def sync(self) -> None:
        """Makes the lines durable. Raises DiskFull, ResourceError."""
        try:
            with self._change:
                handle = os.dup(self._handle)  # this one stays open while the disk takes its time
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise storage_error(error, _KIND, self._path) from error

    def close(self) -> None:
        """Closing twice is no error."""
        with self._change:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1

    def _open(self) -> None:
        try:
            self._handle = _regular(self._path)
        except OSError as error:
            raise storage_error(error, _KIND, self._path) from error

    def _follow_rotation(self) -> None:
        own = os.fstat(self._handle)
        try:
            found = os.stat(self._path)
            same = (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)
        except FileNotFoundError:
            same = False
        if not same:
            os.fdatasync(self._handle)  # nobody will come back to it
            following = _regular(self._path)
            with self._change:
                os.close(self._handle)
                self._handle = following


def _regular(path: Path) -> int:
    """The file, made where there is none. A pipe that nobody reads would hold everything up."""
    handle = os.open(path, _FLAGS, 0o600)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file")
    return handle


def _sequence(line: bytes) -> int | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    sequence = found.get("sequence") if isinstance(found, dict) else None
    return sequence if type(sequence) is int else None
