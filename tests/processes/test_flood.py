"""One camera sends as fast as it can, noise and faces that nobody asked for: others are served."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from camera.config import CameraConfig
from party.eventlines import Status
from party.events import EventStore
from party.statefiles import EVENTS_FILE, LINES_FILE
from shared import config
from shared.codec import Buffer
from shared.materialheader import read_header
from shared.messages import CAMERA_CODEC, Faces
from shared.transport import Transport
from tests.processes.world import CAMERA, PARTIES, World, make_world

FLOODER = "flooder"
HELD = 2048


class Flood:
    """A camera with a key that both parties know, and no manners. Use as a context manager."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.sent = 0

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        made = self._world.made
        settings = config.load(CameraConfig, self._world.root / FLOODER / "camera.toml")
        header = read_header(settings.material / f"{FLOODER}.tkm").header
        with Transport(made.identities[FLOODER].curve_pair()) as transport:
            ends = [
                transport.connect(
                    address,
                    made.identities[party].public.curve_key,
                    queue=1_000,
                    max_message=1 << 20,
                )
                for address, party in (
                    (settings.p0_address, "p0"),
                    (settings.p1_address, "p1"),
                )
            ]
            slot = 0
            while not self._stop.is_set():
                # Slots that only one party hears of, again and again others, and noise.
                message = Faces(
                    header.mint_id,
                    header.params.digest(),
                    made.window.id,
                    FLOODER,
                    slot % (header.slots - 16),
                    np.zeros(16, dtype="<u8").tobytes(),
                    os.urandom(16 * 4 * header.params.coordinates),
                )
                slot += 16
                noise: list[Buffer] = [os.urandom(40), os.urandom(200)]
                for frames in (CAMERA_CODEC.encode(message), noise):
                    if ends[slot // 16 % 2].send(frames):
                        self.sent += 1
                    else:
                        time.sleep(0.001)
                for end in ends:
                    while end.receive() is not None:
                        pass


@pytest.fixture
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="twokey-flood-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


def test_a_flood_from_one_camera_starves_no_other(root: Path) -> None:
    faces = 120
    with make_world(
        root / "world", faces, cameras=(CAMERA, FLOODER), limits={"held_faces": HELD}, slots=6_000
    ) as world:
        for who in PARTIES:
            world.start(who)
        world.until(world.up, 40, "both are up")
        with Flood(world) as flood:
            world.until(lambda: flood.sent > 2_000, 40, "the flood is on")
            world.start(CAMERA)
            world.until(world.done, 60, "an outcome for every honest face")
            held = world.window(0, "faces_held")
            assert 0 < held <= HELD
        assert [world.stop(who) for who in PARTIES] == [0, 0]
        for who in PARTIES:
            assert "Traceback" not in world.log(who)
            state = world.state(who)
            with EventStore(state / EVENTS_FILE, state / LINES_FILE) as store:
                told = [event for event in store.events() if event.camera == CAMERA]
            assert [event.status for event in told] == [Status.VERIFIED] * faces
