"""A camera's folder with material for it, and two sham parties that it really connects to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camera.config import CameraConfig
from camera.pipeline import Captured
from perf.deployment import free_ports
from shared.codec import Buffer
from shared.keys import Identity, create_identity
from shared.materialfile import CameraSeeds
from shared.materialwriter import MaterialWriter, seal_header
from shared.messages import (
    CAMERA_CODEC,
    VERIFIED,
    CameraHello,
    CameraMessage,
    CameraRefused,
    FaceAck,
    Faces,
    Outcome,
    Welcome,
)
from shared.params import Parameters
from shared.roles import RoleFolder, init_role
from shared.secret import Secret
from shared.sets import SetName
from shared.transport import Listener, Transport
from shared.trust import identity_file_name
from shared.windowkeys import Window, load_window_key, publish_window_key

CAMERA = "door"
MODEL = "dlib-resnet-v1"
PARAMS = Parameters(
    dim=4,
    fraction_bits=4,
    headroom_bits=5,
    places=3,
    threshold=100,
    face_bound=40,
    entry_bound=20,
    model=MODEL,
)
STATES = (bytes(range(32)), bytes(range(32, 64)))


def window_now(name: str = "now", start: float = -60, end: float = 600) -> Window:
    """A window around this moment; start and end in seconds from now."""
    now_ms = time.time_ns() // 1_000_000
    return Window(name, now_ms + round(start * 1000), now_ms + round(end * 1000))


def face(*coordinates: int) -> NDArray[np.int64]:
    """Faces of equal coordinates, one for each argument: (faces, dim)."""
    return np.repeat(np.array([coordinates], dtype=np.int64).T, PARAMS.dim, axis=1)


def captured(*moments: int) -> list[Captured]:
    """One frame for each moment, with one face whose coordinates are the moment's mod 20."""
    return [Captured(moment, face(moment % 20), ()) for moment in moments]


@dataclass
class Folder:
    """A camera's folder that trusts a dealer and two parties. mints: how many files were made."""

    path: Path
    identity: Identity
    dealer: Identity
    parties: tuple[Identity, Identity]
    settings: CameraConfig
    mints: int = 0

    @property
    def role(self) -> RoleFolder:
        """The usual places."""
        return RoleFolder(self.path)

    @property
    def material(self) -> Path:
        """Where the dealer's file goes."""
        return self.settings.material

    def hand_out(
        self,
        window: Window,
        slots: int = 1000,
        *,
        params: Parameters = PARAMS,
        dealer: Identity | None = None,
    ) -> Path:
        """A window key of this camera, and the material file that the dealer made for it."""
        self.mints += 1
        camera = self.identity.public.name
        published = publish_window_key(self.identity, self.role.state, self.role.published, window)
        key = load_window_key(published, self.identity.public, window.id)
        name = SetName(bytes([self.mints]) * 16, window.id, camera)
        seeds = CameraSeeds(Secret(STATES[0]), Secret(STATES[1]))
        signed = seal_header(dealer or self.dealer, key, params, name, slots, seeds, bytes(32))
        path = self.material / f"{camera}-{window.id}-{self.mints}.tkm"
        with MaterialWriter(path, signed, bytes(32)) as writer:
            writer.finish()
            writer.commit()
        return path


def make_folder(root: Path, name: str = CAMERA, **settings: object) -> Folder:
    """A new camera folder; the sham parties have addresses of their own."""
    path = root / name
    folder, identity, _ = init_role(path, "camera", name)
    dealer = create_identity("dealer", "dealer")
    parties = (create_identity("p0", "north"), create_identity("p1", "south"))
    for other in (dealer, *parties):
        public = path / identity_file_name(other.public.role, other.public.name)
        other.save(path / f"{other.public.role}.key", public)
        folder.trusted().add(other.public, public.read_bytes())
    ports = free_ports(2)
    values = {
        "p0_address": f"tcp://127.0.0.1:{ports[0]}",
        "p1_address": f"tcp://127.0.0.1:{ports[1]}",
        "material": path / "material",
        "resend_seconds": 0.2,
        "drain_seconds": 5.0,
        **settings,
    }
    config = CameraConfig.model_validate(values)
    config.material.mkdir()
    return Folder(path, identity, dealer, parties, config)


Answer = Callable[["ShamParty", CameraMessage], CameraMessage | None]


@contextmanager
def serving(*parties: ShamParty) -> Iterator[None]:
    """The parties answer from a thread of their own while the block runs."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            for party in parties:
                party.serve()
            done.wait(0.005)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            yield
        finally:
            done.set()
            running.result()


@dataclass
class ShamParty:
    """One party's end of the wire; what it answers is up to the test. got: every `Faces`."""

    party: int
    listener: Listener
    answer: Answer
    got: list[tuple[Faces, bytes]] = field(default_factory=list)
    mark: int = 0

    def serve(self) -> None:
        """Answers all that is there."""
        while (received := self.listener.receive()) is not None:
            message = CAMERA_CODEC.decode(received.frames)
            if isinstance(message, Faces):
                self.got.append((message, joined(received.frames)))
            found = self.answer(self, message)
            if found is not None:
                self.listener.send(received.sender, CAMERA_CODEC.encode(found))


def joined(frames: list[Buffer]) -> bytes:
    """The bytes of a message, frame by frame."""
    return b"|".join(bytes(frame) for frame in frames)


def helpful(party: ShamParty, message: CameraMessage) -> CameraMessage | None:
    """Welcomes, and acknowledges every face as verified."""
    if isinstance(message, CameraHello):
        return Welcome(message.window, message.camera, message.mint_id, party.mark, 0)
    if isinstance(message, Faces):
        return acknowledgement(message, VERIFIED)
    return None


def silent(party: ShamParty, message: CameraMessage) -> CameraMessage | None:
    """Welcomes, and never says what became of a face."""
    return helpful(party, message) if isinstance(message, CameraHello) else None


def refusing(error: str, detail: str) -> Answer:
    """Welcomes, and refuses every face."""

    def answer(party: ShamParty, message: CameraMessage) -> CameraMessage | None:
        if isinstance(message, Faces):
            return CameraRefused(message.window, message.camera, error, detail)
        return helpful(party, message)

    return answer


def acknowledgement(message: Faces, outcome: int) -> FaceAck:
    """The outcome of all faces of a message."""
    faces = len(message.times) // 8
    run = Outcome(message.first, faces, outcome)
    return FaceAck(message.window, message.camera, message.mint_id, (run,))


@contextmanager
def sham_parties(
    folder: Folder, first: Answer = helpful, second: Answer = helpful
) -> Iterator[tuple[ShamParty, ShamParty]]:
    """Both parties' ends, listening with their real keys for this camera only."""
    settings = folder.settings
    with ExitStack() as stack:
        made = []
        for party, (address, answer) in enumerate(
            ((settings.p0_address, first), (settings.p1_address, second))
        ):
            transport = stack.enter_context(Transport(folder.parties[party].curve_pair()))
            listener = transport.listen(
                address,
                [folder.identity.public.curve_key],
                domain="cameras",
                queue=1000,
                max_message=1 << 20,
            )
            made.append(ShamParty(party, listener, answer))
        yield made[0], made[1]
