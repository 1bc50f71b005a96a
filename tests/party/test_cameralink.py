"""What cameras send reaches the session of their window, and nobody speaks for another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from party.cameralink import CameraLink
from party.windowstate import Moment
from shared.codec import Buffer
from shared.errors import ProtocolViolation
from shared.messages import (
    CAMERA_CODEC,
    CameraHello,
    CameraMessage,
    CameraRefused,
    FaceAck,
    Faces,
    Welcome,
)
from shared.transport import Received

KEYS = {b"key of the gate": "gate", b"key of the door": "door"}
START, END = 1_000_000, 2_000_000


def hello(window: str = "w", camera: str = "gate") -> CameraHello:
    return CameraHello(window, camera, bytes(16), bytes(32), START)


def faces(window: str = "w", camera: str = "gate") -> Faces:
    return Faces(bytes(16), bytes(32), window, camera, 0, bytes(8), bytes(8))


@dataclass
class Scene:
    """A link whose listener is a list of what has arrived; its one window is `w`."""

    arrived: list[Received] = field(default_factory=list)
    sent: list[tuple[bytes, Any]] = field(default_factory=list)
    now_ms: int = START

    def __post_init__(self) -> None:
        self.session = Mock()
        self.session.spec = SimpleNamespace(name="w", start_ms=START, end_ms=END)
        self.session.welcome.return_value = 7
        end = SimpleNamespace(
            receive=lambda: self.arrived.pop(0) if self.arrived else None,
            send=lambda route, frames: self.sent.append((route, CAMERA_CODEC.decode(frames))),
        )
        transport = Mock(listen=Mock(return_value=end))
        self.link = CameraLink(transport, "tcp://*:1", KEYS, {"w": self.session}, 2.0)

    def say(self, message: CameraMessage | list[Buffer], key: bytes = b"key of the gate") -> None:
        frames = message if isinstance(message, list) else CAMERA_CODEC.encode(message)
        self.arrived.append(Received(b"route of " + key, key, frames))
        self.link.read(lambda: Moment(1.0, self.now_ms))

    def refused(self) -> list[str]:
        return [answer.error for _, answer in self.sent if isinstance(answer, CameraRefused)]


def test_a_camera_is_welcomed_and_its_faces_reach_the_session_of_their_window() -> None:
    scene = Scene()
    scene.say(hello())
    assert scene.sent == [
        (b"route of key of the gate", Welcome("w", "gate", bytes(16), 7, START)),
    ]
    scene.say(faces())
    (message, frames, moment), _ = scene.session.faces.call_args
    assert (message.camera, CAMERA_CODEC.decode(frames), moment.wall_ms) == (
        "gate", faces(), START,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (hello(camera="door"), "AuthenticationFailed"),
        (faces(camera="door"), "AuthenticationFailed"),
        (faces(window="other"), "ResourceError"),
        (hello(window="other"), "ResourceError"),
        (FaceAck("w", "gate", bytes(16), ()), "HeaderMismatch"),
        ([b"nonsense"], "FormatError"),
    ],
)
def test_what_a_camera_may_not_say_is_refused_to_it_and_reaches_no_session(
    message: CameraMessage | list[Buffer], error: str
) -> None:
    scene = Scene()
    scene.say(message)
    assert scene.refused() == [error]
    assert not scene.session.faces.called
    assert not scene.session.welcome.called


def test_a_key_that_is_not_known_gets_no_answer() -> None:
    scene = Scene()
    scene.say(hello(), key=b"key of a stranger")
    assert scene.sent == []


@pytest.mark.parametrize(
    ("now_ms", "taken"),
    [(START - 2001, False), (START - 2000, True), (END + 2000, True), (END + 2001, False)],
)
def test_faces_are_taken_while_the_window_runs_give_or_take_the_clocks_tolerance(
    now_ms: int, taken: bool
) -> None:
    scene = Scene(now_ms=now_ms)
    scene.say(faces())
    assert scene.session.faces.called is taken
    assert scene.refused() == ([] if taken else ["ResourceError"])


def test_one_cameras_error_is_told_to_it_alone_and_the_others_are_served() -> None:
    scene = Scene()
    scene.say(hello(), key=b"key of the gate")
    scene.session.faces.side_effect = ProtocolViolation("slot 3 is out of turn")
    scene.say(faces())
    scene.session.faces.side_effect = None
    scene.say(faces(camera="door"), key=b"key of the door")
    assert scene.refused() == ["ProtocolViolation"]
    assert scene.session.faces.call_count == 2


def test_a_camera_that_was_never_heard_is_sent_nothing() -> None:
    scene = Scene()
    scene.link.send("door", FaceAck("w", "door", bytes(16), ()))
    assert scene.sent == []


def test_what_is_refused_to_one_camera_is_logged_once_a_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()
    moments = iter(np.arange(0.0, 5.0, 0.005))
    monotonic: Callable[[], float] = lambda: float(next(moments))  # noqa: E731
    monkeypatch.setattr("party.cameralink.time.monotonic", monotonic)
    for _ in range(500):
        scene.say([b"nonsense"])
    assert len(scene.refused()) == 500
    assert 2 <= sum("camera gate" in line for line in caplog.messages) <= 6
