"""A camera of many windows at once: it masks honestly, and sends to the real sockets of both."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from camera.masking import Masker
from camera.ratchetfile import RatchetState
from perf.deployment import Deployment
from shared.materialfile import MaterialFile
from shared.messages import (
    CAMERA_CODEC,
    CameraHello,
    CameraMessage,
    CameraRefused,
    FaceAck,
    Faces,
    Welcome,
)
from shared.sets import SetName
from shared.transport import Connection, Poller, Transport
from shared.windowkeys import load_private_window_key

Slot = tuple[str, int]  # window, slot
PARTIES = ("p0", "p1")


@dataclass
class _Set:
    name: SetName
    params: bytes
    slots: int
    masker: Masker = field(repr=False)
    following: int = 0


class Lens:
    """One camera's socket to each party. Use `send`, and `poll` often; close it in the end.

    faces: what was sent, by window and slot. outcomes: what each party acknowledged. refused:
    errors by window, for each party.
    """

    def __init__(
        self, made: Deployment, camera: str, windows: Iterable[str], addresses: Sequence[str]
    ) -> None:
        self.camera = camera
        self.faces: dict[Slot, NDArray[np.int64]] = {}
        self.outcomes: tuple[dict[Slot, int], dict[Slot, int]] = ({}, {})
        self.refused: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self._marked: set[tuple[int, str]] = set()
        self._sets = {window: self._open(made, window) for window in windows}
        self._transport = Transport(made.identities[camera].curve_pair())
        self._links: list[Connection] = [
            self._transport.connect(
                address,
                made.identities[party].public.curve_key,
                queue=10_000,
                max_message=1 << 20,
            )
            for address, party in zip(addresses, PARTIES, strict=True)
        ]
        self._poller = Poller(*self._links)

    def close(self) -> None:
        """Closes the sockets."""
        self._transport.close()

    def ask(self) -> None:
        """Asks both parties from which slot on each window's set is of use."""
        for window, held in self._sets.items():
            hello = CameraHello(
                window, self.camera, held.name.mint_id, held.params, time.time_ns() // 1_000_000
            )
            for link in self._links:
                link.send(CAMERA_CODEC.encode(hello))

    def marked(self, window: str) -> bool:
        """Whether both parties have told their mark of this window."""
        return all((party, window) in self._marked for party in (0, 1))

    def send(self, window: str, faces: ArrayLike) -> list[Slot]:
        """Faces for the next slots, to both parties; none when the slots are used up."""
        held = self._sets[window]
        rows = np.asarray(faces, dtype=np.int64)
        first = held.following
        if first + len(rows) > held.slots:
            return []
        held.following += len(rows)
        masked = held.masker.mask(first, rows)
        times = np.full(len(rows), time.time_ns() // 1_000_000, dtype="<u8")
        message = Faces(
            held.name.mint_id,
            held.params,
            window,
            self.camera,
            first,
            times.tobytes(),
            masked.astype("<u4").tobytes(),
        )
        for link in self._links:
            link.send(CAMERA_CODEC.encode(message))
        sent = [(window, slot) for slot in range(first, first + len(rows))]
        self.faces.update(zip(sent, rows, strict=True))
        return sent

    def poll(self) -> None:
        """Takes in all that the parties said."""
        for party, link in enumerate(self._links):
            while (frames := link.receive()) is not None:
                self._take(party, CAMERA_CODEC.decode(frames))

    def _take(self, party: int, message: CameraMessage) -> None:
        if isinstance(message, Welcome):
            held = self._sets[message.window]
            held.following = max(held.following, message.high_water)
            self._marked.add((party, message.window))
        elif isinstance(message, FaceAck):
            for first, length, outcome in message.outcomes:
                for slot in range(first, first + length):
                    self.outcomes[party][message.window, slot] = outcome
        elif isinstance(message, CameraRefused):
            self.refused[party][message.window] = message.error

    def _open(self, made: Deployment, window: str) -> _Set:
        state = made.folder(self.camera).state
        key = load_private_window_key(state, window, "camera", self.camera)
        path = made.root / self.camera / "material" / window / f"{self.camera}.tkm"
        with MaterialFile.open(
            path,
            dealer=made.identities["dealer"].public,
            window_key=key,
            params=made.params,
            camera=self.camera,
        ) as file:
            seeds = file.camera_seeds()
            start = RatchetState(0, seeds.ratchet0.reveal() + seeds.ratchet1.reveal())
            return _Set(
                file.header.set_name(),
                made.params.digest(),
                file.header.slots,
                Masker(made.params, start),
            )
