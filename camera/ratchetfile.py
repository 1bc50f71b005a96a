"""The current ratchet state of a set, in a small file that is erased behind (protocol section 4).

A database keeps old content in its log; here the former state is overwritten in place as soon as
the next one is on stable storage. (What a flash drive keeps of overwritten blocks is beyond a
program's reach: put the folder on an encrypted disk.)
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

from shared.atomicfile import PRIVATE, check_private, storage_error, sync_folder
from shared.errors import FormatError, InputError

_HEADER = struct.Struct("<8sQI")  # magic, ratchet block, bytes of state
_MAGIC = b"tk-ratch"
_CHECK = 16
_SIDE = 4096  # each side is a disk block of its own
_MOST = 1024
_KIND = "ratchet file"
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class RatchetState:
    """The number of a ratchet block (encodings E2), and the states from which its keys come."""

    block: int
    state: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.block < 1 << 32 or not 0 < len(self.state) <= _MOST:
            raise InputError(
                f"ratchet state: found block {self.block} with {len(self.state)} bytes, "
                f"expected a u32 and 1 to {_MOST} bytes"
            )


class RatchetFile:
    """An open file of two sides, of which one holds the state and the other is blank.

    Raises DiskFull, ResourceError; FormatError at opening when no side is sound.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle = handle
        self._side, self.current = self._settle()

    @classmethod
    def create(cls, path: Path, first: RatchetState) -> RatchetFile:
        """A new file, durable. One of an adoption that was never completed is overwritten."""
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, PRIVATE)
        except OSError as error:
            raise storage_error(error, _KIND, path) from error
        try:
            os.fchmod(handle, PRIVATE)
            _write(handle, _pack(first).ljust(2 * _SIDE, b"\0"), 0)
            sync_folder(path.parent)
            return cls(path, handle)
        except BaseException as error:
            os.close(handle)
            raise _typed(error, path) from error

    @classmethod
    def open(cls, path: Path) -> RatchetFile:
        """An existing file. Raises ConfigError when others may read or write it, or for a link."""
        try:
            handle = os.open(path, os.O_RDWR | _FLAGS)
        except OSError as error:
            raise storage_error(error, _KIND, path) from error
        try:
            check_private(handle, _KIND, path)
            return cls(path, handle)
        except BaseException as error:
            os.close(handle)
            raise _typed(error, path) from error

    def advance(self, following: RatchetState) -> None:
        """Durable: stores the new state, then overwrites the former one."""
        if following.block <= self.current.block:
            raise InputError(
                f"ratchet: found block {following.block} after block {self.current.block}"
            )
        other = 1 - self._side
        try:
            _write(self._handle, _pack(following).ljust(_SIDE, b"\0"), other * _SIDE)
            self._side, former, self.current = other, self._side, following
            _write(self._handle, bytes(_SIDE), former * _SIDE)
        except OSError as error:
            raise storage_error(error, _KIND, self._path) from error

    def erase(self) -> None:
        """Overwrites and removes the file."""
        self.close()
        erase(self._path)

    def close(self) -> None:
        """Closing twice is no error."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _settle(self) -> tuple[int, RatchetState]:
        """The side with the later state; blanks the other one, which a crash may have left."""
        data = os.pread(self._handle, 2 * _SIDE, 0)
        sides = [_unpack(data[start : start + _SIDE]) for start in (0, _SIDE)]
        found = [(side, state) for side, state in enumerate(sides) if state is not None]
        if not found:
            raise FormatError(f"{_KIND} {self._path}: found no sound state")
        side, state = max(found, key=lambda one: one[1].block)
        former = data[(1 - side) * _SIDE :][:_SIDE]
        if former.strip(b"\0"):
            _write(self._handle, bytes(_SIDE), (1 - side) * _SIDE)
        return side, state


def erase(path: Path) -> None:
    """Overwrites and removes a ratchet file, sound or not."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            _write(handle, bytes(max(2 * _SIDE, os.fstat(handle).st_size)), 0)
        finally:
            os.close(handle)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, _KIND, path) from error


def _pack(state: RatchetState) -> bytes:
    content = _HEADER.pack(_MAGIC, state.block, len(state.state)) + state.state
    return content + hashlib.sha256(content).digest()[:_CHECK]


def _unpack(side: bytes) -> RatchetState | None:
    if len(side) < _SIDE:
        return None
    magic, block, length = _HEADER.unpack_from(side)
    if magic != _MAGIC or not 0 < length <= _MOST:
        return None
    end = _HEADER.size + length
    if hashlib.sha256(side[:end]).digest()[:_CHECK] != side[end : end + _CHECK]:
        return None
    return RatchetState(block, side[_HEADER.size : end])


def _write(handle: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(handle, data, offset)
        data, offset = data[written:], offset + written
    os.fsync(handle)


def _typed(error: BaseException, path: Path) -> BaseException:
    if isinstance(error, OSError):
        return storage_error(error, _KIND, path)
    return error
