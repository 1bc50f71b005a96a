"""A camera and two parties, each a process: kills lose no face and never use a slot twice."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from camera.config import CameraConfig
from camera.journal import CameraJournal
from party.events import EventStore, FaceEvent, Status
from party.statefiles import EVENTS_FILE, LINES_FILE
from perf.deployment import PARTIES, Deployment, Running, deploy
from shared import config
from shared.fixedpoint import plaintext_matches
from shared.watchlist import Person
from tests.camera.folder_support import (
    CAMERA,
    MODEL,
    PARAMS,
    helpful,
    make_folder,
    serving,
    sham_parties,
    silent,
    window_now,
)

SLOTS = 200
FRAMES = 90
PATIENCE = 120.0
pytestmark = pytest.mark.slow

WIDE = replace(PARAMS, dim=8, places=4)


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    found = deploy(
        tmp_path,
        WIDE,
        cameras=[CAMERA],
        seconds=3600,
        camera_settings={"resend_seconds": 0.3, "drain_seconds": PATIENCE, "model": MODEL},
    )
    scale = 1 << WIDE.fraction_bits
    found.write_watchlist(
        Person.of(f"e{k}", (row / scale).astype(np.float32)) for k, row in enumerate(entries())
    )
    found.mint(SLOTS)
    return found


def entries() -> NDArray[np.int64]:
    return np.random.default_rng(1).integers(-6, 7, (3, WIDE.dim))


def faces() -> NDArray[np.int64]:
    """Near to an entry, every other one at the threshold exactly or one step off, or anywhere."""
    rng = np.random.default_rng(2)
    rows = entries()[rng.integers(0, 3, FRAMES)] + rng.integers(-5, 6, (FRAMES, WIDE.dim))
    rows[::5] = rng.integers(-12, 13, rows[::5].shape)
    rows[0], rows[1] = entries()[0], entries()[1]
    rows[0, 0] += 10  # distance 100, the threshold, is no match
    rows[1, 1] += 9
    return rows


@contextlib.contextmanager
def filming(folder: Path, first: int, pause: float) -> Iterator[subprocess.Popen[str]]:
    """The camera's process, from a frame on."""
    source = folder / "faces.npy"
    np.save(source, faces())
    command = [sys.executable, "-m", "tests.camera.filming_child", folder, source]
    process = subprocess.Popen(
        [*map(str, command), str(first), str(FRAMES), str(pause)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def frames_until(process: subprocess.Popen[str], count: int) -> int:
    """Waits for so many more frames; the number of the last one."""
    assert process.stdout is not None
    number = -1
    for _ in range(count):
        line = process.stdout.readline()
        assert line, "the camera ended"
        number = int(line)
    return number


def run_party(made: Deployment, party: int) -> subprocess.Popen[bytes]:
    path = made.root / PARTIES[party] / "party.toml"
    return subprocess.Popen([sys.executable, "-m", "party", "run", "-c", str(path)])


def kill_and_start(running: Running, party: int) -> None:
    running.processes[party].send_signal(signal.SIGKILL)
    running.processes[party].wait()
    running.processes[party] = run_party(running.deployment, party)


def events(made: Deployment, party: int) -> dict[int, FaceEvent]:
    """By slot; there is one for each."""
    state = made.folder(PARTIES[party]).state
    with EventStore(state / EVENTS_FILE, state / LINES_FILE) as store:
        found = store.events(made.window.id)
    assert len({event.slot for event in found}) == len(found)
    return {event.slot: event for event in found}


def used_slots(made: Deployment) -> int:
    path = made.root / CAMERA / "state" / "journal.sqlite"
    with CameraJournal(path, limit_bytes=1 << 20) as journal:
        ((_, _, used),) = journal.sets()
        assert journal.stored_bytes == 0
    return used


def check(made: Deployment, *, filmed: range) -> dict[Status, int]:
    """Every face has its event at both; what is verified is right. How many of each status.

    Slots that the parties burned before they were used are left out.
    """
    bits = plaintext_matches(faces(), entries(), WIDE.threshold)
    first, second = events(made, 0), events(made, 1)
    assert first.keys() == second.keys() <= set(range(used_slots(made)))
    for slot in first:
        assert first[slot].captured_ms == second[slot].captured_ms
        for event in (first[slot], second[slot]):
            row = bits[event.captured_ms - 1]
            names = tuple(f"e{k}" for k in np.flatnonzero(row))
            assert event.entries == (names if event.status is Status.VERIFIED else ())
    assert {event.captured_ms - 1 for event in first.values()} == set(filmed)
    assert bits.any()
    assert not bits.all()
    counts = dict.fromkeys(Status, 0)
    for event in first.values():
        counts[event.status] += 1
    return counts


def test_a_camera_killed_again_and_again_sends_the_same_bytes_on_every_slot(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path, drain_seconds=PATIENCE)
    values = folder.settings.model_dump(exclude_none=True)
    config.write_default(CameraConfig, folder.path / "camera.toml", values)
    folder.hand_out(window_now(), params=WIDE)
    following = 0
    with sham_parties(folder, silent, helpful) as parties, serving(*parties):
        for frames in (20, 1):
            with filming(folder.path, following, 0.0) as process:
                following = frames_until(process, frames) + 1
                process.send_signal(signal.SIGKILL)
        parties[0].answer = helpful
        with filming(folder.path, following, 0.0) as process:
            assert process.wait(PATIENCE) == 0
    bytes_of: dict[int, set[bytes]] = {}
    for party in parties:
        for message, content in party.got:
            bytes_of.setdefault(message.first, set()).add(content)
    assert all(len(found) == 1 for found in bytes_of.values())
    assert [{message.first for message, _ in party.got} for party in parties] == [set(bytes_of)] * 2
    sent = {bytes(message.times) for message, _ in parties[0].got}
    assert sent == {(k + 1).to_bytes(8, "little") for k in range(FRAMES)}


def test_faces_reach_both_parties_though_everybody_is_killed_meanwhile(made: Deployment) -> None:
    with made.start() as running:
        running.wait_until_prepared(64, PATIENCE)
        with filming(made.root / CAMERA, 0, 0.0) as process:
            following = frames_until(process, 20) + 1
            process.send_signal(signal.SIGKILL)
        with filming(made.root / CAMERA, following, 0.05) as process:
            for party in (1, 0):
                frames_until(process, 10)
                kill_and_start(running, party)
            assert process.wait(PATIENCE) == 0
    counts = check(made, filmed=range(FRAMES))
    assert counts[Status.UNRESOLVED] == 0
    # What was in a batch when a party died is burned; most of it was not.
    assert counts[Status.VERIFIED] > counts[Status.BURNED]
