"""Lines reach the file that is there, whoever moves it away and whatever another thread syncs."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from party.linefile import LineFile
from shared.errors import TwokeyError


def test_a_file_that_is_moved_away_again_and_again_disturbs_no_sync(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = LineFile(path)
    enough = threading.Event()
    found: list[TwokeyError] = []

    def sync() -> None:
        while not enough.is_set():
            try:
                file.sync()
            except TwokeyError as error:
                found.append(error)

    threads = [threading.Thread(target=sync) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(500):
        path.rename(tmp_path / f"moved-{number}")
        assert file.append([f'{{"sequence":{number}}}\n'])
    enough.set()
    for thread in threads:
        thread.join()
    file.close()
    assert found == []
    assert path.read_text() == '{"sequence":499}\n'
    assert (tmp_path / "moved-499").read_text() == '{"sequence":498}\n'


def test_lines_of_a_file_that_was_moved_away_are_durable_before_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    file = LineFile(path)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(os.fstat(handle).st_ino))
    file.append(['{"sequence":1}\n'])
    moved = path.rename(tmp_path / "moved")
    file.append(['{"sequence":2}\n'])
    file.sync()
    assert synced == [moved.stat().st_ino, path.stat().st_ino]
    file.close()


def test_something_else_in_its_place_keeps_the_former_file_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "events.jsonl"
    file = LineFile(path)
    path.rename(tmp_path / "moved")
    path.mkdir()
    assert not file.append(['{"sequence":1}\n'])
    assert "they follow later" in caplog.text
    file.sync()
    path.rmdir()
    assert file.append(['{"sequence":1}\n'])
    file.close()
    assert path.read_text() == '{"sequence":1}\n'
