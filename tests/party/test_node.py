"""A party that did not run when a window ended destroys its key and material when it starts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from party.config import PartyConfig
from party.events import EventBatch
from party.materialfolder import FoundFile
from party.node import PartyNode
from party.windowstate import Moment
from perf.deployment import Deployment, deploy
from shared import config
from shared.errors import FormatError, HeaderMismatch, WindowClosed
from shared.messages import CameraMessage, FaceAck, Outcome, Refused, Run
from shared.watchlist import Person
from shared.windowkeys import Window, private_path, publish_window_key
from tests.material_support import SMALL

CAMERA = "door"


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    found = deploy(tmp_path, SMALL, cameras=[CAMERA], seconds=600)
    found.mint(20)
    return found


def start(made: Deployment) -> PartyNode:
    folder = made.root / "p0"
    return PartyNode(folder, config.load(PartyConfig, folder / "party.toml"))


@pytest.fixture
def node(made: Deployment) -> Iterator[PartyNode]:
    opened = start(made)
    try:
        yield opened
    finally:
        opened.close()


def after(made: Deployment, seconds: float) -> Moment:
    return Moment(1e9, made.window.end_ms + round(seconds * 1000))


def test_an_ended_window_is_not_opened_its_file_and_key_go(
    made: Deployment, node: PartyNode
) -> None:
    state, file = made.folder("p0").state, made.root / "p0" / "material" / f"{CAMERA}.tkm"
    never = Window("never", made.window.start_ms, made.window.start_ms + 1)
    later = Window("later", made.window.end_ms, made.window.end_ms + 10**9)
    for window in (never, later):
        publish_window_key(made.identities["p0"], state, made.root / "keys", window)
    node._every_second(after(made, 3600))
    assert not file.exists()
    assert not private_path(state, made.window.id).exists()
    assert not private_path(state, never.id).exists()
    assert private_path(state, later.id).exists()
    assert not node._sessions
    assert node._fatal is None


def test_a_window_keeps_file_and_key_until_its_last_batches_are_over(
    made: Deployment, node: PartyNode
) -> None:
    state, file = made.folder("p0").state, made.root / "p0" / "material" / f"{CAMERA}.tkm"
    node._every_second(after(made, 0.0))
    assert made.window.id in node._sessions
    assert file.exists()
    assert private_path(state, made.window.id).exists()
    node._every_second(after(made, 3600))
    assert not node._sessions
    assert not file.exists()
    assert not private_path(state, made.window.id).exists()


def test_a_key_that_others_may_read_is_told_and_ends_nothing(
    made: Deployment, node: PartyNode, caplog: pytest.LogCaptureFixture
) -> None:
    private_path(made.folder("p0").state, made.window.id).chmod(0o644)
    node._every_second(after(made, 3600))
    assert "expected 0600" in caplog.text
    assert node._fatal is None


def test_a_window_closed_by_a_process_that_was_killed_then_loses_key_and_material(
    made: Deployment,
) -> None:
    state, file = made.folder("p0").state, made.root / "p0" / "material" / f"{CAMERA}.tkm"
    first = start(made)
    first._every_second(after(made, -60))
    first._sessions[made.window.id].close("a failed check", after(made, -60))
    first.close()
    assert file.exists()
    second = start(made)
    second._every_second(after(made, -50))
    second.close()
    assert isinstance(second._fatal, WindowClosed)
    assert not file.exists()
    assert not private_path(state, made.window.id).exists()


def test_a_file_that_was_replaced_between_its_two_readings_is_refused(
    made: Deployment, node: PartyNode
) -> None:
    (found,) = node._windows._material.scan()[0][made.window.id]
    other = replace(found.header.window, end_ms=found.header.window.end_ms + 10**9)
    stale = FoundFile(found.path, replace(found.header, window=other))
    with pytest.raises(HeaderMismatch, match="was replaced"):
        node._windows._opener.open([stale], (), after(made, -60))


def test_a_watchlist_that_does_not_fit_changes_nothing(
    made: Deployment, node: PartyNode, caplog: pytest.LogCaptureFixture
) -> None:
    made.write_watchlist([Person.of("ada", np.full(SMALL.dim, 0.01))])
    node._every_second(after(made, -60))
    before = node._sessions[made.window.id].entries
    assert [entry.name for entry in before] == ["ada"]
    made.write_watchlist([Person.of("bob", np.full(SMALL.dim, 100.0))])
    node._every_second(after(made, -59))
    assert "the former one stays in force" in caplog.text
    assert node._sessions[made.window.id].entries == before
    assert [entry.name for entry in node._people.entries(SMALL)] == ["ada"]


def test_only_a_refused_hello_can_end_the_process(made: Deployment, node: PartyNode) -> None:
    moment = after(made, -60)
    node._every_second(moment)
    node._talk._route(Refused(b"an ended session ".ljust(32), "HeaderMismatch", "late"), moment)
    assert node._talk.error is None
    node._sessions[made.window.id].session = bytes(range(32))
    node._talk._route(Refused(bytes(32), "HeaderMismatch", "for no reason"), moment)
    assert node._talk.error is None  # they do agree
    node._sessions[made.window.id].session = None
    node._talk._route(Refused(bytes(32), "HeaderMismatch", "other parameters"), moment)
    assert isinstance(node._talk.error, HeaderMismatch)


def test_what_does_not_decode_is_answered_once_a_second(node: PartyNode) -> None:
    for seconds in (10.0, 10.5, 10.9, 11.0, 11.5):
        node._talk._malformed(FormatError("message: a line\nbreak"), Moment(seconds, 0))
    assert node._talk.wire.messages_sent["other"] == 2


def test_many_outcomes_travel_in_messages_that_a_camera_takes(
    made: Deployment, node: PartyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[CameraMessage] = []
    monkeypatch.setattr(node._acks, "_tell", lambda _name, message: sent.append(message))
    for slot in range(25_000):
        ack = FaceAck(made.window.id, CAMERA, bytes(16), (Outcome(slot, 1, 1),))
        node.outbox.cameras.append((CAMERA, ack))
    node._flush(after(made, -60))
    node._acks.finish()
    assert [len(m.outcomes) for m in sent if isinstance(m, FaceAck)] == [10_000, 10_000, 5_000]


def test_faces_are_kept_as_long_as_configured_and_those_of_an_open_window_longer(
    made: Deployment, node: PartyNode
) -> None:
    day = 86_400_000
    now_ms = time.time_ns() // 1_000_000
    node._every_second(Moment(1e9, made.window.start_ms))
    assert made.window.id in node._sessions
    for window, age in (("old", 31), ("young", 29), (made.window.id, 31)):
        run = Run(bytes([age, len(window)]) * 4, 0, 1)
        times = np.array([now_ms], dtype=np.uint64)
        bits = np.zeros((1, 0), dtype=np.bool_)
        node.events.record(
            EventBatch(
                b"b", window, (run,), (CAMERA,), times, (), bits, bytes(32), now_ms - age * day
            )
        )
    node._forget()
    assert [event.window for event in node.events.events()] == ["young", made.window.id]
