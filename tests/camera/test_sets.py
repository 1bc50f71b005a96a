"""A material file is taken over once; what could open it again is gone, also after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from camera import sets
from camera.journal import CameraJournal
from camera.sets import SetStore
from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    FormatError,
    HeaderMismatch,
    TwokeyError,
)
from shared.keys import create_identity
from shared.windowkeys import private_path, publish_window_key
from tests.camera.folder_support import (
    CAMERA,
    MODEL,
    PARAMS,
    STATES,
    Folder,
    make_folder,
    window_now,
)

WINDOW = window_now()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return make_folder(tmp_path)


@pytest.fixture
def journal(folder: Folder) -> Iterator[CameraJournal]:
    with CameraJournal(folder.role.state / "journal.sqlite", limit_bytes=1 << 20) as opened:
        yield opened


def adopt(folder: Folder, journal: CameraJournal, path: Path) -> sets.OpenSet:
    return SetStore(folder.role.state, journal).adopt(path, folder.dealer.public, CAMERA, MODEL)


def adopt_all(folder: Folder, store: SetStore, wall_ms: int = WINDOW.start_ms) -> object:
    return store.adopt_all(folder.material, folder.dealer.public, CAMERA, MODEL, wall_ms)


def test_a_file_is_taken_over_once_and_its_key_destroyed(
    folder: Folder, journal: CameraJournal
) -> None:
    path = folder.hand_out(WINDOW, 70)
    copy = Path(shutil.copy(path, folder.path / "copy.tkm"))
    found = adopt(folder, journal, path)
    assert (found.slots, found.params, found.window) == (70, PARAMS, WINDOW)
    assert not path.exists()
    assert not private_path(folder.role.state, WINDOW.id).exists()
    assert journal.ratchet(found.set_id).state == b"".join(STATES)
    # The same file again changes nothing: no slot comes back.
    journal.append(found.set_id, 0, 65, [b"frame"])
    assert adopt(folder, journal, copy) == found
    assert not copy.exists()
    assert journal.next_slot(found.set_id) == 65


def test_a_set_is_there_again_after_a_restart(folder: Folder, journal: CameraJournal) -> None:
    found = adopt(folder, journal, folder.hand_out(WINDOW))
    store = SetStore(folder.role.state, journal)
    assert list(store.sets.values()) == [found]
    assert store.current(WINDOW.start_ms) == found
    assert store.current(WINDOW.end_ms) is None
    assert store.current(WINDOW.start_ms - 1) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("window", 5), ("start_ms", "0"), ("slots", 70.0), ("mint_id", ""), ("parameters", [])],
)
def test_a_set_file_that_no_camera_wrote_is_refused(
    folder: Folder, journal: CameraJournal, field: str, value: object
) -> None:
    adopt(folder, journal, folder.hand_out(WINDOW))
    (path,) = folder.role.state.glob("set-*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(FormatError):
        SetStore(folder.role.state, journal)


@pytest.mark.parametrize("step", ["_keep", "_forget_former", "destroy_window_key", "unlink"])
def test_a_kill_at_any_step_leaves_what_a_restart_completes(
    step: str, folder: Folder, journal: CameraJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.hand_out(WINDOW)

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    owner = {"destroy_window_key": sets, "unlink": Path}.get(step, SetStore)
    with monkeypatch.context() as patched:
        patched.setattr(owner, step, kill)
        with pytest.raises(Killed):
            adopt(folder, journal, path)
    store = SetStore(folder.role.state, journal)
    assert adopt_all(folder, store) is None
    assert len(store.sets) == 1
    assert not path.exists()
    assert not private_path(folder.role.state, WINDOW.id).exists()


def test_a_set_minted_anew_replaces_the_former_one(
    folder: Folder, journal: CameraJournal, caplog: pytest.LogCaptureFixture
) -> None:
    first = adopt(folder, journal, folder.hand_out(WINDOW))
    journal.append(first.set_id, 0, 3, [b"frame"])
    second = adopt(folder, journal, folder.hand_out(WINDOW))
    assert first.set_id != second.set_id
    store = SetStore(folder.role.state, journal)
    assert list(store.sets.values()) == [second]
    assert journal.stored_bytes == 0
    assert "3 faces" in caplog.text


def test_an_old_copy_does_not_push_out_the_set_in_force(
    folder: Folder, journal: CameraJournal
) -> None:
    path = folder.hand_out(WINDOW)
    old = Path(shutil.copy(path, folder.path / "old.tkm"))
    adopt(folder, journal, path)
    second = adopt(folder, journal, folder.hand_out(WINDOW))
    with pytest.raises(ConfigError, match="window key"):
        adopt(folder, journal, old)
    assert list(SetStore(folder.role.state, journal).sets.values()) == [second]


def test_a_new_key_is_not_lost_to_an_old_copy(folder: Folder, journal: CameraJournal) -> None:
    path = folder.hand_out(WINDOW)
    old = Path(shutil.copy(path, folder.path / "old.tkm"))
    adopt(folder, journal, path)
    publish_window_key(folder.identity, folder.role.state, folder.role.published, WINDOW)
    with pytest.raises(TwokeyError):
        adopt(folder, journal, old)
    assert private_path(folder.role.state, WINDOW.id).exists()


def test_files_that_are_not_for_this_camera_are_refused_and_nothing_is_destroyed(
    folder: Folder, journal: CameraJournal, tmp_path: Path
) -> None:
    back_door = make_folder(tmp_path, "back-door")
    stranger = create_identity("dealer", "stranger")
    cut = folder.hand_out(WINDOW)
    cut.write_bytes(cut.read_bytes()[:-1])
    other_model = replace(PARAMS, model="facenet-vggface2")
    for path, error in (
        (folder.hand_out(WINDOW, dealer=stranger), AuthenticationFailed),
        (back_door.hand_out(WINDOW, dealer=folder.dealer), HeaderMismatch),
        (folder.hand_out(WINDOW, params=other_model), HeaderMismatch),
        (cut, FormatError),
        (folder.material / "gone.tkm", ConfigError),
    ):
        with pytest.raises(error) as caught:
            adopt(folder, journal, path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert private_path(folder.role.state, WINDOW.id).exists()
        assert path.exists() or path.name == "gone.tkm"
    assert journal.sets() == []


def test_every_good_file_of_a_folder_is_taken_over_and_the_first_error_told(
    folder: Folder, journal: CameraJournal
) -> None:
    later = window_now("later", 600, 1200)
    folder.hand_out(later)
    folder.hand_out(WINDOW)
    (folder.material / "a.tkm").write_bytes(b"no material")
    store = SetStore(folder.role.state, journal)
    assert isinstance(adopt_all(folder, store), FormatError)
    assert {found.window for found in store.sets.values()} == {WINDOW, later}
    assert [path.name for path in folder.material.iterdir()] == ["a.tkm"]


def test_what_has_ended_is_forgotten_with_its_keys(
    folder: Folder, journal: CameraJournal, caplog: pytest.LogCaptureFixture
) -> None:
    never_minted = replace(WINDOW, id="never")
    publish_window_key(folder.identity, folder.role.state, folder.role.published, never_minted)
    later = window_now("later", 600, 1200)
    publish_window_key(folder.identity, folder.role.state, folder.role.published, later)
    found = adopt(folder, journal, folder.hand_out(WINDOW))
    journal.append(found.set_id, 0, 2, [b"frame"])
    store = SetStore(folder.role.state, journal)
    store.forget_ended(WINDOW.end_ms - 1)
    assert store.sets
    store.forget_ended(WINDOW.end_ms)
    assert store.sets == {}
    assert SetStore(folder.role.state, journal).sets == {}
    assert (journal.sets(), journal.stored_bytes) == ([], 0)
    assert "2 faces" in caplog.text
    assert not list(folder.role.state.glob("set-*"))
    assert not list(folder.role.state.glob("*ratchet-*"))
    assert not private_path(folder.role.state, never_minted.id).exists()
    assert private_path(folder.role.state, later.id).exists()


def test_a_file_of_a_window_that_has_ended_is_removed(
    folder: Folder, journal: CameraJournal
) -> None:
    path = folder.hand_out(WINDOW)
    store = SetStore(folder.role.state, journal)
    assert adopt_all(folder, store, WINDOW.end_ms) is None
    assert not path.exists()
    assert store.sets == {}
