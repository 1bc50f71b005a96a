"""A large file under a temporary name, reserved at its full size, moved into place when whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from shared.atomicfile import file_error, sync_folder
from shared.errors import InputError

TEMPORARY_SUFFIX = ".part"


class ReservedFile:
    """One file on its way to `path`; threads may write different parts.

    what: what it is called in messages. size: its bytes. All methods raise DiskFull when the disk
    is full; a full disk is found at the beginning and not after an hour.
    """

    def __init__(self, path: Path, size: int, what: str) -> None:
        self.path = path
        self._what = what
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{TEMPORARY_SUFFIX}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._handle = os.open(self._temporary, flags, 0o644)
        except OSError as error:
            raise file_error(error, what, path) from None
        try:
            os.posix_fallocate(self._handle, 0, size)
        except OSError as error:
            self.abandon()
            raise file_error(error, what, path) from None

    def write(self, content: memoryview, offset: int) -> None:
        """Writes bytes at a place of their own."""
        done = 0
        while done < len(content):
            try:
                done += os.pwrite(self._handle, content[done:], offset + done)
            except OSError as error:
                raise file_error(error, self._what, self.path) from None

    def flush(self) -> None:
        """Makes what is written so far durable."""
        try:
            os.fdatasync(self._handle)
        except OSError as error:
            raise file_error(error, self._what, self.path) from None

    def finish(self) -> None:
        """Makes the file durable under its temporary name."""
        self.flush()
        try:
            os.close(self._handle)
            self._handle = -1
        except OSError as error:
            raise file_error(error, self._what, self.path) from None

    def commit(self) -> None:
        """Moves the finished file into its place, which `sync` makes durable."""
        if self._handle >= 0:
            raise InputError(f"{self._what} {self.path}: not finished")
        try:
            self._temporary.rename(self.path)
        except OSError as error:
            raise file_error(error, self._what, self.path) from None

    def sync(self) -> None:
        """Makes the move durable."""
        try:
            sync_folder(self.path.parent)
        except OSError as error:
            raise file_error(error, "material folder", self.path.parent) from None

    def abandon(self) -> None:
        """Closes and removes the temporary file, if it is still there."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        with contextlib.suppress(OSError):
            self._temporary.unlink()
