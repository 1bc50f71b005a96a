"""A party's side of its connections to cameras: who speaks, about which window (protocol 3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from party.session import WindowSession, printable
from party.windowstate import Moment
from shared.codec import Buffer
from shared.errors import AuthenticationFailed, HeaderMismatch, ResourceError, TwokeyError
from shared.messages import (
    CAMERA_CODEC,
    CameraHello,
    CameraMessage,
    CameraRefused,
    Faces,
    Welcome,
)
from shared.transport import Transport

log = logging.getLogger(__name__)

CAMERA_BACKLOG: Final = 256 << 20  # bytes of one camera that wait to be taken
_QUEUE = 1_000
_MAX_FRAME = 17 << 20  # the most faces of the most coordinates
_ROUND = 64  # messages at a time, so that the peer does not wait for long
_LOG_SECONDS = 1.0


@dataclass(slots=True)
class _Camera:
    """A camera's name, the route by which it was last heard, and when its next error is logged."""

    name: str
    route: bytes | None = None
    next_log: float = 0.0


class CameraLink:
    """Takes what the known cameras send to the sessions of their windows, and answers.

    names: of the cameras, by transport key. sessions: by window, as they are at each moment.
    tolerance: seconds by which a camera may be early or late. Raises ResourceError.
    """

    def __init__(
        self,
        transport: Transport,
        address: str,
        names: Mapping[bytes, str],
        sessions: Mapping[str, WindowSession],
        tolerance: float,
    ) -> None:
        self._cameras = {key: _Camera(name) for key, name in names.items()}
        self._by_name = {camera.name: camera for camera in self._cameras.values()}
        self._sessions = sessions
        self._tolerance_ms = tolerance * 1000
        self.end = transport.listen(
            address,
            self._cameras,
            domain="cameras",
            queue=_QUEUE,
            max_message=_MAX_FRAME,
        )

    @property
    def known(self) -> int:
        """How many cameras may connect."""
        return len(self._cameras)

    def read(self, now: Callable[[], Moment]) -> None:
        """Takes in what has arrived, some of it at a time; a camera's error is told to it alone."""
        for _ in range(_ROUND):
            received = self.end.receive()
            if received is None:
                return
            camera = self._cameras.get(received.key)
            if camera is None:
                continue
            camera.route = received.sender
            window = ""
            try:
                message = CAMERA_CODEC.decode(received.frames)
                window = getattr(message, "window", "")
                self._take(camera, message, received.frames, now())
            except TwokeyError as error:
                if time.monotonic() >= camera.next_log:  # it may send the same thousands of times
                    camera.next_log = time.monotonic() + _LOG_SECONDS
                    log.warning("camera %s: %s", camera.name, error)
                kind, detail = type(error).__name__, printable(str(error))
                self.send(camera.name, CameraRefused(window, camera.name, kind, detail))

    def send(self, name: str, message: CameraMessage) -> None:
        """To a camera, if it was heard before; one that is gone asks again when it is back."""
        camera = self._by_name[name]
        if camera.route is not None:
            self.end.send(camera.route, CAMERA_CODEC.encode(message))

    def _take(
        self, camera: _Camera, message: CameraMessage, frames: list[Buffer], moment: Moment
    ) -> None:
        if not isinstance(message, CameraHello | Faces):
            raise HeaderMismatch(f"a camera does not send {type(message).__name__}")
        if message.camera != camera.name:
            raise AuthenticationFailed(
                f"found a message of camera {message.camera}, expected {camera.name}"
            )
        session = self._sessions.get(message.window)
        if session is None:
            raise ResourceError(f"window {message.window} is not open here")
        if isinstance(message, CameraHello):
            mark = session.welcome(message)
            self.send(
                camera.name,
                Welcome(message.window, camera.name, message.mint_id, mark, moment.wall_ms),
            )
            return
        spec = session.spec
        start, end = spec.start_ms - self._tolerance_ms, spec.end_ms + self._tolerance_ms
        if not start <= moment.wall_ms <= end:
            raise ResourceError(f"window {spec.name} is not running now")
        session.faces(message, frames, moment)
