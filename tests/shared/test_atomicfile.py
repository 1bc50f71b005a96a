from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shared.atomicfile import (
    PUBLIC,
    destroy_file,
    make_folder,
    read_private,
    read_small,
    write_atomic,
)
from shared.errors import ConfigError, DiskFull, InputError, ResourceError


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomic(path, b"one", "it", mode=0o600, replace=False)
    write_atomic(path, b"two", "it", mode=0o644, replace=True)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    with pytest.raises(ConfigError, match="exists already"):
        write_atomic(path, b"three", "it", mode=0o644, replace=False)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "error"), [(errno.ENOSPC, DiskFull), (errno.EIO, ResourceError)]
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def failing(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(error):
        write_atomic(path, b"new", "it", mode=0o600, replace=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_is_never_readable_by_others_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    real = os.fsync

    def watched(handle: int) -> None:
        modes.append(os.fstat(handle).st_mode & 0o777)
        real(handle)

    monkeypatch.setattr(os, "fsync", watched)
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "f", b"secret", "it", mode=0o600, replace=False)
    finally:
        os.umask(before)
    assert modes[0] == 0o600


def test_a_large_or_missing_small_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert read_small(path, "it", 5) == b"12345"
    with pytest.raises(InputError, match="expected a small file"):
        read_small(path, "it", 4)
    with pytest.raises(ConfigError, match=r"it .*none: not found"):
        read_small(tmp_path / "none", "it")


def test_a_pipe_in_place_of_a_private_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        read_private(tmp_path / "pipe", "it")


def test_a_folder_is_not_made_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    for path in (tmp_path / "f", tmp_path / "f" / "below"):
        with pytest.raises(ConfigError):
            make_folder(path, "it", mode=0o700)


def test_a_link_is_not_followed_when_a_file_is_destroyed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"keep")
    (tmp_path / "link").symlink_to(tmp_path / "f")
    with pytest.raises(ConfigError):
        destroy_file(tmp_path / "link", "it")
    assert (tmp_path / "f").read_bytes() == b"keep"


def test_what_need_not_outlast_a_crash_waits_for_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    path = tmp_path / "status"
    write_atomic(path, b"1", "status", mode=PUBLIC, replace=True, durable=False)
    write_atomic(path, b"2", "status", mode=PUBLIC, replace=True, durable=False)
    assert path.read_bytes() == b"2"
    assert synced == []
    write_atomic(path, b"3", "status", mode=PUBLIC, replace=True)
    assert len(synced) == 2  # the file, and the folder that names it
