"""A watchlist that neither party sees, from the command line to both parties' events.

Everybody is a process of the real commands; all tests share one deployment, each its own sessions.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.errors import EXIT_INPUT, EXIT_RESOURCE, EXIT_SECURITY
from shared.watchlist import Person, Watchlist, save
from tests.processes.private_world import (
    DIM,
    FACES,
    MODEL,
    NAMES,
    PARTIES,
    ROOM,
    PrivateWorld,
    embedded,
    make_private_world,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateWorld]:
    made = make_private_world(tmp_path_factory.mktemp("private") / "world")
    yield made
    made.close()


def prepared(world: PrivateWorld) -> str:
    """A session whose list both parties have agreed to."""
    name = world.mint()
    world.done(*world.share_entries(name))
    world.add_list(name)
    return name


def one_line(said: str, *words: str) -> None:
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    for word in words:
        assert word in lines[0]


def test_both_parties_find_the_authoritys_entries_in_the_cameras_faces(
    world: PrivateWorld,
) -> None:
    world.processes_only = True
    name = prepared(world)
    first, second = world.faces[:25], world.faces[25:]
    for camera, rows in (("gate", first[:10]), ("gate", first[10:]), ("yard", second)):
        world.hand_out(world.share_faces(name, camera, rows))
    world.processes_only = False
    assert [code for code, *_ in world.match(name)] == [0, 0]
    expected = world.expected(world.faces)
    assert 4 < sum(map(bool, expected)) < FACES - 4
    for who in PARTIES:
        found = world.events(who, name)
        assert [event["entries"] for event in found] == expected
        assert {event["status"] for event in found} == {"verified"}
        assert {event["window"] for event in found} == {"night"}
        assert [event["camera"] for event in found] == ["gate"] * 25 + ["yard"] * 15
        assert {event["captured"] for event in found} == {"2026-11-20T08:00:00.000Z"}
    ours, theirs = (world.events(who, name) for who in PARTIES)
    assert [e["transcript"] for e in ours] == [e["transcript"] for e in theirs]
    shown = world.call("party", "watchlist", "show", "-c", world.config("court"))
    assert f"session {name}, {len(NAMES)} shared" in shown
    assert "case 3" in shown


def test_faces_that_come_while_the_parties_run_are_matched_until_one_party_stops(
    world: PrivateWorld,
) -> None:
    name = prepared(world)
    both = [world.start(who, name) for who in PARTIES]
    for number in range(3):
        rows = world.faces[10 * number : 10 * number + 10]
        world.hand_out(world.share_faces(name, "gate", rows))
    # One that only one party got is not matched, and is told as having no result.
    world.hand_out(world.share_faces(name, "yard", world.faces[:2]), ("police",))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.2)
        lines = world.root / "court" / "state" / "private-events.jsonl"
        if lines.exists() and len(world.events("court", name)) == 30:
            break
    both[1].send_signal(signal.SIGTERM)
    ends = [world.end(process) for process in both]
    assert [code for code, *_ in ends] == [0, 0], ends
    assert "30 faces matched" in ends[0][1]
    assert "2 without a result" in ends[0][1]
    for who in PARTIES:
        found = [e for e in world.events(who, name) if e["camera"] == "gate"]
        assert [event["entries"] for event in found] == world.expected(world.faces[:30])
    left = [e for e in world.events("police", name) if e["camera"] == "yard"]
    assert [(e["status"], e["entries"]) for e in left] == [("burned", [])] * 2


def test_a_session_a_list_and_a_mask_serve_once(world: PrivateWorld) -> None:
    name = prepared(world)
    # The authority's masks are used, and so is the place for a list at each party.
    one_line(world.call(*world.share_entries(name), code=EXIT_SECURITY), "shared before")
    add = world.add_shared("police", world.shared_list(name))
    one_line(world.call(*add, code=EXIT_SECURITY), "has a list already")
    world.hand_out(world.share_faces(name, "gate", world.faces[:4]))
    assert [code for code, *_ in world.match(name)] == [0, 0]
    world.hand_out(world.share_faces(name, "gate", world.faces[4:6]))
    code, _, errors = world.end(world.start("police", name))
    assert code == EXIT_SECURITY
    one_line(errors, "never resumed")
    found = world.events("police", name)
    assert [e["status"] for e in found] == ["verified"] * 4 + ["burned"] * 2
    for path in (world.root / "police" / "state" / "shared-lists").glob("*"):
        if path.read_bytes() == world.shared_list(name).read_bytes():
            path.unlink()
    one_line(world.call(*add, code=EXIT_SECURITY), "has begun")


def test_a_party_that_dies_ends_the_session_and_its_faces_are_told_as_without_a_result(
    world: PrivateWorld,
) -> None:
    name = prepared(world)
    world.hand_out(world.share_faces(name, "gate", world.faces[:6]))
    both = [world.start(who, name) for who in PARTIES]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(world.events("police", name)) != 6:
        time.sleep(0.1)
    both[1].kill()
    world.end(both[1])
    world.hand_out(world.share_faces(name, "gate", world.faces[6:8]))
    code, _, errors = world.end(both[0])
    assert code == EXIT_SECURITY
    one_line(errors, "10 s")
    assert [e["status"] for e in world.events("police", name)] == ["verified"] * 6 + ["burned"] * 2
    told = world.announcements("police")[-1]
    assert (told["kind"], name in told["detail"]) == ("outage", True)
    # Killed, it learns at its next start that the session is over.
    code, _, errors = world.end(world.start("court", name))
    assert code == EXIT_SECURITY
    one_line(errors, "never resumed")
    assert [e["status"] for e in world.events("court", name)] == ["verified"] * 6 + ["burned"] * 2


def test_a_party_that_waits_in_vain_spends_nothing(world: PrivateWorld) -> None:
    name = prepared(world)
    world.hand_out(world.share_faces(name, "gate", world.faces[:3]))
    for who in PARTIES:
        code, _, errors = world.end(world.start(who, name, "--deadline", "0.5"))
        assert code == EXIT_SECURITY
        one_line(errors, "engine peer")
    assert [code for code, *_ in world.match(name)] == [0, 0]
    assert [e["entries"] for e in world.events("court", name)] == world.expected(world.faces[:3])


# -- what is wrong -------------------------------------------------------------------------


def test_lists_that_do_not_fit_the_session_are_refused_and_take_no_mask(
    world: PrivateWorld, tmp_path: Path
) -> None:
    name = world.mint()
    rng = np.random.default_rng(5)
    path = tmp_path / "people.jsonl"

    def refused(says: str) -> None:
        one_line(world.call(*world.share_entries(name, path), code=EXIT_INPUT), says)

    for model, dim, rows, size, says in (
        (MODEL, DIM, ROOM + 1, 0.1, f"expected 1 to {ROOM}"),
        (MODEL, DIM, 0, 0.1, f"expected 1 to {ROOM}"),
        ("facenet-vggface2", DIM, 2, 0.1, "facenet-vggface2"),
        (MODEL, DIM + 1, 2, 0.1, f"expected {MODEL} with {DIM}"),
        (MODEL, DIM, 2, 9.0, "above the bound"),
    ):
        people = (Person.of(f"p{i}", size * rng.normal(size=dim)) for i in range(rows))
        save(path, Watchlist(model, dim, tuple(people)))
        refused(says)
    path.write_bytes(path.read_bytes()[:-9])
    refused("people.jsonl")
    path.unlink()
    refused("people.jsonl")
    world.done(*world.share_entries(name))  # nothing was used


def test_faces_that_do_not_fit_the_session_are_refused_and_take_no_mask(
    world: PrivateWorld, tmp_path: Path
) -> None:
    name = prepared(world)

    def refused(code: int, *says: str, masks: Path | None = None) -> None:
        said = world.call(
            *("camera", "share-faces", "-c", world.config("gate"), tmp_path / "x.npy"),
            *("--masks", masks or world.material("gate", name)),
            code=code,
        )
        one_line(said, *says)

    for content, says in (
        (np.zeros((3, DIM + 1)), f"expected (F, {DIM})"),
        (np.zeros(DIM), f"expected (F, {DIM})"),
        (np.zeros((3, DIM), dtype=np.int64), "float32 or float64"),
        (np.array([[{}] * DIM], dtype=object), "not a NumPy array"),
    ):
        np.save(tmp_path / "x.npy", content)
        refused(EXIT_INPUT, says)
    (tmp_path / "x.npy").write_bytes(b"nothing")
    refused(EXIT_INPUT, "not a NumPy array")
    (tmp_path / "x.npy").unlink()
    refused(EXIT_INPUT, "x.npy")
    np.save(tmp_path / "x.npy", np.zeros((FACES + 1, DIM)))
    refused(EXIT_RESOURCE, f"found {FACES} rows, expected {FACES + 1}")
    np.save(tmp_path / "x.npy", np.zeros((1, DIM)))
    refused(EXIT_SECURITY, "made for", masks=world.material("police", name))
    refused(EXIT_SECURITY, masks=world.material("yard", name))
    refused(EXIT_INPUT, "not found", masks=tmp_path / "none.tke")
    np.save(tmp_path / "x.npy", np.full((1, DIM), 9.0))
    said = world.call(
        *("camera", "share-faces", "-c", world.config("gate"), tmp_path / "x.npy"),
        *("--masks", world.material("gate", name)),
    )
    assert "faces: 0, out of range: 1" in said
    whole = world.share_faces(name, "gate", world.faces)  # nothing was used
    assert whole.name.endswith(".gate.0.tki")


def test_no_list_is_taken_that_is_changed_or_of_somebody_else(
    world: PrivateWorld, tmp_path: Path
) -> None:
    name = world.mint()
    other = world.mint()
    for session in (name, other):
        world.done(*world.share_entries(session))
    file = world.shared_list(name)
    faces = world.share_faces(name, "gate", world.faces[:2])

    def add(path: Path, code: int) -> str:
        return world.call(*world.add_shared("police", path), code=code)

    content = file.read_bytes()
    changed = tmp_path / "changed.tki"
    signature = 16 + int.from_bytes(content[12:16], "little")
    for position, code, says in (
        (3, EXIT_INPUT, "not a twokey file of masked numbers"),
        (-700, EXIT_INPUT, "its numbers are not those of its header"),
        (content.index(b"case 2") + 5, EXIT_SECURITY, "not signed by authority registry"),
        (signature + 5, EXIT_SECURITY, "not signed by authority registry"),
    ):
        broken = bytearray(content)
        broken[position] ^= 4
        changed.write_bytes(broken)
        one_line(add(changed, code), "changed.tki", says)
    changed.write_bytes(content[:-16])
    one_line(add(changed, EXIT_INPUT), "bytes, expected")
    one_line(add(faces, EXIT_INPUT), "expected entries")
    one_line(add(tmp_path / "none.tki", EXIT_INPUT), "not found")
    # An authority that this party does not trust, and material that is not there.
    trusted = world.root / "police" / "trusted" / "authority-registry.identity.json"
    kept = trusted.read_bytes()
    trusted.unlink()
    one_line(add(file, EXIT_SECURITY), "no trusted authority")
    trusted.write_bytes(kept)
    material = world.material("police", name)
    hidden = material.rename(tmp_path / "hidden")
    one_line(add(file, EXIT_INPUT), "the dealer's file of this session is not there")
    shutil.move(hidden, material)
    add(file, 0)
    # Nothing but this list answers for this session.
    code, _, errors = world.end(world.start("police", other))
    assert code == EXIT_INPUT
    one_line(errors, "no list was added")
    code, _, errors = world.end(world.start("police", "nosuch"))
    assert code == EXIT_INPUT
    one_line(errors, "session nosuch is not there")


def test_files_of_faces_that_are_wrong_are_reported_and_the_others_matched(
    world: PrivateWorld,
) -> None:
    name = prepared(world)
    good = world.share_faces(name, "gate", world.faces[:3])
    world.hand_out(good)
    for who in PARTIES:
        folder = world.root / who / "private-faces"
        broken = bytearray(good.read_bytes())
        broken[-3] ^= 1
        (folder / "broken.tki").write_bytes(broken)
        (folder / "cut.tki").write_bytes(bytes(broken[:100]))
        shutil.copy(world.shared_list(name), folder / "entries.tki")
    ends = world.match(name)
    assert [code for code, *_ in ends] == [0, 0], ends
    for _, _, errors in ends:
        assert "broken.tki: its numbers are not those of its header" in errors
        assert "cut.tki: cut off in the header" in errors
    for who in PARTIES:
        assert [e["entries"] for e in world.events(who, name)] == world.expected(world.faces[:3])


def test_nobody_but_the_authority_holds_the_entries_or_the_faces_in_the_clear(
    world: PrivateWorld,
) -> None:
    """Coordinates as they stand in lists and arrays, looked for in all files of both parties."""
    name = prepared(world)
    world.hand_out(world.share_faces(name, "gate", world.faces[:5]))
    assert [code for code, *_ in world.match(name)] == [0, 0]
    for who in PARTIES:
        content = b"".join(
            path.read_bytes() for path in (world.root / who).rglob("*") if path.is_file()
        )
        for row in (*world.entries, *world.faces[:5]):
            for kind in ("<f4", "<f8"):
                assert embedded(row).astype(kind).tobytes()[:16] not in content
            for kind in ("<i4", "<i8", "<u4"):
                assert row.astype(kind).tobytes()[:16] not in content
