"""Both parties of a window in one process: real sessions, journals and files, a fake clock.

Messages travel as frames, encoded and decoded as on the wire, and routed as `PartyNode` does it.
A `Tap` sees each message on its way and may replace it by any others.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from party.eventlines import Status
from party.events import EventStore, FaceEvent
from party.journal import PartyJournal, SlotState
from party.outbox import Limits, Outbox
from party.session import WindowSession
from party.windows import Opener
from party.windowstate import Moment
from shared.codec import Buffer
from shared.errors import StaleMessage, TwokeyError
from shared.messages import (
    CAMERA_CODEC,
    PARTY_CODEC,
    CameraMessage,
    FaceAck,
    Faces,
    Hello,
    PartyMessage,
    Prep0,
    Prep1,
    Refused,
    Reveal0,
    Reveal1,
    Run,
    Welcome,
    unpack_runs,
)
from shared.watchlist import Entry
from tests.support.minted import PARTIES, START_MS, MintedWindow, names_of_matches

Frames = list[Buffer]
# Sender and message; what travels instead, as encoded messages.
Tap = Callable[[int, PartyMessage, Frames], Iterable[Frames]]

LIMITS = Limits(
    check_deadline=2.0,
    confirm_deadline=2.0,
    face_deadline=6.0,
    entry_deadline=5.0,
    peer_silence=3.0,
    clock_tolerance=5.0,
    prepare_ahead=6,
    check_slots=16,
    reserve_block=8,
    outages=4,
)
STEP = 0.1


def honest(_sender: int, _message: PartyMessage, frames: Frames) -> Iterable[Frames]:
    """The tap that changes nothing."""
    return [frames]


@dataclass(slots=True)
class Shown:
    """What a party has let out: every opening and every reveal, each at most once for ever."""

    openings: dict[tuple[bytes, int, int], int] = field(default_factory=dict)
    reveals: dict[tuple[bytes, int], int] = field(default_factory=dict)

    def twice(self) -> list[str]:
        """Whatever was let out more than once."""
        return [f"{key[1:]} {n} times" for key, n in self.openings.items() if n > 1] + [
            f"slot {key[1]} {n} times" for key, n in self.reveals.items() if n > 1
        ]


class Side:
    """One party: its journal and events on disk, and the session in force."""

    def __init__(
        self,
        folder: Path,
        party: int,
        ground: MintedWindow,
        entries: Sequence[Entry],
        limits: Limits,
        seed: int,
    ) -> None:
        self.folder = folder
        self.party = party
        self.ground = ground
        self.entries = tuple(entries)
        self.limits = limits
        self.shown = Shown()
        self.compared: dict[tuple[str, int], tuple[str, ...]] = {}
        self.cameras: list[tuple[str, CameraMessage]] = []
        self.camera_errors: list[TwokeyError] = []
        self.sent: list[PartyMessage] = []
        self.skew_ms = 0
        self._random = random.Random(seed)
        self._named: dict[tuple[bytes, int, bool], tuple[object, ...]] = {}
        folder.mkdir()

    def open(self, moment: Moment) -> None:
        """As the process does at its start."""
        self.journal = PartyJournal(self.folder / "journal.sqlite", boot_id="the same")
        self.outbox = Outbox(self._random.randbytes, self.journal.sync)
        self.events = EventStore(self.folder / "events.sqlite", self.folder / "events.jsonl")
        opener = Opener(
            self.party,
            PARTIES[self.party],
            self.ground.state(self.party),
            self.ground.dealer,
            self.journal,
            self.events,
            self.limits,
            self.outbox,
            1 << 20,
        )
        try:
            self.session: WindowSession = opener.open(
                self.ground.files(self.party), self.entries, moment
            )
        except TwokeyError:
            self.journal.close()
            self.events.close()
            raise

    def close(self) -> None:
        """The process is gone; what it has not written is lost."""
        for held in self.session.sets.values():
            held.close()
        self.journal.close()
        self.events.close()

    def local(self, moment: Moment) -> Moment:
        """The moment by this party's own clock."""
        return Moment(moment.seconds, moment.wall_ms + self.skew_ms)

    def deliver(self, frames: Frames, moment: Moment) -> None:
        """A message of the peer, as the process takes and routes it."""
        try:
            message = PARTY_CODEC.decode([bytes(frame) for frame in frames])
        except TwokeyError as error:
            self.outbox.peer.append(Refused(bytes(32), type(error).__name__, str(error)[:300]))
            return
        session, moment = self.session, self.local(moment)
        if isinstance(message, Hello):
            if message.window == session.spec.name:
                session.receive(message, moment)
        elif session.knows(message.session):
            session.receive(message, moment)
        elif not isinstance(message, Refused):
            refusal = Refused(message.session, StaleMessage.__name__, "no such session here")
            self.outbox.peer.append(refusal)

    def from_camera(self, frames: Frames, moment: Moment) -> None:
        """A message of a camera; its refusal is kept in `camera_errors`."""
        try:
            message = CAMERA_CODEC.decode(frames)
            self.session.faces(message, frames, self.local(moment))
        except TwokeyError as error:
            self.camera_errors.append(error)

    def take(self) -> list[tuple[PartyMessage, Frames]]:
        """What goes to the peer now, recorded."""
        self.cameras += self.outbox.take_cameras()
        taken = self.outbox.take_peer()
        for message in taken:
            self.sent.append(message)
            self._record(message)
        return [(message, PARTY_CODEC.encode(message)) for message in taken]

    # -- what came of it -----------------------------------------------------------------

    def faces(self) -> dict[tuple[str, int], FaceEvent]:
        """The events of all faces, by camera and slot."""
        return {(event.camera, event.slot): event for event in self.events.events()}

    def verified(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """Names of the matched entries of each verified face."""
        return {
            key: tuple(sorted(event.entries))
            for key, event in self.faces().items()
            if event.status is Status.VERIFIED
        }

    def told(self, kind: str) -> list[str]:
        """Details of the announcements of one kind."""
        return [a.detail for a in self.events.announcements() if a.kind == kind]

    def state(self, camera: str, slot: int) -> SlotState:
        """The journal's state of a slot."""
        set_id = self.ground.cameras[camera].name.set_id()
        return SlotState(self.journal.load_states(set_id)[slot])

    def acks(self) -> dict[tuple[str, int], list[int]]:
        """Outcomes told to the cameras, by camera and slot."""
        found: dict[tuple[str, int], list[int]] = {}
        for camera, message in self.cameras:
            if isinstance(message, FaceAck):
                for first, length, outcome in message.outcomes:
                    for slot in range(first, first + length):
                        found.setdefault((camera, slot), []).append(outcome)
        return found

    def _record(self, message: PartyMessage) -> None:
        """P1's answers name no slots: they are those of the question."""
        if isinstance(message, Prep0 | Prep1):
            for key in self._openings(message):
                self.shown.openings[key] = self.shown.openings.get(key, 0) + 1
        elif isinstance(message, Reveal0 | Reveal1):
            runs = (
                unpack_runs(message.runs)
                if isinstance(message, Reveal0)
                else self._asked_runs(message)
            )
            if isinstance(message, Reveal0):
                self._compare(message, runs)
            for run in runs:
                for slot in range(run.first, run.stop):
                    shown = (run.set_id, slot)
                    self.shown.reveals[shown] = self.shown.reveals.get(shown, 0) + 1

    def _compare(self, message: Reveal0, runs: Iterable[Run]) -> None:
        """Which entries P0 compares these faces with."""
        batch = self.session._batches.get(message.batch)  # type: ignore[attr-defined]
        if batch is None:  # a forged message
            return
        names = tuple(batch.table.entries[place].name for place in batch.state.header.live)
        for run in runs:
            camera = self.session.sets[run.set_id].name.camera
            self.compared.update({(camera, slot): names for slot in range(run.first, run.stop)})

    def _openings(self, message: Prep0 | Prep1) -> list[tuple[bytes, int, int]]:
        if isinstance(message, Prep0):
            runs = unpack_runs(message.runs)
            places = np.frombuffer(message.places, dtype="<u4").tolist()
        else:
            check = self.session._checks[message.check]  # type: ignore[attr-defined]
            runs, places = check.state.header.runs, check.state.header.places
        return [
            (run.set_id, slot, place)
            for run in runs
            for slot in range(run.first, run.stop)
            for place in places
        ]

    def _asked_runs(self, message: Reveal1) -> Sequence[Run]:
        return self.session._batches[message.batch].state.header.runs  # type: ignore[attr-defined,no-any-return]


class Camera:
    """A camera that masks honestly, and remembers what it sent."""

    def __init__(self, pair: Pair, name: str) -> None:
        self.file = pair.ground.cameras[name]
        self.name = name
        self.next_slot = 0
        self.stored: list[Frames] = []
        self._pair = pair
        self._masker = self.file.masker()

    def message(self, faces: ArrayLike, times: Sequence[int] | None = None) -> Frames:
        """The next slots' faces, masked and encoded. faces: (k, d) integers."""
        rows = np.asarray(faces, dtype=np.int64)
        first = self.next_slot
        masked = self._masker.mask(first, rows)
        moments = np.asarray(times or [START_MS + first + i for i in range(len(rows))], dtype="<u8")
        message = Faces(
            self.file.name.mint_id,
            self.file.params.digest(),
            self.file.name.window,
            self.name,
            first,
            moments.tobytes(),
            masked.astype("<u4").tobytes(),
        )
        for slot, row in enumerate(rows, first):
            self._pair.captured[(self.name, slot)] = row
        self.next_slot += len(rows)
        frames: Frames = [bytes(frame) for frame in CAMERA_CODEC.encode(message)]
        self.stored.append(frames)
        return frames

    def send(self, faces: ArrayLike, to: Sequence[int] = (0, 1)) -> None:
        """Masks faces and hands them to the parties, in slots that neither has burned."""
        for side in self._pair.sides:
            for name, message in side.cameras:
                if isinstance(message, Welcome) and name == self.name:
                    self.next_slot = max(self.next_slot, message.high_water)
        frames = self.message(faces)
        for party in to:
            self._pair.sides[party].from_camera(frames, self._pair.moment)

    def resend(self, number: int, to: Sequence[int] = (0, 1)) -> None:
        """The stored bytes again."""
        for party in to:
            self._pair.sides[party].from_camera(list(self.stored[number]), self._pair.moment)


class Pair:
    """Two parties and their cameras. Use as a context manager."""

    def __init__(
        self,
        ground: MintedWindow,
        entries: Sequence[Entry] | tuple[Sequence[Entry], Sequence[Entry]],
        *,
        limits: Limits = LIMITS,
        tap: Tap = honest,
        seed: int = 1,
    ) -> None:
        self.ground = ground
        both = entries if entries and not isinstance(entries[0], Entry) else (entries, entries)
        memory = Path("/dev/shm")
        self._root = Path(
            tempfile.mkdtemp(prefix="twokey-pair-", dir=memory if memory.is_dir() else None)
        )
        self.moment = Moment(1000.0, START_MS + 1000)
        self.tap = tap
        self.wire: tuple[deque[Frames], deque[Frames]] = (deque(), deque())
        self.cut = False
        self.captured: dict[tuple[str, int], NDArray[np.int64]] = {}
        self.sides = tuple(
            Side(self._root / PARTIES[party], party, ground, both[party], limits, 2 * seed + party)  # type: ignore[arg-type]
            for party in (0, 1)
        )
        for side in self.sides:
            side.open(self.moment)
        self.cameras = {name: Camera(self, name) for name in ground.cameras}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for side in self.sides:
            side.close()
        shutil.rmtree(self._root)

    @property
    def p0(self) -> Side:
        """P0."""
        return self.sides[0]

    @property
    def p1(self) -> Side:
        """P1."""
        return self.sides[1]

    # -- running -------------------------------------------------------------------------

    def flush(self) -> None:
        """Everything that the parties want to send goes on the wire, by way of the tap."""
        for side in self.sides:
            for message, frames in side.take():
                if not self.cut:
                    self.wire[side.party].extend(self.tap(side.party, message, frames))

    def pump(self) -> None:
        """Delivers until nobody has anything more to say."""
        self.flush()
        while self.wire[0] or self.wire[1]:
            for sender in (0, 1):
                if self.wire[sender]:
                    frames = self.wire[sender].popleft()
                    self.sides[1 - sender].deliver(frames, self.moment)
                    self.flush()

    def trickle(self, messages: tuple[int, int], seconds: float) -> None:
        """Time passes on a slow wire: at most so many messages of each party arrive."""
        self.moment = Moment(
            self.moment.seconds + seconds, self.moment.wall_ms + round(seconds * 1000)
        )
        for side in self.sides:
            side.session.tick(side.local(self.moment))
        self.flush()
        for sender, count in enumerate(messages):
            for _ in range(min(count, len(self.wire[sender]))):
                self.sides[1 - sender].deliver(self.wire[sender].popleft(), self.moment)
                self.flush()

    def tick(self, seconds: float = STEP) -> None:
        """Time passes; both parties do what is due."""
        self.moment = Moment(
            self.moment.seconds + seconds, self.moment.wall_ms + round(seconds * 1000)
        )
        for side in self.sides:
            side.session.tick(side.local(self.moment))
        self.pump()
        for side in self.sides:  # as a process does when it is idle
            if side.session.closed is None:
                side.session.work_ahead(64)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Ticks for so long, or until the condition holds; whether it does."""
        end = self.moment.seconds + seconds
        while until is None or not until():
            if self.moment.seconds >= end:
                return False
            self.tick()
        return True

    def prepared(self, slots: int = 1) -> bool:
        """Whether both parties have so many slots of every camera ready."""
        return all(
            side.journal.ledger(held).ready().total >= slots
            for side in self.sides
            for held in side.session.sets
        )

    def ended(self) -> bool:
        """Whether every captured face has an event on both sides."""
        return all(set(self.captured) <= set(side.faces()) for side in self.sides)

    def settled(self) -> bool:
        """The same, and no face is unresolved."""
        return self.ended() and not any(
            event.status is Status.UNRESOLVED
            for side in self.sides
            for event in side.faces().values()
        )

    def restart(self, party: int, *, orderly: bool = False) -> None:
        """Ends a party's process and starts it again from what it has on disk."""
        side = self.sides[party]
        if orderly:
            side.session.suspend(side.local(self.moment))
            self.flush()
        side.close()
        for queue in self.wire:
            queue.clear()
        side.open(side.local(self.moment))

    @property
    def threshold(self) -> int:
        """T of the window."""
        return self.ground.params.threshold

    # -- what must always hold -----------------------------------------------------------

    def plaintext(self, entries: Sequence[Entry]) -> dict[tuple[str, int], tuple[str, ...]]:
        """The right answer for every captured face."""
        return {
            key: tuple(sorted(names_of_matches(face, entries, self.threshold)))
            for key, face in self.captured.items()
        }

    def wrong_results(self, entries: Sequence[Entry]) -> list[str]:
        """Released results that differ from the plaintext, and anything that was shown twice.

        A face is judged by those of the entries that were live in its batch.
        """
        found = []
        for side in self.sides:
            for key, names in side.verified().items():
                live = [entry for entry in entries if entry.name in self.p0.compared[key]]
                right = tuple(sorted(names_of_matches(self.captured[key], live, self.threshold)))
                if names != right:
                    found.append(f"P{side.party} {key}: {names} instead of {right}")
            found += [f"P{side.party} showed {what}" for what in side.shown.twice()]
        return found
