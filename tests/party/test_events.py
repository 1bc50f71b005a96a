"""Events: told once, in the database and as lines, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from party.eventlines import Group, face_lines, rfc3339
from party.events import EventBatch, EventStore, Status
from party.linefile import LineFile
from shared.errors import FormatError, Locked, RangeError, ResourceError
from shared.messages import Run
from shared.sets import SetName
from tests.disk_support import small_disk

FRONT, BACK = (SetName(bytes(16), "w1", camera) for camera in ("front", "back"))
F, B = FRONT.set_id(), BACK.set_id()
AT = 1_760_000_000_123
NAMES = ("Ada", 'B "x"\n', "Žofie")


Told = tuple[str, int, str, tuple[str, ...]]


def open_store(folder: Path) -> EventStore:
    return EventStore(folder / "events.sqlite", folder / "events.jsonl")


def batch(
    *runs: Run, matches: dict[int, list[int]] | None = None, batch_id: bytes = b"b"
) -> EventBatch:
    faces = sum(run.length for run in runs)
    bits = np.zeros((faces, 3), dtype=np.uint8)
    for face, columns in (matches or {}).items():
        bits[face, columns] = 1
    times = np.arange(faces, dtype=np.uint64) + np.uint64(AT)
    cameras = tuple("front" if run.set_id == F else "back" for run in runs)
    return EventBatch(batch_id, "w1", runs, cameras, times, NAMES, bits, b"T" * 32, AT + 500)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def told(folder: Path) -> list[Told]:
    return [
        (line["camera"], line["slot"], line["status"], tuple(line["entries"]))
        for line in lines(folder)
        if line["event"] == "face"
    ]


def stored(store: EventStore) -> list[Told]:
    return [(e.camera, e.slot, e.status.name.lower(), e.entries) for e in store.events()]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with open_store(tmp_path) as found:
        yield found


def test_a_verified_face_is_an_event_with_its_matches(tmp_path: Path, store: EventStore) -> None:
    store.record(batch(Run(F, 7, 2), Run(B, 0, 1), matches={1: [0, 2], 2: [1]}))
    assert lines(tmp_path)[1] == {
        "sequence": 2,
        "event": "face",
        "window": "w1",
        "camera": "front",
        "set": F.hex(),
        "slot": 8,
        "captured": "2025-10-09T08:53:20.124Z",
        "status": "verified",
        "entries": ["Ada", "Žofie"],
        "batch": b"b".hex(),
        "transcript": "54" * 32,
        "verified_at": "2025-10-09T08:53:20.623Z",
    }
    expected = [
        ("front", 7, "verified", ()),
        ("front", 8, "verified", ("Ada", "Žofie")),
        ("back", 0, "verified", ('B "x"\n',)),
    ]
    assert told(tmp_path) == expected
    assert stored(store) == expected[2:] + expected[:2]
    event = store.events("w1")[2]
    assert (event.captured_ms, event.at_ms, event.set_id) == (AT + 1, AT + 500, F)
    assert (event.batch_id, event.transcript, event.reason) == (b"b", b"T" * 32, None)
    assert store.events("w2") == []


def test_a_face_is_told_once(tmp_path: Path, store: EventStore) -> None:
    store.record(batch(Run(F, 0, 4)))
    store.record(batch(Run(F, 2, 4), matches={0: [0], 3: [1]}))
    store.record_unresolved(batch(Run(F, 0, 6)))
    store.record_burned(FRONT, Run(F, 0, 6), np.zeros(6, dtype=np.uint64), "late")
    expected: list[Told] = [("front", slot, "verified", ()) for slot in range(5)]
    expected.append(("front", 5, "verified", ('B "x"\n',)))
    assert told(tmp_path) == expected
    assert stored(store) == expected


def test_an_unresolved_face_shows_no_bits_and_is_resolved_later(
    tmp_path: Path, store: EventStore
) -> None:
    store.record_unresolved(batch(Run(F, 0, 3), Run(B, 5, 1), matches={1: [0], 3: [1]}), "silence")
    assert {line["reason"] for line in lines(tmp_path)} == {"silence"}
    before = told(tmp_path)
    assert before == [
        *(("front", slot, "unresolved", ()) for slot in range(3)),
        ("back", 5, "unresolved", ()),
    ]
    store.record(batch(Run(F, 1, 2), Run(B, 5, 1), matches={0: [0], 2: [1]}))
    after = [
        ("front", 1, "verified", ("Ada",)),
        ("front", 2, "verified", ()),
        ("back", 5, "verified", ('B "x"\n',)),
    ]
    assert told(tmp_path) == before + after
    assert stored(store) == [after[2], before[0], after[0], after[1]]
    store.record_burned(FRONT, Run(F, 0, 2), np.zeros(2, dtype=np.uint64), "window ended")
    assert told(tmp_path)[7:] == [("front", 0, "burned", ())]
    assert [e.reason for e in store.events()] == [None, "window ended", None, None]


def test_announcements_are_lines_and_rows(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.record(batch(Run(F, 0, 1)))
        store.announce("tamper", 'a "check"\nfailed')
        store.record(batch(Run(F, 1, 1)))
    with open_store(tmp_path) as store:
        (found,) = store.announcements()
        assert (found.kind, found.detail) == ("tamper", 'a "check"\nfailed')
        assert lines(tmp_path)[1] == {
            "sequence": 2,
            "event": "announcement",
            "at": rfc3339(found.at_ms),
            "kind": "tamper",
            "detail": 'a "check"\nfailed',
        }
        assert [line["sequence"] for line in lines(tmp_path)] == [1, 2, 3]


def test_after_a_restart_nothing_is_repeated(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.record(batch(Run(F, 0, 3)))
        store.record_unresolved(batch(Run(B, 0, 2)))
    with open_store(tmp_path) as store:
        store.record(batch(Run(F, 2, 2)))
        store.record(batch(Run(B, 0, 2), matches={0: [0]}))
        store.maintain()
        assert [line["sequence"] for line in lines(tmp_path)] == list(range(1, 9))
        assert stored(store) == [
            ("back", 0, "verified", ("Ada",)),
            ("back", 1, "verified", ()),
            *(("front", slot, "verified", ()) for slot in range(4)),
        ]


def fill(store: EventStore) -> None:
    store.record(batch(Run(F, 0, 3), Run(B, 0, 2), matches={0: [0], 4: [2]}))
    store.record_unresolved(batch(Run(F, 3, 2)), "silence")
    store.announce("outage", "one")
    store.record(batch(Run(F, 3, 1), matches={0: [1]}))
    store.record_burned(BACK, Run(B, 2, 1), np.array([AT], dtype=np.uint64), "late")


def test_a_file_of_lines_that_was_cut_anywhere_is_completed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        fill(store)
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    count = whole.count(b"\n")
    ends = [end for end in range(len(whole)) if whole[end : end + 1] == b"\n"]
    cuts = [1, 20, *(end + shift for end in ends for shift in (0, 1, 30)), len(whole)]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with open_store(tmp_path):
            pass
        found = path.read_bytes()
        # The line of a face of which something newer is told is not written again.
        skipped = [line for line in whole.splitlines() if line not in found.splitlines()]
        assert [b for b in whole.splitlines() if b not in skipped] == found.splitlines()
        assert all(b'"status":"unresolved"' in line and b'"slot":3' in line for line in skipped)
        assert len(skipped) == (whole[:cut].count(b"\n") < 6)
    assert count == 10


def test_garbage_after_a_power_cut_is_cut_off(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        fill(store)
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0\0\0\n\xff{]\n" + whole[:50])
    with open_store(tmp_path):
        assert path.read_bytes() == whole


def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("dear diary\n")
    with pytest.raises(FormatError, match="found no event"):
        open_store(tmp_path)
    assert (tmp_path / "events.jsonl").read_text() == "dear diary\n"
    (tmp_path / "events.jsonl").unlink()
    open_store(tmp_path).close()


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.record(batch(Run(F, 0, 1)))
        (tmp_path / "events.jsonl").rename(tmp_path / "old")
        store.record(batch(Run(F, 1, 1)))
        assert [line["slot"] for line in lines(tmp_path)] == [1]
    (tmp_path / "events.jsonl").rename(tmp_path / "older")
    with open_store(tmp_path) as store:
        assert lines(tmp_path) == []
        store.record(batch(Run(F, 2, 1)))
        assert [line["slot"] for line in lines(tmp_path)] == [2]


def test_lines_without_room_follow_with_the_next_ones(
    tmp_path: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    store.record(batch(Run(F, 0, 1)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        store.record(batch(Run(F, 1, 2), matches={1: [0]}))
        store.announce("outage", "x")
    assert len(lines(tmp_path)) == 1
    store.record(batch(Run(F, 3, 1)))
    assert [line["sequence"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5]
    assert told(tmp_path)[2] == ("front", 2, "verified", ("Ada",))


def test_a_half_written_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "lines")
    assert file.append(['{"sequence":1}\n'])
    plain = os.write

    def half(handle: int, data: memoryview) -> int:
        if len(data) < 10:
            raise OSError(28, "No space left on device")
        return plain(handle, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        assert not file.append(['{"sequence":2}\n' * 3])
    assert (tmp_path / "lines").read_text() == '{"sequence":1}\n'
    file.close()


def test_what_was_told_too_long_ago_leaves_the_database_and_nothing_else(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        fill(store)
        store.announce("outage", "x")
        lines_before = (tmp_path / "events.jsonl").read_bytes()
        head = store.audit_head
        told_at = {event.at_ms for event in store.events()}
        assert store.forget_before(min(told_at), frozenset()) == 0
        assert store.forget_before(max(told_at) + 1, frozenset({"w1"})) == 0
        assert store.events()
        while store.forget_before(max(told_at) + 1, frozenset()):
            pass
        assert store.events() == []
    with open_store(tmp_path) as store:
        assert store.events() == []
        assert [a.kind for a in store.announcements()].count("outage") == 2
        assert store.audit_head == head
        assert (tmp_path / "events.jsonl").read_bytes() == lines_before
        store.record(batch(Run(F, 90, 1), matches={0: [0]}))
        assert [(event.camera, event.slot) for event in store.events()] == [("front", 90)]


def test_only_some_batches_are_forgotten_at_once_the_oldest_first(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for slot in range(70):
            store.record(batch(Run(F, slot, 1), batch_id=bytes([slot])))
        assert store.forget_before(1 << 62, frozenset()) == 64
        assert [event.slot for event in store.events()] == list(range(64, 70))
        assert store.forget_before(1 << 62, frozenset()) == 6
        assert store.forget_before(1 << 62, frozenset()) == 0


def test_a_forgotten_name_is_not_to_be_found_in_the_file_any_more(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.record(batch(Run(F, 0, 2), matches={1: [2]}))
        store.forget_before(1 << 62, frozenset())
    content = (tmp_path / "events.sqlite").read_bytes()
    assert b"SQLite" in content
    assert "Žofie".encode() not in content


def test_the_database_can_be_read_with_sql(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.record(batch(Run(F, 0, 2), matches={1: [0]}))
    connection = sqlite3.connect(tmp_path / "events.sqlite")
    rows = connection.execute("SELECT camera, slot, status, entries FROM events").fetchall()
    connection.close()
    assert rows == [("front", 0, "verified", "[]"), ("front", 1, "verified", '["Ada"]')]


def test_a_batch_without_live_places_and_strange_times_are_told(
    tmp_path: Path, store: EventStore
) -> None:
    times = np.array([0, (1 << 64) - 1], dtype=np.uint64)
    nothing = np.zeros((2, 0), dtype=np.bool_)
    store.record(EventBatch(b"b", "w1", (Run(F, 0, 2),), ("front",), times, (), nothing, b"", 0))
    assert [line["captured"] for line in lines(tmp_path)] == [
        "1970-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
    ]
    assert [event.status for event in store.events()] == [Status.VERIFIED] * 2


@pytest.mark.parametrize("moment", [0, 1, 999, AT, 253_402_300_799_999, (1 << 64) - 1])
def test_a_moment_is_written_the_same_in_few_lines_as_in_many(moment: int) -> None:
    group = Group("w1", Status.VERIFIED, b"b", bytes(32), AT, None)
    few, many = (
        face_lines(1, group, [Run(F, 0, n)], ["front"], np.full(n, moment, dtype=np.uint64), {})
        for n in (1, 40)
    )
    assert few[0] == many[0]
    assert f'"captured":"{rfc3339(min(moment, 253_402_300_799_999))}"' in few[0]


@pytest.mark.parametrize("wrong", ["times", "bits", "cameras"])
def test_a_batch_that_is_inconsistent_is_refused(wrong: str) -> None:
    good = batch(Run(F, 0, 2))
    parts: dict[str, Any] = {"times": good.times, "bits": good.bits, "cameras": good.cameras}
    parts[wrong] = parts[wrong][:-1]
    with pytest.raises(RangeError):
        EventBatch(
            b"b", "w1", good.runs, parts["cameras"], parts["times"], NAMES, parts["bits"], b"", 0
        )


def test_one_process_holds_the_events(tmp_path: Path, store: EventStore) -> None:
    with pytest.raises(Locked):
        open_store(tmp_path)
    store.sync()


def test_a_closed_store_refuses_typed(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.close()
    store.close()
    with pytest.raises(ResourceError):
        store.record(batch(Run(F, 0, 1)))


CHILD = """
import os, signal, sys
from pathlib import Path
from tests.party.test_events import F, Run, batch, open_store
store = open_store(Path(sys.argv[1]))
left = int(sys.argv[2])
plain = os.write
def deadly(handle, data):
    global left
    left -= 1
    if left == 0:
        plain(handle, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(handle, data)
os.write = deadly
for number in range(4):
    store.record(batch(Run(F, 3 * number, 3), matches={number % 3: [0]}))
"""


@pytest.mark.parametrize("number", [1, 2, 3])
def test_after_kill_9_between_database_and_lines_both_tell_the_same(
    tmp_path: Path, number: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path, str(number)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    with open_store(tmp_path) as store:
        assert len(stored(store)) == 3 * number
        assert told(tmp_path) == stored(store)
        assert [line["sequence"] for line in lines(tmp_path)] == list(range(1, 3 * number + 1))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_on_a_full_disk_faces_are_told_whole_or_not_at_all(disk: Path) -> None:
    recorded = 0
    with open_store(disk) as store:
        try:
            for number in range(1000):
                store.record(batch(Run(F, 20 * number, 20)))
                recorded += 20
        except ResourceError:
            assert len(store.events()) == recorded
    assert 0 < recorded < 20_000
    assert len(told(disk)) <= recorded
    assert (disk / "events.jsonl").read_bytes().endswith(b"\n")
