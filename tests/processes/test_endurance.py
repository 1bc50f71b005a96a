"""What judges an endurance run finds what is wrong; and a run of some minutes is sound."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from party.eventlines import rfc3339
from tests.processes.endurance.camera import SENT
from tests.processes.endurance.judge import BURNED, UNRESOLVED, VERIFIED, Judge
from tests.processes.endurance.logbook import FLAT_OUT, Logbook
from tests.processes.endurance.people import POOL, Crowd, first_row, make_crowd
from tests.processes.endurance.plan import RETURNS, ROTATING, Plan
from tests.processes.endurance.run import endure
from tests.processes.endurance.samples import MIB, Sample, Samples

LONG = "TWOKEY_LONG"
SMALL = Plan(places=16, window_seconds=20.0, watchlist_seconds=6.0)
START = 1_800_000_000_000
PATIENCE = 10.0
FACES = 3


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    return make_crowd(SMALL)


class Scene:
    """Lines as two honest parties write them, of frames of one camera."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.judge = Judge(crowd, PATIENCE)
        self.sequence = 0
        self.next_slot = 0

    def moment_of(self, name: str) -> int:
        """A capture time whose first face is one that matches this entry."""
        return next(
            moment
            for moment in range(START, START + POOL)
            if name in self.crowd.answers[first_row(moment)]
        )

    def frame(self, moment: int, at_ms: int, listed: frozenset[str]) -> dict[int, list[str]]:
        """Sends a frame; what each slot matches by this list."""
        self.judge.sent("east", SENT.pack(moment, FACES))
        first, self.next_slot = self.next_slot, self.next_slot + FACES
        row = first_row(moment)
        return {
            first + number: sorted(self.crowd.answers[(row + number) % POOL] & listed)
            for number in range(FACES)
        }

    def tell(
        self,
        who: str,
        moment: int,
        at_ms: int,
        faces: dict[int, list[str]],
        status: str = VERIFIED,
    ) -> None:
        """A party's lines."""
        for slot, entries in faces.items():
            self.sequence += 1
            line = {
                "sequence": self.sequence,
                "event": "face",
                "window": "w",
                "camera": "east",
                "slot": slot,
                "captured": rfc3339(moment),
                "status": status,
                "entries": entries,
                f"{status}_at": rfc3339(at_ms),
            }
            self.judge.lines(who, orjson.dumps(line) + b"\n")

    def both(self, moment: int, at_ms: int, change: int) -> None:
        """A frame that both verified by the list after so many changes."""
        faces = self.frame(moment, at_ms, frozenset(self.crowd.listed(change)))
        for who in ("p0", "p1"):
            self.tell(who, moment, at_ms, faces)

    def problems(self) -> list[str]:
        """What is found in the end."""
        self.judge.finish()
        return self.judge.problems


def test_right_bits_are_no_problem_and_are_counted(crowd: Crowd) -> None:
    scene = Scene(crowd)
    for moment in range(START, START + 300):
        scene.both(moment, moment + 50, 0)
    assert scene.problems() == []
    assert scene.judge.counts["p0"][VERIFIED] == scene.judge.counts["p1"][VERIFIED] == 900
    assert scene.judge.matches > 20


@pytest.mark.parametrize("wrong", ["missing", "added", "one party only"])
def test_a_wrong_bit_is_found(crowd: Crowd, wrong: str) -> None:
    scene = Scene(crowd)
    moment = scene.moment_of("base 0")
    faces = scene.frame(moment, moment, frozenset(crowd.listed(0)))
    changed = {**faces, min(faces): [] if wrong != "added" else sorted(crowd.listed(0))}
    scene.tell("p0", moment, moment, faces if wrong == "one party only" else changed)
    scene.tell("p1", moment, moment, changed)
    found = scene.problems()
    assert any("p1: east" in line and "expected" in line for line in found)
    assert any("P0 tells" in line for line in found) == (wrong == "one party only")


def test_a_face_that_is_lost_doubled_or_made_up_is_found(crowd: Crowd) -> None:
    scene = Scene(crowd)
    faces = scene.frame(START, START, frozenset(crowd.listed(0)))
    scene.tell("p0", START, START, faces)
    scene.tell("p1", START, START, dict(list(faces.items())[:-1]))
    scene.tell("p0", START, START, faces)
    scene.tell("p1", START + 7, START, {40: []})
    found = scene.problems()
    assert sum("was told before" in line for line in found) == FACES
    assert any("p1: east" in line and "2 of 3 faces have an outcome" in line for line in found)
    assert any("that the camera did not send" in line for line in found)


def test_burned_and_unresolved_faces_count_as_what_they_end_as(crowd: Crowd) -> None:
    scene = Scene(crowd)
    faces = scene.frame(START, START, frozenset(crowd.listed(0)))
    scene.tell("p0", START, START, faces, UNRESOLVED)
    scene.tell("p0", START, START, faces)
    scene.tell("p1", START, START, faces, BURNED)
    found = scene.problems()
    assert scene.judge.counts["p0"] == {VERIFIED: FACES, UNRESOLVED: 0}
    assert scene.judge.counts["p1"] == {BURNED: FACES}
    assert any("P0 tells" in line for line in found)  # only one of them has a result


def test_around_a_change_either_list_is_right_and_afterwards_the_new_one_only(crowd: Crowd) -> None:
    (gone,) = set(crowd.listed(0)) - set(crowd.listed(1))
    moment = Scene(crowd).moment_of(gone)
    for at_ms, change, right in (
        (START + 500, 0, True),
        (START + 500, 1, False),
        (START + 1500, 0, True),
        (START + 1500, 1, True),
        (START + 2000 + 9000, 0, True),
        (START + 2000 + 9000, 1, True),
        (START + 2000 + 11_000, 0, False),
        (START + 2000 + 11_000, 1, True),
    ):
        scene = Scene(crowd)
        scene.judge.change_begins(START + 1000)
        scene.judge.change_is_complete(START + 2000)
        scene.both(moment, at_ms, change)
        assert (scene.problems() == []) == right, (at_ms, change)
        late = right and change == 0 and at_ms > START + 2000
        assert scene.judge.changes[0].lag_seconds == (9.0 if late else 0.0)


def test_each_change_takes_one_off_the_list_and_some_that_went_come_back(crowd: Crowd) -> None:
    names = [crowd.listed(change) for change in range(60)]
    assert {len(set(one)) for one in names} == {SMALL.listed}
    returned = 0
    for number in range(1, 60):
        before, after = set(names[number - 1]), set(names[number])
        assert len(before - after) == len(after - before) == 1
        new = (after - before).pop()
        returned += any(new in one for one in names[max(0, number - 4) : number - 1])
    assert returned >= 60 // RETURNS - ROTATING


def test_lines_above_info_are_told_unless_they_belong_to_a_restart(tmp_path: Path) -> None:
    log = tmp_path / "p0.log"
    head = "2026-11-28T07:00:00.000Z "
    log.write_text(
        f"{head}info party.node: ready\n"
        f"{head}warning party.session: window w-1: session ended: P0 began a new session\n"
        f"{head}error party.node: something broke\n"
        "error: it is over\n"
        f"{head}warning party.node: half a li"
    )
    book = Logbook()
    book.read("p0", log)
    assert book.unexpected == [
        f"p0: {head}error party.node: something broke",
        "p0: error: it is over",
    ]
    assert sum(book.expected.values()) == 1
    with log.open("a") as file:
        file.write("ne\n")
    book.read("p0", log)
    assert book.unexpected[2:] == [f"p0: {head}warning party.node: half a line"]


def test_what_grows_is_told_and_what_only_swings_is_flat() -> None:
    samples = Samples()
    samples.began -= 1000.0
    for at in range(0, 1000, 5):
        swing = (at % 50) * MIB // 10
        samples.processes["p0"].append(Sample(at, at, 200 * MIB + at * MIB // 4, 40, 6))
        samples.processes["p1"].append(Sample(at, at, 200 * MIB + swing, 40 + at // 20, 6))
        samples.disk["material"].append((at, 1000 * MIB + (at % 100) * MIB))
        samples.disk["journal.sqlite"].append((at, 10 * MIB + at * MIB))
    for window_seconds in (100.0, 2000.0):  # many windows, and a single one
        grows = {one.what for one in samples.judged(window_seconds) if not one.flat}
        assert grows == {"memory of p0, MiB", "files of p1", "disk of journal.sqlite, MiB"}


def test_frames_that_wait_are_expected_flat_out_only(tmp_path: Path) -> None:
    log = tmp_path / "camera-1.log"
    log.write_text(
        "2026-11-28T07:00:00.000Z warning camera.runner: "
        "2097200 bytes wait for the parties, the limit is 2097152; frames wait\n"
    )
    for book, expected in ((Logbook(), 0), (Logbook(FLAT_OUT), 1)):
        book.read("camera-1", log)
        assert (sum(book.expected.values()), len(book.unexpected)) == (expected, 1 - expected)


# -- the real thing ------------------------------------------------------------------------


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in memory where it can be had."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="twokey-endure-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


@pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes minutes; {LONG}=1 runs it")
@pytest.mark.timeout(1200)
def test_three_minutes_with_all_that_changes_in_operation_are_sound(root: Path) -> None:
    run(
        root,
        replace(
            SMALL,
            minutes=3.0,
            rate=200.0,
            slots_rate=300.0,
            cameras=4,
            frame=10,
            places=24,
            window_seconds=60.0,
            watchlist_seconds=12.0,
            restart_seconds=50.0,
        ),
    )


def run(root: Path, plan: Plan) -> None:
    """Everything took place, every face was verified rightly, nobody complained."""
    report, _ = endure(root, plan, print)
    assert report["problems"] == []
    assert report["unexpected_log_examples"] == []
    counts = report["counts"]
    assert counts == {who: {VERIFIED: report["faces"]} for who in ("p0", "p1")}
    for what in ("restarts", "minted_meanwhile", "list_changes"):
        assert report[what]
    assert len(report["windows"]) > 1  # type: ignore[arg-type]
