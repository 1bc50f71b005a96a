"""The cameras of a measurement, all in one process: `python -m perf.feeder`.

It masks every face beforehand and then only sends stored bytes, over one CURVE connection with its
own identity for each camera and party, as the cameras would. A camera's journal has no part in it:
what that costs is measured apart. One JSON object comes on standard input, and a line for each
wish after it; each answer is a JSON line on standard output.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import zmq
from numpy.typing import NDArray

from camera.config import CameraConfig
from camera.masking import Masker
from camera.ratchetfile import RatchetState
from perf.appended import Appended
from shared import config
from shared.codec import Buffer
from shared.errors import ProtocolViolation, ResourceError
from shared.materialfile import MaterialFile
from shared.materialheader import read_header
from shared.messages import (
    CAMERA_CODEC,
    VERIFIED,
    CameraHello,
    CameraRefused,
    FaceAck,
    Faces,
    Welcome,
)
from shared.roles import RoleFolder
from shared.windowkeys import load_private_window_key

_QUEUE = 10_000
_SILENCE_SECONDS = 60.0
_HELLO_SECONDS = 10.0
_LOOK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send. faces: file of (F, d) int64, split evenly over the cameras in order.

    outstanding: faces that may be without an outcome, over all cameras. events: both parties'
    files of event lines.
    """

    root: Path
    window: str
    cameras: tuple[str, ...]
    faces: Path
    faces_per_message: int
    outstanding: int
    events: tuple[Path, Path]

    def to_json(self) -> bytes:
        """One line for standard input."""
        return orjson.dumps(
            {
                "root": str(self.root),
                "window": self.window,
                "cameras": self.cameras,
                "faces": str(self.faces),
                "faces_per_message": self.faces_per_message,
                "outstanding": self.outstanding,
                "events": [str(path) for path in self.events],
            }
        )

    @classmethod
    def from_json(cls, line: str) -> Plan:
        """The inverse of `to_json`."""
        found = orjson.loads(line)
        return cls(
            Path(found["root"]),
            found["window"],
            tuple(found["cameras"]),
            Path(found["faces"]),
            found["faces_per_message"],
            found["outstanding"],
            (Path(found["events"][0]), Path(found["events"][1])),
        )


@dataclass(slots=True)
class _Camera:
    """One camera: its sockets to both parties and its masked messages, with their sizes."""

    name: str
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]]
    hello: list[Buffer]
    messages: deque[tuple[int, list[Buffer]]] = field(repr=False)
    sent: int = 0
    done: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def outstanding(self) -> int:
        """Faces that one of the parties has not acknowledged."""
        return self.sent - min(self.done)


class Feeder:
    """All cameras of a plan. Close it, or use it as a context manager."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, 2 * len(plan.cameras) + 8)
        self._poller = zmq.Poller()
        self._of_socket: dict[zmq.Socket[bytes], tuple[_Camera, int]] = {}
        self.bytes_sent = 0
        self.verified = [0, 0]
        faces: NDArray[np.int64] = np.load(plan.faces, allow_pickle=False)
        shares = np.array_split(faces, len(plan.cameras))
        self.cameras = [
            self._camera(name, share) for name, share in zip(plan.cameras, shares, strict=True)
        ]

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        for socket in self._of_socket:
            socket.close(linger=0)
        self._context.term()

    def say_hello(self) -> None:
        """Until both parties have answered every camera. Raises ResourceError."""
        waiting = set(self._of_socket)
        deadline = time.monotonic() + _HELLO_SECONDS
        for socket in waiting:
            socket.send_multipart(self._of_socket[socket][0].hello)
        while waiting:
            if time.monotonic() > deadline:
                raise ResourceError(f"{len(waiting)} connections got no welcome")
            for socket, _ in self._poller.poll(100):
                message = CAMERA_CODEC.decode(socket.recv_multipart())
                if isinstance(message, Welcome):
                    waiting.discard(socket)
                else:
                    raise ProtocolViolation(f"found {type(message).__name__}, expected Welcome")

    def feed(self) -> float:
        """Sends everything; seconds from the first message to the last outcome of both parties."""
        share = self._plan.outstanding // len(self.cameras)
        left = sum(len(camera.messages) for camera in self.cameras)
        total = [sum(n for c in self.cameras for n, _ in c.messages)] * 2
        done = [sum(c.done[party] for c in self.cameras) for party in (0, 1)]
        total = [total[party] + done[party] for party in (0, 1)]
        start = heard = time.monotonic()
        while left or done != total:
            for camera in self.cameras:
                while camera.messages and (
                    not camera.outstanding or camera.outstanding + camera.messages[0][0] <= share
                ):
                    self._send(camera)
                    left -= 1
            # To look at all sockets takes a while, of the same cores that the parties run on.
            time.sleep(_LOOK_SECONDS)
            for socket, _ in self._poller.poll(20):
                camera, party = self._of_socket[socket]
                done[party] += self._receive(socket, camera, party)
                heard = time.monotonic()
            if time.monotonic() - heard > _SILENCE_SECONDS:
                raise ResourceError(f"no outcome for {_SILENCE_SECONDS:.0f} s, {done} of {total}")
        return time.monotonic() - start

    def one_by_one(self) -> NDArray[np.float64]:
        """Each message alone; for each the ms from its sending to its lines at both parties."""
        took: list[float] = []
        with Appended(self._plan.events) as appended:
            for camera in self.cameras:
                while camera.messages:
                    faces = camera.messages[0][0]
                    start = time.monotonic_ns()
                    self._send(camera)
                    appended.wait_lines(faces, _SILENCE_SECONDS)
                    took.append((time.monotonic_ns() - start) / 1e6)
        while any(camera.outstanding for camera in self.cameras):
            ready = self._poller.poll(int(1000 * _SILENCE_SECONDS))
            if not ready:
                raise ResourceError("the parties acknowledge nothing more")
            for socket, _ in ready:
                self._receive(socket, *self._of_socket[socket])
        return np.array(took)

    # -- inside ----------------------------------------------------------------------------

    def _send(self, camera: _Camera) -> None:
        faces, frames = camera.messages.popleft()
        for socket in camera.sockets:
            socket.send_multipart(frames, zmq.NOBLOCK)
        camera.sent += faces
        self.bytes_sent += 2 * sum(len(frame) for frame in frames)

    def _receive(self, socket: zmq.Socket[bytes], camera: _Camera, party: int) -> int:
        """Takes all that is there; faces that have an outcome now."""
        faces = 0
        while True:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                camera.done[party] += faces
                return faces
            message = CAMERA_CODEC.decode(frames)
            if isinstance(message, CameraRefused):
                raise ResourceError(f"P{party} refuses: {message.error}: {message.detail}")
            if isinstance(message, FaceAck):
                for outcome in message.outcomes:
                    faces += outcome.length
                    if outcome.outcome == VERIFIED:
                        self.verified[party] += outcome.length

    def _camera(self, name: str, faces: NDArray[np.int64]) -> _Camera:
        plan = self._plan
        folder = RoleFolder(plan.root / name)
        settings = config.load(CameraConfig, plan.root / name / "camera.toml")
        identity, trusted = folder.identity("camera"), folder.trusted()
        key = load_private_window_key(folder.state, plan.window, "camera", name)
        path = settings.material / f"{name}.tkm"
        header = read_header(path).header
        with MaterialFile.open(
            path,
            dealer=trusted.the("dealer"),
            window_key=key,
            params=header.params,
            camera=name,
        ) as file:
            seeds = file.camera_seeds()
            state = seeds.ratchet0.reveal() + seeds.ratchet1.reveal()
        masker = Masker(header.params, RatchetState(0, state))
        digest = header.params.digest()
        messages: deque[tuple[int, list[Buffer]]] = deque()
        now_ms = time.time_ns() // 1_000_000
        for first in range(0, len(faces), plan.faces_per_message):
            part = faces[first : first + plan.faces_per_message]
            message = Faces(
                header.mint_id,
                digest,
                plan.window,
                name,
                first,
                np.full(len(part), now_ms, dtype="<u8").tobytes(),
                masker.mask(first, part).astype("<u4").tobytes(),
            )
            messages.append((len(part), CAMERA_CODEC.encode(message)))
        masker.close()
        pair = identity.curve_pair()
        hello = CameraHello(plan.window, name, header.mint_id, digest, now_ms)
        sockets = []
        for party, address in (("p0", settings.p0_address), ("p1", settings.p1_address)):
            socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
            socket.linger = 0
            socket.sndhwm = socket.rcvhwm = _QUEUE
            socket.routing_id = name.encode()
            socket.curve_publickey = pair.public
            socket.curve_secretkey = pair.secret
            socket.curve_serverkey = trusted.the(party).curve_key  # type: ignore[arg-type]
            socket.connect(address)
            self._poller.register(socket, zmq.POLLIN)
            sockets.append(socket)
        camera = _Camera(name, (sockets[0], sockets[1]), CAMERA_CODEC.encode(hello), messages)
        for party_number, socket in enumerate(sockets):
            self._of_socket[socket] = (camera, party_number)
        return camera


def main() -> None:
    """Reads the plan, then `feed` or `one by one`."""
    plan = Plan.from_json(sys.stdin.readline())
    with Feeder(plan) as feeder:
        feeder.say_hello()
        _answer({"ready": True})
        wish = sys.stdin.readline().strip()
        if wish == "feed":
            answer: dict[str, object] = {"seconds": feeder.feed()}
        elif wish == "one by one":
            answer = {"milliseconds": feeder.one_by_one().tolist()}
        else:
            return
        _answer({**answer, "verified": feeder.verified, "bytes_sent": feeder.bytes_sent})


def _answer(content: dict[str, object]) -> None:
    sys.stdout.buffer.write(orjson.dumps(content) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
