"""The camera's link to both parties: mask, store, send, resend until acknowledged (section 3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camera.journal import CameraJournal
from camera.masking import Masker
from camera.resends import Resends
from camera.sets import OpenSet, SetStore
from shared import errors
from shared.codec import Buffer
from shared.errors import (
    InputError,
    MaterialExhausted,
    ProtocolViolation,
    QueueFull,
    SecurityError,
    TwokeyError,
)
from shared.messages import (
    BURNED,
    CAMERA_CODEC,
    VERIFIED,
    CameraHello,
    CameraRefused,
    FaceAck,
    Faces,
    Welcome,
)
from shared.transport import Connection, Poller, Transport

log = logging.getLogger(__name__)
MAX_MESSAGE = 1 << 20
QUEUE = 1_000
HELLO_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class PartyAddress:
    """Where a party listens for cameras, and its public transport key."""

    address: str
    key: bytes


@dataclass(slots=True)
class _Link:
    """One party as this camera sees it. mark: its high-water mark, once it has answered."""

    party: int
    connection: Connection
    resends: Resends
    mark: int | None = None
    next_hello: float = 0.0
    refusal: str = ""


class CameraAgent:
    """Sends the faces of one set to both parties. Call `step` often; close it in the end.

    bytes_sent: of face messages, to both parties together, before encryption.
    """

    def __init__(
        self,
        opened: OpenSet,
        store: SetStore,
        journal: CameraJournal,
        transport: Transport,
        parties: tuple[PartyAddress, PartyAddress],
        *,
        resend_seconds: float,
        faces_per_message: int,
    ) -> None:
        self.set = opened
        self._store = store
        self._journal = journal
        self._size = faces_per_message
        self._links = tuple(
            _Link(
                party,
                transport.connect(
                    where.address,
                    where.key,
                    queue=QUEUE,
                    max_message=MAX_MESSAGE,
                ),
                Resends(resend_seconds, sorted(journal.owed(opened.set_id, party))),
            )
            for party, where in enumerate(parties)
        )
        self._poller = Poller(*(link.connection for link in self._links))
        self._masker: Masker | None = store.masker(opened)
        self._fatal: TwokeyError | None = None
        self.bytes_sent = 0

    @property
    def ready(self) -> bool:
        """Whether both parties have told their high-water marks."""
        return all(link.mark is not None for link in self._links)

    @property
    def waiting(self) -> int:
        """Bytes that are stored until both parties acknowledge."""
        return self._journal.stored_bytes

    def submit(self, times: Sequence[int], faces: NDArray[np.int64]) -> None:
        """Masks, stores and sends faces. times: capture times, unix ms; faces: (k, d) int64.

        Raises QueueFull (nothing of the message was stored: step and try again),
        MaterialExhausted, RangeError, and ProtocolViolation before both parties answered.
        """
        if not self.ready or self._masker is None:
            raise ProtocolViolation("the parties have not told their high-water marks yet")
        set_id, slots = self.set.set_id, self.set.slots
        for start in range(0, len(times), self._size):
            part = faces[start : start + self._size]
            moments = np.asarray(times[start : start + self._size], dtype="<u8")
            first = self._journal.next_slot(set_id)
            if first + len(part) > slots:
                raise MaterialExhausted(
                    f"window {self.set.window.id}: {slots - first} slots are left, "
                    f"{len(part)} faces came"
                )
            masked = self._masker.mask(first, part)
            message = Faces(
                self.set.name.mint_id,
                self.set.params.digest(),
                self.set.window.id,
                self.set.name.camera,
                first,
                moments.tobytes(),
                masked.astype("<u4").tobytes(),
            )
            frames = [bytes(frame) for frame in CAMERA_CODEC.encode(message)]
            ratchet = self._masker.state_for(first + len(part))
            try:
                number = self._journal.append(set_id, first, len(part), frames, ratchet)
            except QueueFull:  # the same slots will be asked for again: back to the stored state
                self._masker.close()
                self._masker = self._store.masker(self.set)
                raise
            except BaseException:  # whether the slots are marked is known after a restart only
                self.close()
                raise
            now = time.monotonic()
            for link in self._links:
                self._send(link, number, list(frames), now)

    def step(self, milliseconds: int) -> None:
        """Receives, says hello, resends what is overdue. Raises what a party refused for good."""
        self._poller.ready(milliseconds)
        for link in self._links:
            while (frames := link.connection.receive()) is not None:
                self._received(link, frames)
        if self._fatal is not None:
            raise self._fatal
        now = time.monotonic()
        for link in self._links:
            if link.mark is None and now >= link.next_hello:
                link.next_hello = now + HELLO_SECONDS
                self._hello(link)
        if self.ready:
            self._resend_overdue(now)

    def outcomes(self) -> dict[str, int]:
        """Faces by party and outcome, for a summary."""
        found = self._journal.outcomes(self.set.set_id)
        names = {VERIFIED: "verified", BURNED: "burned"}
        return {
            f"p{party}_{name}": found.get((party, outcome), 0)
            for party in (0, 1)
            for outcome, name in names.items()
        }

    def refusals(self) -> list[str]:
        """What the parties said last when they took nothing, for a user who waits."""
        return [f"P{link.party}: {link.refusal}" for link in self._links if link.refusal]

    def close(self) -> None:
        """Overwrites the masks in memory."""
        if self._masker is not None:
            self._masker.close()
            self._masker = None

    def _send(self, link: _Link, number: int, frames: list[Buffer], now: float) -> bool:
        link.resends.sent(number, now)
        self.bytes_sent += sum(len(frame) for frame in frames)
        return link.connection.send(frames)

    def _hello(self, link: _Link) -> None:
        name = self.set.name
        hello = CameraHello(
            name.window,
            name.camera,
            name.mint_id,
            self.set.params.digest(),
            time.time_ns() // 1_000_000,
        )
        link.connection.send(CAMERA_CODEC.encode(hello))

    def _received(self, link: _Link, frames: list[Buffer]) -> None:
        try:
            message = CAMERA_CODEC.decode(frames)
        except TwokeyError as error:
            log.error("from P%d: %s", link.party, error)
            return
        name = self.set.name
        if isinstance(message, CameraRefused):
            self._refused(link, message)
        elif isinstance(message, Welcome | FaceAck):
            if (message.window, message.camera, message.mint_id) != (
                name.window,
                name.camera,
                name.mint_id,
            ):
                return  # of an earlier set
            if isinstance(message, Welcome):
                self._welcomed(link, message)
            else:
                self._journal.acknowledge(self.set.set_id, link.party, message.outcomes)
                link.refusal = ""
                link.resends.keep(self._journal.owed(self.set.set_id, link.party))
        else:
            log.error("from P%d: a party does not send %s", link.party, type(message).__name__)

    def _welcomed(self, link: _Link, message: Welcome) -> None:
        link.mark = message.high_water
        link.refusal = ""
        skipped = self._journal.raise_high_water(self.set.set_id, message.high_water)
        if skipped:
            log.warning(
                "P%d has burned or used %d slots that this camera has not: they are left out. "
                "Without an outage of the parties this shows a restored backup of the camera",
                link.party,
                skipped,
            )

    def _refused(self, link: _Link, message: CameraRefused) -> None:
        text = f"{message.error}: {message.detail}"
        if text != link.refusal:
            log.warning("P%d refuses: %s", link.party, text)
        link.refusal = text
        kind = getattr(errors, message.error, None)
        if not (isinstance(kind, type) and issubclass(kind, TwokeyError)):
            self._fatal = ProtocolViolation(f"P{link.party} refuses: {text}")
        elif issubclass(kind, SecurityError | InputError):
            self._fatal = kind(f"P{link.party} refuses: {message.detail}")

    def _resend_overdue(self, now: float) -> None:
        """The stored bytes again, to whoever has not acknowledged them."""
        for link in self._links:
            for number in link.resends.due(now):
                frames = self._journal.frames(number)
                if frames is not None:
                    self._send(link, number, list(frames), now)
