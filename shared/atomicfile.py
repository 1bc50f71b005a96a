"""Small files written whole or not at all, and private files that only their owner may read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from shared.errors import ConfigError, DiskFull, InputError, ResourceError, TwokeyError

PRIVATE = 0o600
PUBLIC = 0o644
SMALL_FILE_LIMIT = 1 << 20


def file_error(error: OSError, what: str, path: Path) -> TwokeyError:
    """The typed error of a failed system call on a file that somebody gave."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ConfigError(f"{what} {path}: not found")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.EROFS):
        return ConfigError(f"{what} {path}: {error.strerror}")
    return storage_error(error, what, path)


def storage_error(error: OSError, what: str, path: Path) -> TwokeyError:
    """The typed error of a failed system call on a file of our own: never an input's fault."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFull(f"{what} {path}: no space left")
    return ResourceError(f"{what} {path}: {error.strerror or type(error).__name__}")


def open_given(path: Path, what: str) -> int:
    """A handle to read a file that somebody gave, or a link to one.

    Raises ConfigError, also for what is no regular file: a pipe would be waited for without end.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise file_error(error, what, path) from None
    try:
        _check_regular(os.fstat(handle), what, path)
    except ConfigError:
        os.close(handle)
        raise
    return handle


def open_input(path: Path, what: str) -> BinaryIO:
    """As `open_given`, as a file object."""
    return os.fdopen(open_given(path, what), "rb")


def read_small(path: Path, what: str, limit: int = SMALL_FILE_LIMIT) -> bytes:
    """The whole content. Raises ConfigError when it is not there, InputError above `limit`."""
    try:
        with open_input(path, what) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise file_error(error, what, path) from None
    if len(content) > limit:
        raise InputError(f"{what} {path}: found over {limit} bytes, expected a small file")
    return content


def read_private(path: Path, what: str) -> bytes:
    """As `read_small`, for a regular file (no link) that nobody else may read or write.

    Raises ConfigError for any permission beyond 0600.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise file_error(error, what, path) from None
    try:
        check_private(handle, what, path)
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(SMALL_FILE_LIMIT + 1)
    except OSError as error:
        raise file_error(error, what, path) from None
    finally:
        os.close(handle)
    if len(content) > SMALL_FILE_LIMIT:
        raise InputError(f"{what} {path}: found over {SMALL_FILE_LIMIT} bytes")
    return content


def check_private(handle: int, what: str, path: Path) -> None:
    """Raises ConfigError unless the open file is a regular one for its owner alone (0600)."""
    found = os.fstat(handle)
    _check_regular(found, what, path)
    mode = stat.S_IMODE(found.st_mode)
    if mode & ~PRIVATE:
        raise ConfigError(f"{what} {path}: found permissions {mode:04o}, expected 0600")


def _check_regular(found: os.stat_result, what: str, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{what} {path}: not a regular file")


def write_atomic(
    path: Path,
    content: bytes | Iterable[bytes],
    what: str,
    *,
    mode: int,
    replace: bool,
    durable: bool = True,
) -> None:
    """Writes a file under a temporary name, fsyncs it if `durable`, and moves it into place.

    content: all of it, or its pieces. With `replace` False an existing file stays and ConfigError
    is raised. Raises DiskFull.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, mode)
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                if durable:
                    os.fsync(handle)
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        if durable:
            sync_folder(path.parent)
    except FileExistsError:
        raise ConfigError(f"{what} {path}: exists already, and is left as it is") from None
    except OSError as error:
        raise file_error(error, what, path) from None


def make_folder(path: Path, what: str, *, mode: int) -> None:
    """Makes a folder and its parents unless it is there. Raises ConfigError, DiskFull."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{what} {path}: exists and is not a folder") from None
    except OSError as error:
        raise file_error(error, what, path) from None


def sync_folder(folder: Path) -> None:
    """Makes renames and removals in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def destroy_file(path: Path, what: str) -> bool:
    """Overwrites a file's bytes, then removes it; False when it is not there.

    On file systems that copy on write the old bytes may stay on the medium.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise file_error(error, what, path) from None
    try:
        with os.fdopen(handle, "r+b", buffering=0) as file:
            file.write(bytes(os.fstat(handle).st_size))
            os.fsync(handle)
        path.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise file_error(error, what, path) from None
    return True
