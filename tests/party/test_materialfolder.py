"""The folder of material: what is broken is told once and tried again when it is another file."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

import party.materialfolder
from party.materialfolder import MaterialFolder, remove
from shared.errors import FormatError
from tests.support.minted import minted, parameters

OLD = time.time() - 60


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    ground = minted(parameters())
    return ground.files(0)[0].path


def put(path: Path, content: bytes, *, written: float = OLD) -> None:
    path.write_bytes(content)
    os.utime(path, (written, written))


def test_a_broken_file_is_told_once_and_tried_again_when_it_is_another(
    tmp_path: Path, whole: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, path = MaterialFolder(tmp_path), tmp_path / "a.tkm"
    put(path, whole.read_bytes()[:100])
    with caplog.at_level(logging.ERROR):
        there, error = folder.scan()
        assert (there, isinstance(error, FormatError)) == ({}, True)
        assert folder.scan() == ({}, None)
    assert len(caplog.records) == 1
    put(path, whole.read_bytes(), written=OLD + 1)
    there, error = folder.scan()
    assert ([f.path for f in there["w1"]], error) == ([path], None)
    assert [window.id for window in folder.windows()] == ["w1"]


def test_a_file_that_is_being_written_is_left_for_later(tmp_path: Path, whole: Path) -> None:
    folder, path = MaterialFolder(tmp_path), tmp_path / "a.tkm"
    assert folder.scan() == ({}, None)
    put(path, whole.read_bytes()[:100], written=time.time())
    assert folder.scan() == ({}, None)
    put(path, whole.read_bytes())
    assert list(folder.scan()[0]) == ["w1"]


def test_a_refused_file_is_not_offered_again_as_it_is(tmp_path: Path, whole: Path) -> None:
    folder, path = MaterialFolder(tmp_path), tmp_path / "a.tkm"
    shutil.copy(whole, path)
    folder.refuse(folder.scan()[0]["w1"])
    assert folder.scan() == ({}, None)
    assert folder.windows() == []
    put(path, whole.read_bytes(), written=OLD)
    assert list(folder.scan()[0]) == ["w1"]
    path.unlink()
    assert folder.scan() == ({}, None)
    assert folder.windows() == []


def test_what_cannot_be_removed_is_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert remove([tmp_path / "gone.tkm"])
    assert not remove([tmp_path])
    assert "material file" in caplog.text


def test_the_room_of_a_removed_file_is_given_back_on_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.tkm" for number in range(3)]
    for path in paths:
        path.write_bytes(b"material")
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    slow, close = threading.Event(), party.materialfolder._close

    def close_later(handles: Sequence[int]) -> None:
        slow.wait(60)
        close(handles)

    monkeypatch.setattr(party.materialfolder, "_close", close_later)
    assert remove(paths)
    assert not any(path.exists() for path in paths)
    assert len(list(open_files.iterdir())) == before + 3
    slow.set()
    (thread,) = (t for t in threading.enumerate() if t.name == "removal")
    thread.join(60)
    assert len(list(open_files.iterdir())) == before
