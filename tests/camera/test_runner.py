"""A source's faces reach both parties, or one line says why not and nothing is lost."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import camera.runner
from camera.config import CameraConfig
from camera.journal import CameraJournal
from camera.masking import Masker
from camera.pipeline import Captured
from camera.ratchetfile import RatchetState
from camera.runner import CameraRunner, Summary
from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    DiskFull,
    HeaderMismatch,
    Locked,
    MaterialExhausted,
    RangeError,
    ResourceError,
)
from shared.keys import create_identity
from shared.messages import CameraMessage, Faces
from shared.params import Parameters
from shared.windowkeys import Window
from tests.camera.folder_support import (
    PARAMS,
    STATES,
    Folder,
    ShamParty,
    captured,
    face,
    helpful,
    make_folder,
    refusing,
    serving,
    sham_parties,
    silent,
    window_now,
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = make_folder(tmp_path)
    made.hand_out(window_now())
    return made


def changed(folder: Folder, **settings: object) -> CameraConfig:
    return folder.settings.model_copy(update=settings)


def slots(party: ShamParty) -> dict[int, tuple[int, bytes]]:
    """By slot: capture time, and the masked face."""
    found: dict[int, tuple[int, bytes]] = {}
    width = 4 * PARAMS.coordinates
    for message, _ in party.got:
        times = np.frombuffer(bytes(message.times), dtype="<u8").tolist()
        masked = bytes(message.masked)
        for k, moment in enumerate(times):
            value = (moment, masked[k * width : (k + 1) * width])
            assert found.setdefault(message.first + k, value) == value, "other bytes on a slot"
    return found


def test_every_face_of_a_source_reaches_both_parties(folder: Folder) -> None:
    dropped = (RangeError("face 0: too long"),)
    source = [
        *captured(1, 2),
        Captured(3, np.empty((0, PARAMS.dim), np.int64), dropped),
        Captured(4, face(*[5] * 70), ()),  # more than one message
    ]
    with (
        sham_parties(folder) as parties,
        serving(*parties),
        CameraRunner(folder.path, folder.settings) as runner,
    ):
        assert runner.run(source) == Summary(frames=4, faces=72, out_of_range=1)
        assert runner.outcomes() == {
            "p0_verified": 72, "p0_burned": 0, "p1_verified": 72, "p1_burned": 0,
        }  # fmt: skip
    first, second = (slots(party) for party in parties)
    assert first == second
    assert [moment for _, (moment, _) in sorted(first.items())] == [1, 2, *[4] * 70]
    assert max(len(message.times) // 8 for message, _ in parties[0].got) == 64


def test_without_parties_one_line_says_so(folder: Folder) -> None:
    taken = []

    def source() -> Iterator[Captured]:
        taken.append(1)
        yield from captured(1)

    with (
        CameraRunner(folder.path, changed(folder, drain_seconds=0.2)) as runner,
        pytest.raises(ResourceError, match=r"the parties do not answer after \d+ s"),
    ):
        runner.run(source())
    assert taken == []


def test_what_has_no_outcome_is_told_kept_and_sent_again_at_the_next_run(folder: Folder) -> None:
    refused = refusing("ResourceError", "window now is not running now")
    with sham_parties(folder, silent, refused) as parties, serving(*parties):
        with (
            CameraRunner(folder.path, changed(folder, drain_seconds=0.5)) as runner,
            pytest.raises(ResourceError) as caught,
        ):
            runner.run(captured(1, 2, 3))
        assert re.fullmatch(
            r"some faces have no outcome yet after \d+ s "
            r"\(P1: ResourceError: window now is not running now\)",
            str(caught.value),
        )
        before = slots(parties[0])
        for party in parties:
            party.answer = helpful
        with CameraRunner(folder.path, folder.settings) as runner:
            assert runner.run(captured(4)).faces == 1
        found = slots(parties[1])
        assert {slot: found[slot] for slot in before} == before
        assert sorted(found) == [0, 1, 2, 3]


def test_a_refusal_for_good_ends_the_run_and_keeps_the_faces(folder: Folder) -> None:
    refused = refusing("HeaderMismatch", "faces: found parameters 00, expected 01")
    with sham_parties(folder, helpful, refused) as parties, serving(*parties):
        with (
            CameraRunner(folder.path, folder.settings) as runner,
            pytest.raises(HeaderMismatch, match="P1 refuses: faces: found"),
        ):
            runner.run(captured(*range(1, 300)))
        parties[1].answer = helpful
        with CameraRunner(folder.path, folder.settings) as runner:
            runner.run([])
        assert slots(parties[0]) == slots(parties[1]) != {}


def test_a_full_queue_makes_frames_wait_until_there_is_room(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held: list[Faces] = []

    def slow(party: ShamParty, message: CameraMessage) -> CameraMessage | None:
        if isinstance(message, Faces) and len(held) < 3:
            held.append(message)  # answered only when it comes again
            return None
        return helpful(party, message)

    def small(path: Path, *, limit_bytes: int) -> CameraJournal:
        return CameraJournal(path, limit_bytes=min(limit_bytes, 2000))  # one message

    monkeypatch.setattr(camera.runner, "CameraJournal", small)
    source = [Captured(moment, face(*[moment] * 50), ()) for moment in range(1, 13)]
    with (
        sham_parties(folder, slow) as parties,
        serving(*parties),
        CameraRunner(folder.path, folder.settings) as runner,
    ):
        assert runner.run(source).faces == 600
    assert caplog.text.count("frames wait") == 1  # though nearly every message waited
    first, second = (slots(party) for party in parties)
    assert first == second
    assert len(first) == 600
    masker = Masker(PARAMS, RatchetState(0, b"".join(STATES)))
    for slot in (0, 63, 64, 299, 300, 599):
        moment, masked = first[slot]
        assert masked == masker.mask(slot, face(moment)).astype("<u4").tobytes()


def test_a_stop_ends_the_wait_for_room(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    # No room at all.
    with (
        sham_parties(folder, silent, silent) as parties,
        serving(*parties),
        CameraRunner(folder.path, changed(folder, queue_mib=0)) as runner,
    ):
        timer = threading.Timer(0.5, runner.stop)
        timer.start()
        found = runner.run(captured(1, 2))
        timer.join()
    assert found.faces == 0
    assert "frames wait" in caplog.text
    assert "asked to stop after 1 frames" in caplog.text


def test_a_stop_leaves_what_has_no_outcome_stored(folder: Folder) -> None:
    with sham_parties(folder, silent, silent) as parties, serving(*parties):
        with CameraRunner(folder.path, changed(folder, drain_seconds=60.0)) as runner:

            def source() -> Iterator[Captured]:
                yield from captured(1)
                runner.stop()
                yield from captured(2)

            begun = time.monotonic()
            with pytest.raises(ResourceError, match=r"no outcome yet after \d+ s"):
                runner.run(source())
            assert time.monotonic() - begun < 30
        for party in parties:
            party.answer = helpful
        with CameraRunner(folder.path, folder.settings) as runner:
            runner.run([])
        assert {slot: moment for slot, (moment, _) in slots(parties[1]).items()} == {0: 1}


def test_a_full_disk_ends_the_run_at_once_also_when_a_party_owes_outcomes(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise DiskFull("camera journal: no space left")

    with sham_parties(folder, helpful, silent) as parties, serving(*parties):
        with CameraRunner(folder.path, changed(folder, drain_seconds=600.0)) as runner:

            def source() -> Iterator[Captured]:
                yield from captured(1)
                monkeypatch.setattr(CameraJournal, "append", full)
                yield from captured(2)

            begun = time.monotonic()
            with pytest.raises(DiskFull):
                runner.run(source())
            assert time.monotonic() - begun < 60
        monkeypatch.undo()
        parties[1].answer = helpful
        with CameraRunner(folder.path, folder.settings) as runner:
            runner.run([])
        assert {slot: moment for slot, (moment, _) in slots(parties[1]).items()} == {0: 1}


def test_the_end_of_the_window_ends_the_run_after_the_last_outcome(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    folder.hand_out(window_now(end=1.5))

    def source() -> Iterator[Captured]:
        for moment in range(1, 1000):
            time.sleep(0.05)
            yield from captured(moment)

    with (
        sham_parties(folder) as parties,
        serving(*parties),
        CameraRunner(folder.path, folder.settings) as runner,
    ):
        with pytest.raises(
            MaterialExhausted, match=r"^now \(.*\) has ended, \d+ faces were sent; no"
        ):
            runner.run(source())
        outcomes = runner.outcomes()
    assert outcomes["p0_verified"] == outcomes["p1_verified"] == len(slots(parties[0])) > 0


def filmed(moments: range, pause: float = 0.05) -> Iterator[Captured]:
    """A frame with one face each, while time passes."""
    for moment in moments:
        time.sleep(pause)
        yield from captured(moment)


def hand_out_two(folder: Folder, seconds: float, params: Parameters = PARAMS) -> None:
    """Material of a window that ends after so many seconds, and of the one that follows it."""
    first = window_now("first", end=seconds)
    folder.hand_out(first)
    folder.hand_out(Window("second", first.end_ms, first.end_ms + 600_000), params=params)


def by_window(party: ShamParty) -> dict[str, list[int]]:
    """The capture times that came, in order of their first coming, by window."""
    found: dict[str, list[int]] = {}
    for message, _ in party.got:
        moments = found.setdefault(message.window, [])
        times = np.frombuffer(bytes(message.times), dtype="<u8").tolist()
        moments += [moment for moment in times if moment not in moments]
    return found


def test_at_a_window_s_end_it_goes_on_with_the_next_and_forgets_the_former(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    hand_out_two(folder, 1.5)
    with (
        sham_parties(folder) as parties,
        serving(*parties),
        CameraRunner(folder.path, folder.settings) as runner,
    ):
        assert runner.run(filmed(range(1, 61))).faces == 60
        assert runner.outcomes()["p0_verified"] == runner.outcomes()["p1_verified"] == 60
        assert runner.set.window.id == "second"
    for party in parties:
        found = by_window(party)
        assert list(found) == ["first", "second"]
        assert found["first"] + found["second"] == list(range(1, 61))
    with CameraJournal(folder.role.state / "journal.sqlite", limit_bytes=1 << 20) as journal:
        assert [known.name.window for known in journal.sets()] == ["second"]
    kept = [path.name for path in folder.role.state.glob("set-*.json")]
    assert len(kept) == 1
    assert not list((folder.role.state / "window-keys").glob("*.key"))


def test_faces_without_an_outcome_at_a_window_s_end_hold_up_the_next_for_a_while_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_folder(tmp_path, drain_seconds=1.0)
    hand_out_two(folder, 1.0)

    def at_last(party: ShamParty, message: CameraMessage) -> CameraMessage | None:
        waits = isinstance(message, Faces) and message.window == "first"
        return None if waits else helpful(party, message)

    with (
        sham_parties(folder, helpful, at_last) as parties,
        serving(*parties),
        CameraRunner(folder.path, folder.settings) as runner,
    ):
        assert runner.run(filmed(range(1, 41))).faces == 40
    lost = by_window(parties[0])["first"]
    assert f"{len(lost)} faces that not both parties acknowledged are dropped" in caplog.text
    assert lost + by_window(parties[1])["second"] == list(range(1, 41))


def test_a_next_window_with_other_integers_for_a_face_ends_the_run(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    hand_out_two(folder, 1.0, replace(PARAMS, face_bound=39))
    with (
        sham_parties(folder) as parties,
        serving(*parties),
        CameraRunner(folder.path, folder.settings) as runner,
        pytest.raises(MaterialExhausted, match=r"^first .* the next window has other parameters"),
    ):
        runner.run(filmed(range(1, 1000)))
    assert list(by_window(parties[0])) == ["first"]


def test_used_up_slots_end_the_run_after_the_last_outcome(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    folder.hand_out(window_now(), 3)
    with (
        sham_parties(folder) as parties,
        serving(*parties),
        CameraRunner(folder.path, folder.settings) as runner,
    ):
        with pytest.raises(MaterialExhausted, match="0 slots are left, 1 faces came"):
            runner.run(captured(1, 2, 3, 4, 5))
        assert runner.outcomes()["p1_verified"] == 3


def test_without_material_of_now_it_does_not_open(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    with pytest.raises(MaterialExhausted, match="door: no material of a window that runs now"):
        CameraRunner(folder.path, folder.settings)
    folder.hand_out(window_now("later", 600, 1200))
    with pytest.raises(MaterialExhausted, match="no material of a window that runs now"):
        CameraRunner(folder.path, folder.settings)
    folder.hand_out(window_now(), dealer=create_identity("dealer", "stranger"))
    with pytest.raises(AuthenticationFailed, match="made by another dealer"):
        CameraRunner(folder.path, folder.settings)


def test_a_second_process_on_the_same_folder_is_refused(folder: Folder) -> None:
    with CameraRunner(folder.path, folder.settings), pytest.raises(Locked):
        CameraRunner(folder.path, folder.settings)


def test_an_address_that_is_none_is_refused_and_the_journal_let_go(folder: Folder) -> None:
    with pytest.raises(ConfigError, match="cannot use the address nowhere"):
        CameraRunner(folder.path, changed(folder, p1_address="nowhere"))
    with CameraRunner(folder.path, folder.settings):
        pass
