from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dealer.job import MintJob, SetState
from dealer.order import CameraOrder, MintOrder, material_path
from dealer.setfiles import SetFiles
from shared.errors import AuthenticationFailed, DiskFull, InputError, Locked
from shared.keys import create_identity
from shared.materialfile import ChunkKind, MaterialFile
from shared.materialheader import RECIPIENTS, read_header
from shared.materialwriter import MaterialWriter
from tests.material_support import SMALL, WIDE, WINDOW, People, make_people, make_recipient


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    return make_people(tmp_path_factory.mktemp("people"), "door", "gate", "yard")


def files(out: Path) -> dict[str, bytes]:
    """Everything under the folder but locks."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def states(order: MintOrder, people: People, out: Path) -> dict[str, SetState]:
    with MintJob(order, people.dealer, out) as job:
        return {camera.name: job.state(camera) for camera in order.cameras}


def run(order: MintOrder, people: People, out: Path, workers: int = 2) -> tuple[int, int]:
    """Sets minted, sets kept."""
    with MintJob(order, people.dealer, out) as job:
        plan = job.plan()
        done = job.mint(plan, workers=workers)
        return done.sets, len(plan.keep)


def contents(people: People, out: Path, role: str, camera: str, kind: ChunkKind) -> bytes:
    path = material_path(out, WINDOW.id, role, camera)  # type: ignore[arg-type]
    with MaterialFile.open(
        path,
        dealer=people.dealer.public,
        window_key=people.of(role, camera).private,
        params=read_header(path).header.params,
        camera=camera,
    ) as file:
        buffer = bytearray(file.chunk_bytes(kind))
        chunks = range(file.header.chunks(kind))
        return b"".join(bytes(file.read_chunk(kind, i, buffer)) for i in chunks)


def test_each_recipient_gets_one_folder(people: People, tmp_path: Path) -> None:
    assert run(people.order(SMALL, door=3, gate=70), people, tmp_path) == (2, 0)
    assert sorted(files(tmp_path)) == [
        f"{WINDOW.id}/{role}/{camera}.tkm"
        for role in sorted(RECIPIENTS)
        for camera in ("door", "gate")
    ]


def test_both_parties_read_the_same_correction_words(people: People, tmp_path: Path) -> None:
    run(people.order(WIDE, door=70, gate=5), people, tmp_path)
    for camera, slots in (("door", 70), ("gate", 5)):
        words = contents(people, tmp_path, "p0", camera, ChunkKind.MATCH)
        assert words == contents(people, tmp_path, "p1", camera, ChunkKind.MATCH)
        assert len(words) == slots * WIDE.slot_match_bytes
        corrections = contents(people, tmp_path, "p1", camera, ChunkKind.PREPARE)
        assert len(corrections) == slots * WIDE.slot_prepare_bytes


def test_the_same_randomness_gives_the_same_material_on_any_number_of_threads(
    people: People, tmp_path: Path
) -> None:
    order = people.order(WIDE, door=150)
    found = []
    for workers in (1, 3):
        with MintJob(order, people.dealer, tmp_path / str(workers)) as job:
            job.mint(job.plan(), workers=workers, random=lambda n: bytes(i % 251 for i in range(n)))
        found.append(
            [
                contents(people, tmp_path / str(workers), role, "door", kind)
                for role in ("p0", "p1")
                for kind in ChunkKind
            ]
        )
    assert found[0] == found[1]


def test_mint_ids_and_seeds_are_fresh_for_every_set(people: People, tmp_path: Path) -> None:
    run(people.order(SMALL, door=2, gate=2), people, tmp_path)
    ids = [
        {
            read_header(material_path(tmp_path, WINDOW.id, role, camera)).header.mint_id
            for role in RECIPIENTS
        }
        for camera in ("door", "gate")
    ]
    assert [len(i) for i in ids] == [1, 1]
    assert ids[0] != ids[1]
    words = [contents(people, tmp_path, "p0", c, ChunkKind.MATCH) for c in ("door", "gate")]
    assert words[0] != words[1]


def test_a_second_run_keeps_complete_sets_as_they_are(people: People, tmp_path: Path) -> None:
    order = people.order(SMALL, door=3, gate=4)
    run(order, people, tmp_path)
    before = files(tmp_path)
    assert run(order, people, tmp_path) == (0, 2)
    assert files(tmp_path) == before
    assert run(people.order(SMALL, door=3, gate=4, yard=1), people, tmp_path) == (1, 2)


def damaged_missing(path: Path) -> None:
    path.unlink()


def damaged_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def damaged_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[read_header(path).chunks_offset - 1] ^= 1  # in the signature
    path.write_bytes(content)


def damaged_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("role", RECIPIENTS)
@pytest.mark.parametrize("damage", [damaged_missing, damaged_short, damaged_header, damaged_empty])
def test_an_incomplete_set_is_minted_anew_under_a_fresh_id(
    people: People, tmp_path: Path, damage: object, role: str
) -> None:
    order = people.order(SMALL, door=3, gate=4)
    run(order, people, tmp_path)
    before = files(tmp_path)
    damage(material_path(tmp_path, WINDOW.id, role, "gate"))  # type: ignore[operator, arg-type]
    assert states(order, people, tmp_path) == {
        "door": SetState.COMPLETE,
        "gate": SetState.INCOMPLETE,
    }
    assert run(order, people, tmp_path) == (1, 1)
    after = files(tmp_path)
    assert sorted(after) == sorted(before)
    assert {name for name in after if after[name] == before[name]} == {
        f"{WINDOW.id}/{r}/door.tkm" for r in RECIPIENTS
    }


def test_files_of_two_attempts_are_no_set(people: People, tmp_path: Path) -> None:
    order = people.order(SMALL, door=3)
    run(order, people, tmp_path / "one")
    run(order, people, tmp_path / "two")
    other = material_path(tmp_path / "two", WINDOW.id, "p1", "door")
    other.replace(material_path(tmp_path / "one", WINDOW.id, "p1", "door"))
    assert states(order, people, tmp_path / "one") == {"door": SetState.INCOMPLETE}


def test_a_complete_set_of_another_order_goes_only_on_request(
    people: People, tmp_path: Path
) -> None:
    run(people.order(SMALL, door=3), people, tmp_path)
    before = files(tmp_path)
    rekeyed = replace(
        people, p0=make_recipient(tmp_path / "keys", "p0", "north"), dealer=people.dealer
    )
    others = [
        (people, people.order(SMALL, door=4)),
        (people, people.order(replace(SMALL, threshold=21), door=3)),
        (rekeyed, rekeyed.order(SMALL, door=3)),
        (replace(people, dealer=create_identity("dealer", "dealer")), people.order(SMALL, door=3)),
    ]
    for somebody, order in others:
        with MintJob(order, somebody.dealer, tmp_path) as job:
            assert job.state(order.cameras[0]) is SetState.OTHER
            with pytest.raises(InputError, match="complete set of another order"):
                job.plan()
    assert {k: v for k, v in files(tmp_path).items() if "keys" not in k} == before
    with MintJob(others[0][1], people.dealer, tmp_path) as job:
        assert job.mint(job.plan(replace=True)).sets == 1
    assert states(others[0][1], people, tmp_path) == {"door": SetState.COMPLETE}


def test_two_jobs_in_one_folder_are_not_run(people: People, tmp_path: Path) -> None:
    order = people.order(SMALL, door=1)
    with MintJob(order, people.dealer, tmp_path), pytest.raises(Locked, match="another job"):
        MintJob(order, people.dealer, tmp_path).__enter__()
    assert run(order, people, tmp_path) == (1, 0)


def test_the_estimate_of_the_disk_is_enough_and_near(people: People, tmp_path: Path) -> None:
    order = people.order(WIDE, door=70, gate=1)
    with MintJob(order, people.dealer, tmp_path) as job:
        plan = job.plan()
        job.mint(plan)
    used = sum(len(content) for content in files(tmp_path).values())
    assert used <= plan.bytes_needed <= used + 6 * (8 << 10)
    assert plan.slots == 71


def test_a_job_for_which_the_disk_is_too_small_does_not_begin(
    people: People, tmp_path: Path
) -> None:
    order = people.order(SMALL, door=3)
    with MintJob(order, people.dealer, tmp_path) as job:
        plan = replace(job.plan(), bytes_free=10)
        with pytest.raises(DiskFull, match="the disk has 10"):
            job.mint(plan)
    assert files(tmp_path) == {}


def test_what_is_incomplete_counts_as_space(people: People, tmp_path: Path) -> None:
    order = people.order(WIDE, door=64)
    run(order, people, tmp_path)
    damaged_missing(material_path(tmp_path, WINDOW.id, "camera", "door"))
    with MintJob(order, people.dealer, tmp_path) as job:
        plan = job.plan()
        assert plan.bytes_freed > plan.bytes_needed * 0.9
        replace(plan, bytes_free=plan.bytes_needed - plan.bytes_freed).check_space()


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fdatasync", "fsync"])
def test_a_full_disk_leaves_complete_sets_and_nothing_half(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    order = people.order(SMALL, door=3, gate=70)
    run(people.order(SMALL, door=3), people, tmp_path)
    before = files(tmp_path)
    real, calls = getattr(os, call), iter(range(100))

    def full(*arguments: int) -> int:
        if next(calls) < 1:
            return int(real(*arguments) or 0)
        raise OSError(errno.ENOSPC, "No space left on device")

    with MintJob(order, people.dealer, tmp_path) as job:
        plan = job.plan()
        monkeypatch.setattr(os, call, full)
        with pytest.raises(DiskFull, match="no space left"):
            job.mint(plan)
    monkeypatch.undo()
    assert files(tmp_path) == before
    assert run(order, people, tmp_path) == (1, 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_ends_in_one_typed_error(
    people: People, small_disk: Path
) -> None:
    order = people.order(WIDE, door=1, gate=64)
    with MintJob(order, people.dealer, small_disk) as job:
        plan = job.plan()
        assert plan.bytes_needed > plan.bytes_free
        with pytest.raises(DiskFull, match="material needs"):
            job.mint(plan)
        # Somebody else fills the disk after the estimate.
        with pytest.raises(DiskFull, match="no space left"):
            job.mint(replace(plan, bytes_free=1 << 40))
    assert not [name for name in files(small_disk) if ".part" in name or "gate" in name]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from dealer.job import MintJob
from shared.materialwriter import MaterialWriter
from tests.dealer.test_job import KILL_POINTS
from tests.material_support import SMALL, make_people

folder = Path(sys.argv[1])
people = make_people(folder / "keys", "door", "gate")
order = people.order(SMALL, door=70, gate=70)

def die(point):
    name, nth = KILL_POINTS[point]
    real, calls = getattr(MaterialWriter, name), [0]

    def dying(self, *arguments):
        calls[0] += 1
        if calls[0] == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, *arguments)

    setattr(MaterialWriter, name, dying)
    with MintJob(order, people.dealer, folder / point) as job:
        job.mint(job.plan(), workers=1)

for point in KILL_POINTS:
    child = os.fork()
    if child == 0:
        try:
            die(point)
        finally:
            os._exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = [p.name for p in (folder / point).rglob("*.part")]
    with MintJob(order, people.dealer, folder / point) as job:
        plan = job.plan()
        kept = [camera.name for camera in plan.keep]
        job.mint(plan)
        states = {job.state(camera).name for camera in order.cameras}
    found = sorted(p.name for p in (folder / point).rglob("*") if p.is_file())
    print(json.dumps([point, code, len(left) > 0, kept, sorted(states), found]))
"""
# The name of a writer's step, and before which call of it the process dies. Two sets, three
# files each: the fourth belongs to the second set.
KILL_POINTS = {
    "while a set is written": ("write_chunk", 2),
    "between the files of a set": ("finish", 2),
    "before a set is moved in": ("commit", 1),
    "between two moves": ("commit", 2),
    "before the last move": ("commit", 3),
    "in the second set": ("write_chunk", 9),
    "between two moves of the second set": ("commit", 5),
}


def test_a_killed_job_leaves_no_half_set_for_the_next_run(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(KILL_POINTS), done.stderr
    for point, code, left_something, kept, states_then, found in lines:
        assert code == -signal.SIGKILL, point
        assert left_something, point
        assert kept == (["door"] if "second" in point else []), point
        assert states_then == ["COMPLETE"], point
        assert found == [".lock", *sorted(["door.tkm", "gate.tkm"] * 3)], point


def test_an_interrupted_job_removes_its_temporary_files(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = MaterialWriter.write_chunk, iter(range(100))

    def interrupted(self: MaterialWriter, *arguments: object) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt
        real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(MaterialWriter, "write_chunk", interrupted)
    order = people.order(SMALL, door=200)
    with (
        MintJob(order, people.dealer, tmp_path) as job,
        pytest.raises(KeyboardInterrupt),
    ):
        job.mint(job.plan(), workers=1)
    assert files(tmp_path) == {}


def test_progress_tells_every_slot_once(people: People, tmp_path: Path) -> None:
    told: list[int] = []
    with MintJob(people.order(SMALL, door=130, gate=5), people.dealer, tmp_path) as job:
        job.mint(job.plan(), workers=2, progress=told.append)
    assert sum(told) == 135


def test_an_order_that_does_not_fit_together_is_refused(people: People, tmp_path: Path) -> None:
    later = make_recipient(tmp_path, "p1", "south", replace(WINDOW, end_ms=WINDOW.end_ms + 5))
    door = CameraOrder("door", 1, people.cameras["door"].public)
    p0, p1 = people.p0.public, people.p1.public
    with pytest.raises(InputError, match="window key of p1 south is for monday"):
        MintOrder(SMALL, WINDOW, p0, later.public, (door,))
    with pytest.raises(AuthenticationFailed, match="expected one of a p1"):
        MintOrder(SMALL, WINDOW, p0, p0, (door,))
    with pytest.raises(AuthenticationFailed, match="expected one of a camera"):
        MintOrder(SMALL, WINDOW, p0, p1, (replace(door, key=p0),))
    with pytest.raises(InputError, match="there twice"):
        MintOrder(SMALL, WINDOW, p0, p1, (door, door))
    for slots in (0, -1, 1 << 32):
        with pytest.raises(InputError, match="slots, expected 1 to"):
            MintOrder(SMALL, WINDOW, p0, p1, (replace(door, slots=slots),))


def test_few_sets_are_open_at_a_time(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and file handles do not grow with the number of cameras."""
    most = 0
    real = SetFiles.__init__

    def counted(self: SetFiles, *arguments: object) -> None:
        nonlocal most
        real(self, *arguments)  # type: ignore[arg-type]
        most = max(most, len(list(Path("/proc/self/fd").iterdir())))

    before = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setattr(SetFiles, "__init__", counted)
    names = [f"camera-{i}" for i in range(40)]
    crowd = make_people(tmp_path / "keys", *names)
    with MintJob(crowd.order(SMALL, **dict.fromkeys(names, 1)), crowd.dealer, tmp_path) as job:
        assert job.mint(job.plan(), workers=2).sets == 40
    assert most - before < 3 * (2 * 2 + 3)
