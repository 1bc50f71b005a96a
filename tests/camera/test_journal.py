"""The camera's journal: stored before sent, the stored bytes again, states erased behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from camera.journal import CameraJournal, RatchetState
from camera.ratchetfile import RatchetFile
from shared.errors import (
    ConfigError,
    DiskFull,
    FormatError,
    InputError,
    Locked,
    MaterialExhausted,
    ProtocolViolation,
    QueueFull,
    RangeError,
    ResourceError,
    SlotReused,
    TwokeyError,
)
from shared.intervals import Interval
from shared.messages import BURNED, VERIFIED, Outcome
from shared.sets import SetName
from tests.disk_support import small_disk

NAME = SetName(bytes(16), "w1", "front")
OTHER = SetName(bytes(16), "w2", "front")
ID = NAME.set_id()
FRAMES = (b"header", b"", b"masked faces")
SIZE = 4 + 3 * 4 + len(b"".join(FRAMES))


def state(block: int) -> RatchetState:
    return RatchetState(block, b"secret state %d " % block * 4)


def open_journal(folder: Path, limit_bytes: int = 1 << 20) -> CameraJournal:
    return CameraJournal(folder / "journal", limit_bytes=limit_bytes)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[CameraJournal]:
    with open_journal(tmp_path) as found:
        found.adopt_set(NAME, 1000, state(0))
        yield found


def everything_on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_a_resend_after_a_restart_is_the_stored_bytes_in_order(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.adopt_set(NAME, 1000, state(0))
        first = journal.append(ID, 0, 3, FRAMES)
        second = journal.append(ID, 5, 2, [b"second"])
        journal.acknowledge(ID, 1, [Outcome(1, 1, VERIFIED)])
    with open_journal(tmp_path) as journal:
        assert journal.next_slot(ID) == 7
        assert journal.sets() == [(NAME, 1000, 7)]
        found = list(journal.pending())
        assert [(m.number, m.first, m.length, m.frames) for m in found] == [
            (first, 0, 3, FRAMES),
            (second, 5, 2, (b"second",)),
        ]
        assert found[0].waiting == ((Interval(0, 3),), (Interval(0, 1), Interval(2, 1)))


def test_a_message_is_forgotten_when_both_parties_have_acknowledged_all_of_it(
    tmp_path: Path,
) -> None:
    with open_journal(tmp_path) as journal:
        journal.adopt_set(NAME, 1000, state(0))
        one = journal.append(ID, 0, 3, FRAMES)
        two = journal.append(ID, 3, 3, FRAMES)
        assert journal.stored_bytes == 2 * SIZE
        assert journal.acknowledge(ID, 0, [Outcome(0, 5, VERIFIED)]) == []
        assert [m.number for m in journal.pending(0)] == [two]
        assert [m.number for m in journal.pending(1)] == [one, two]
        assert journal.acknowledge(ID, 1, [Outcome(0, 2, VERIFIED), Outcome(2, 4, BURNED)]) == [one]
        assert journal.acknowledge(ID, 1, [Outcome(0, 6, VERIFIED)]) == []
    with open_journal(tmp_path) as journal:
        assert journal.stored_bytes == SIZE
        assert journal.acknowledge(ID, 0, [Outcome(5, 1, VERIFIED)]) == [two]
        assert list(journal.pending()) == []
        assert journal.stored_bytes == 0
        assert journal.outcomes(ID) == {
            (0, VERIFIED): 6,
            (1, VERIFIED): 2,
            (1, BURNED): 4,
        }
        assert journal.next_slot(ID) == 6
        journal.maintain()


def test_the_queue_is_bounded_and_takes_more_when_acknowledged(tmp_path: Path) -> None:
    with open_journal(tmp_path, limit_bytes=2 * SIZE) as journal:
        journal.adopt_set(NAME, 1000, state(0))
        journal.append(ID, 0, 1, FRAMES)
        journal.append(ID, 1, 1, FRAMES)
        with pytest.raises(QueueFull, match=f"{2 * SIZE} bytes wait for the parties"):
            journal.append(ID, 2, 1, FRAMES)
        assert journal.next_slot(ID) == 2
        for party in (0, 1):
            journal.acknowledge(ID, party, [Outcome(0, 1, VERIFIED)])
        journal.append(ID, 2, 1, FRAMES)


MISUSES: list[tuple[Callable[[CameraJournal], object], type[TwokeyError]]] = [
    (lambda j: j.append(ID, 9, 1, FRAMES), SlotReused),
    (lambda j: j.append(ID, 999, 2, FRAMES), MaterialExhausted),
    (lambda j: j.append(ID, 10, 0, FRAMES), RangeError),
    (lambda j: j.append(ID, 10, 1, FRAMES, state(1)), InputError),
    (lambda j: j.append(OTHER.set_id(), 0, 1, FRAMES), ProtocolViolation),
    (lambda j: j.acknowledge(ID, 0, [Outcome(9, 2, VERIFIED)]), ProtocolViolation),
    (lambda j: j.acknowledge(OTHER.set_id(), 0, []), ProtocolViolation),
    (lambda j: j.adopt_set(NAME, 1000, state(0)), SlotReused),
    (lambda j: j.adopt_set(OTHER, 0, state(0)), RangeError),
    (lambda j: j.advance_ratchet(ID, state(1)), InputError),
    (lambda _: RatchetState(0, b""), InputError),
]


@pytest.mark.parametrize(("misuse", "kind"), MISUSES)
def test_misuses_are_typed_and_change_nothing(
    journal: CameraJournal, misuse: Callable[[CameraJournal], object], kind: type[TwokeyError]
) -> None:
    journal.append(ID, 9, 1, FRAMES)
    with pytest.raises(kind):
        misuse(journal)
    assert journal.sets() == [(NAME, 1000, 10)]
    assert len(list(journal.pending())) == 1


def test_slots_below_a_party_s_mark_are_never_used(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.adopt_set(NAME, 1000, state(0))
        journal.append(ID, 0, 10, FRAMES)
        assert journal.raise_high_water(ID, 4) == 0
        assert journal.raise_high_water(ID, 25) == 15
    with open_journal(tmp_path) as journal:
        with pytest.raises(SlotReused):
            journal.append(ID, 24, 1, FRAMES)
        assert journal.raise_high_water(ID, 5000) == 975
        with pytest.raises(MaterialExhausted):
            journal.append(ID, 1000, 1, FRAMES)


def test_former_ratchet_states_are_nowhere_on_disk(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.adopt_set(NAME, 1000, state(0))
        for block in range(1, 5):
            journal.append(ID, 64 * (block - 1), 64, FRAMES, state(block))
            held = everything_on_disk(tmp_path)
            assert state(block).state in held
            assert not any(state(former).state in held for former in range(block))
        journal.append(ID, 256, 200, FRAMES)
        journal.advance_ratchet(ID, state(7))
    with open_journal(tmp_path) as journal:
        assert journal.ratchet(ID) == state(7)
        journal.forget_set(ID)
        assert journal.sets() == []
        assert b"secret state" not in everything_on_disk(tmp_path)
    with open_journal(tmp_path) as journal:
        assert list(journal.pending()) == []
        assert journal.stored_bytes == 0


def test_a_set_that_was_taken_over_halfway_is_taken_over_anew(tmp_path: Path) -> None:
    path = tmp_path / f"journal.ratchet-{ID.hex()}"
    RatchetFile.create(path, state(3)).close()
    with open_journal(tmp_path) as journal:
        assert not path.exists()
        journal.adopt_set(NAME, 1000, state(0))
        assert journal.ratchet(ID) == state(0)


def test_a_message_stays_stored_when_the_former_state_cannot_be_erased(
    journal: CameraJournal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ResourceError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(RatchetFile, "advance", fail)
        journal.append(ID, 0, 64, FRAMES, state(1))
    assert "not erased yet: no luck" in caplog.text
    assert journal.next_slot(ID) == 64
    journal.append(ID, 64, 64, FRAMES, state(2))
    assert journal.ratchet(ID) == state(2)


def test_one_process_holds_the_journal(tmp_path: Path, journal: CameraJournal) -> None:
    with pytest.raises(Locked):
        open_journal(tmp_path)
    assert journal.next_slot(ID) == 0


def test_states_are_not_shown() -> None:
    assert "secret" not in repr(state(1))


# -- the ratchet file ---------------------------------------------------------------------


def private(path: Path, content: bytes) -> Path:
    """A file for its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_ratchet_file_that_others_may_touch_is_refused_and_left_as_it_is(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "a"
    RatchetFile.create(path, state(1)).close()
    before = path.read_bytes()
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"permissions {mode:04o}, expected 0600"):
        RatchetFile.open(path)
    assert path.read_bytes() == before


def test_a_link_in_place_of_a_ratchet_file_is_not_followed(tmp_path: Path) -> None:
    RatchetFile.create(tmp_path / "a", state(1)).close()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(ResourceError):
        RatchetFile.open(tmp_path / "b")
    with pytest.raises(ResourceError):
        RatchetFile.create(tmp_path / "b", state(2))
    assert state(1).state in (tmp_path / "a").read_bytes()


def test_a_new_state_is_never_written_where_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "a").touch(mode=0o666)
    (tmp_path / "a").chmod(0o666)
    RatchetFile.create(tmp_path / "a", state(1)).close()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_the_later_side_of_an_interrupted_advance_is_taken_and_the_other_erased(
    tmp_path: Path,
) -> None:
    RatchetFile.create(tmp_path / "a", state(1)).close()
    RatchetFile.create(tmp_path / "b", state(2)).close()
    one, two = ((tmp_path / name).read_bytes()[:4096] for name in "ab")
    for sides in (one + two, two + one):
        private(tmp_path / "c", sides)
        file = RatchetFile.open(tmp_path / "c")
        assert file.current == state(2)
        file.close()
        assert state(1).state not in (tmp_path / "c").read_bytes()


def test_a_half_written_side_leaves_the_former_state(tmp_path: Path) -> None:
    RatchetFile.create(tmp_path / "a", state(1)).close()
    RatchetFile.create(tmp_path / "b", state(2)).close()
    one, two = ((tmp_path / name).read_bytes()[:4096] for name in "ab")
    private(tmp_path / "c", one + two[:40] + bytes(4056))
    file = RatchetFile.open(tmp_path / "c")
    assert file.current == state(1)
    file.advance(state(2))
    with pytest.raises(InputError, match="found block 2 after block 2"):
        file.advance(state(2))
    file.close()


@pytest.mark.parametrize("content", [b"", bytes(8192), b"x" * 8192])
def test_a_file_without_a_sound_state_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FormatError, match="found no sound state"):
        RatchetFile.open(private(tmp_path / "a", content))


def test_a_missing_file_is_typed(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="No such file"):
        RatchetFile.open(tmp_path / "a")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE messages SET set_id=x'00'",
        "UPDATE messages SET frames=x'02000000'",
        "UPDATE messages SET frames=7",
        "UPDATE messages SET waiting1='all'",
        "UPDATE sets SET camera='back'",
        "UPDATE sets SET set_id='front'",
    ],
)
def test_what_no_camera_stored_is_refused(tmp_path: Path, statement: str) -> None:
    with open_journal(tmp_path) as journal:
        journal.adopt_set(NAME, 1000, state(0))
        journal.append(ID, 0, 3, FRAMES)
    with closing(sqlite3.connect(tmp_path / "journal", isolation_level=None)) as connection:
        connection.execute(statement)
    with pytest.raises(FormatError), open_journal(tmp_path) as journal:
        list(journal.pending())


# -- crashes and full disks ---------------------------------------------------------------

CHILD = """
import os, signal, sys
from pathlib import Path
from shared.database import Database
from tests.camera.test_journal import FRAMES, ID, NAME, open_journal, state
left, before = int(sys.argv[2]), sys.argv[3] == "before"
def stop(name):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
plain = os.fsync
def deadly(handle):
    if before: stop("fsync")
    plain(handle)
    if not before: stop("fsync")
journal = open_journal(Path(sys.argv[1]))
journal.adopt_set(NAME, 1000, state(0))
os.fsync = deadly
execute = Database.transaction
from contextlib import contextmanager
@contextmanager
def transaction(self, *, durable):
    with execute(self, durable=durable) as connection:
        yield connection
        if before: stop("write")
    if not before: stop("write")
Database.transaction = transaction
print(0, flush=True)
for block in range(1, 4):
    journal.append(ID, 64 * (block - 1), 64, FRAMES, state(block))
    print(block, flush=True)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_after_kill_9_at_any_write_what_was_told_is_stored_and_the_state_is_not_too_late(
    tmp_path: Path, number: int, moment: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path, str(number), moment],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    told = int(done.stdout.splitlines()[-1])
    with open_journal(tmp_path) as journal:
        stored = list(journal.pending())
        assert told <= len(stored) <= told + 1
        assert [m.frames for m in stored] == [FRAMES] * len(stored)
        assert journal.next_slot(ID) == 64 * len(stored)
        assert told <= journal.ratchet(ID).block <= len(stored)
        held = everything_on_disk(tmp_path)
        current = journal.ratchet(ID).block
        assert [b for b in range(4) if state(b).state in held] == [current]
        journal.append(ID, journal.next_slot(ID), 1, FRAMES)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def fill(journal: CameraJournal) -> int:
    """Messages that were stored before the disk was full."""
    for slot in range(1000):
        try:
            journal.append(ID, slot, 1, [os.urandom(5000)])
        except DiskFull:
            return slot
    raise TimeoutError("the disk never filled up")


def test_on_a_full_disk_a_message_is_stored_whole_or_not_at_all(disk: Path) -> None:
    with open_journal(disk, limit_bytes=1 << 30) as journal:
        journal.adopt_set(NAME, 1000, state(0))
        stored = fill(journal)
        assert stored > 10
        assert journal.next_slot(ID) == stored
        assert len(list(journal.pending())) == stored
    with open_journal(disk, limit_bytes=1 << 30) as journal:
        assert journal.next_slot(ID) == stored
