"""Judges a world after its processes were killed: what was shown, told and kept, all together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgpack
import numpy as np
import orjson

from camera.journal import CameraJournal
from party.audit import BATCH, check_chain, compare
from party.events import EventStore, FaceEvent, Status
from party.journal import PartyJournal, SlotState
from party.statefiles import EVENTS_FILE, LINES_FILE
from shared.hashing import digest
from shared.messages import (
    BURNED,
    CAMERA_CODEC,
    PARTY_CODEC,
    VERIFIED,
    CameraMessage,
    Confirm0,
    Confirm1,
    FaceAck,
    Faces,
    PartyMessage,
    Prep0,
    Prep1,
    Reveal0,
    Reveal1,
    Run,
    unpack_runs,
)
from tests.processes.world import CAMERA, PARTIES, World
from tests.support.auditlogs import read_state

Slot = tuple[bytes, int]


def sent(path: Path, to: str) -> Iterator[list[bytes]]:
    """Frames of every message that a process recorded for this receiver, in order."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for receiver, frames in msgpack.Unpacker(file, max_buffer_size=0):
            if receiver == to:
                yield frames


def peer_messages(path: Path) -> list[PartyMessage]:
    """What a party sent to the other one."""
    return [PARTY_CODEC.decode(frames) for frames in sent(path, "peer")]


def camera_messages(path: Path, to: str) -> list[CameraMessage]:
    """What a camera sent to a party, or a party to a camera."""
    return [CAMERA_CODEC.decode(frames) for frames in sent(path, to)]


def shown_twice(p0: list[PartyMessage], p1: list[PartyMessage]) -> list[str]:
    """Openings of a (slot, place) in two checks, and slots revealed in two batches."""
    checks = {(m.session, m.check): m for m in p0 if isinstance(m, Prep0)}
    batches = {(m.session, m.batch): m for m in p0 if isinstance(m, Reveal0)}
    found = []
    for party, messages in enumerate((p0, p1)):
        openings: Counter[tuple[Slot, int]] = Counter()
        reveals: Counter[Slot] = Counter()
        for message in messages:
            if isinstance(message, Prep0 | Prep1):
                check = checks[message.session, message.check]
                places = np.frombuffer(check.places, dtype="<u4").tolist()
                openings.update(
                    (slot, place) for slot in _slots(unpack_runs(check.runs)) for place in places
                )
            elif isinstance(message, Reveal0 | Reveal1):
                batch = batches[message.session, message.batch]
                reveals.update(_slots(unpack_runs(batch.runs)))
        found += [
            f"P{party} opened slot {slot} place {place} {times} times"
            for ((_, slot), place), times in openings.items()
            if times > 1
        ]
        found += [
            f"P{party} revealed slot {slot} {times} times"
            for (_, slot), times in reveals.items()
            if times > 1
        ]
    return found


def confirmed_without_reveal(p0: list[PartyMessage], p1: list[PartyMessage]) -> list[str]:
    """Confirmations are repeated at most as they are, and only of what was revealed."""
    batches = {(m.session, m.batch) for m in p0 if isinstance(m, Reveal0)}
    found = []
    for party, messages in enumerate((p0, p1)):
        told: dict[tuple[bytes, int], bytes] = {}
        for message in messages:
            if not isinstance(message, Confirm0 | Confirm1):
                continue
            key = (message.session, message.batch)
            if key not in batches:
                found.append(f"P{party} confirmed batch {message.batch}, which was never revealed")
            if told.setdefault(key, message.confirmation) != message.confirmation:
                found.append(f"P{party} confirmed batch {message.batch} in two ways")
    return found


def other_bytes_on_a_slot(messages: dict[str, list[CameraMessage]]) -> list[str]:
    """Slots for which the camera sent two different masked faces, to whomever."""
    masked: dict[Slot, bytes] = {}
    found = []
    for party, faces in messages.items():
        for message in faces:
            if not isinstance(message, Faces):
                continue
            rows = np.frombuffer(message.masked, dtype="<u4").reshape(len(message.times) // 8, -1)
            for slot, row in enumerate(rows, message.first):
                name = digest("set", message.mint_id, message.window, message.camera)[:8]
                if masked.setdefault((name, slot), row.tobytes()) != row.tobytes():
                    found.append(f"slot {slot}: another masked face went to {party}")
    return found


class Verdict:
    """Reads everything that a stopped world left behind."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.wire = {who: peer_messages(world.record(who)) for who in PARTIES}
        self.camera = {who: camera_messages(world.record(CAMERA), who) for who in PARTIES}
        # A camera leaves out slots that a party has burned ahead: those have no face.
        self.faced = {
            slot
            for messages in self.camera.values()
            for message in messages
            if isinstance(message, Faces)
            for slot in range(message.first, message.first + len(message.times) // 8)
        }
        self.events: dict[str, dict[Slot, FaceEvent]] = {}
        self.done: dict[str, set[int]] = {}
        for who in PARTIES:
            state = world.state(who)
            with EventStore(state / EVENTS_FILE, state / LINES_FILE) as store:
                events = store.events()
            self.events[who] = {(event.set_id, event.slot): event for event in events}
            with PartyJournal(state / "journal.sqlite") as journal:
                (known,) = (s for s in journal.known_sets() if s.name.camera == CAMERA)
                states = journal.load_states(known.set_id)
                self.done[who] = set(np.flatnonzero(states == SlotState.DONE).tolist())
        with CameraJournal(world.state(CAMERA) / "journal.sqlite", limit_bytes=1 << 30) as kept:
            self.stored = [message.first for message in kept.pending()]
        self.outcomes = {
            who: _outcomes(camera_messages(world.record(who), CAMERA)) for who in PARTIES
        }

    def problems(self) -> list[str]:
        """Everything that must not be."""
        return [
            *shown_twice(self.wire["p0"], self.wire["p1"]),
            *confirmed_without_reveal(self.wire["p0"], self.wire["p1"]),
            *other_bytes_on_a_slot(self.camera),
            *self._wrong_results(),
            *self._contradictions(),
            *self._lost(),
            *self._lines(),
            *self._audit(),
        ]

    def verified(self, who: str) -> dict[int, tuple[str, ...]]:
        """Matches of the verified faces, by slot."""
        return {
            slot: event.entries
            for (_, slot), event in self.events[who].items()
            if event.status is Status.VERIFIED
        }

    def count(self, who: str, status: Status) -> int:
        """How many faces have this status."""
        return sum(event.status is status for event in self.events[who].values())

    def _wrong_results(self) -> Iterator[str]:
        world = self._world
        distances = ((world.faces[:, None, :] - world.entries[None]) ** 2).sum(axis=2)
        matches = distances < world.made.params.threshold
        for who in PARTIES:
            for slot, entries in self.verified(who).items():
                right = {f"e{place}" for place in np.flatnonzero(matches[slot])}
                if set(entries) != right:
                    yield f"{who}: slot {slot} matched {entries}, expected {sorted(right)}"

    def _contradictions(self) -> Iterator[str]:
        p0, p1 = self.verified("p0"), self.verified("p1")
        for slot, entries in p0.items():
            if slot not in p1:
                yield f"slot {slot}: verified by P0, not by P1"
            elif set(p1[slot]) != set(entries):
                yield f"slot {slot}: P0 says {entries}, P1 says {p1[slot]}"
        for slot in p1.keys() - p0.keys():
            yield f"slot {slot}: verified by P1, not resolved by P0 although both were up again"

    def _lost(self) -> Iterator[str]:
        if self.stored:
            yield f"the camera still keeps messages from slots {self.stored}"
        for who in PARTIES:
            told = {slot for _, slot in self.events[who]}
            for slot in sorted(self.faced - told):
                yield f"{who}: the face of slot {slot} has no outcome"
            for slot in sorted(told - self.faced):
                yield f"{who}: slot {slot} has an outcome, but never had a face"
            verified = set(self.verified(who))
            for slot in sorted(self.done[who] - verified):
                yield f"{who}: slot {slot} is verified in the journal, not in the events"
            for slot, outcomes in self.outcomes[who].items():
                if outcomes == {VERIFIED, BURNED}:
                    continue  # told burned while only the other party could still confirm it
                if VERIFIED in outcomes and slot not in verified:
                    yield f"{who}: slot {slot} was acknowledged as verified, events say otherwise"

    def _lines(self) -> Iterator[str]:
        for who in PARTIES:
            last, verified = 0, Counter[int]()
            latest: dict[int, str] = {}
            for line in (self._world.state(who) / LINES_FILE).read_bytes().splitlines():
                found = orjson.loads(line)
                if found["sequence"] <= last:
                    yield f"{who}: line {found['sequence']} comes after line {last}"
                last = found["sequence"]
                if found["event"] == "face":
                    latest[found["slot"]] = found["status"]
                    verified[found["slot"]] += found["status"] == "verified"
            for slot, times in verified.items():
                if times > 1:
                    yield f"{who}: slot {slot} is verified in {times} lines"
            for (_, slot), event in self.events[who].items():
                if latest.get(slot) != event.status.name.lower():
                    yield f"{who}: slot {slot} is {event.status.name}, its line {latest.get(slot)}"

    def _audit(self) -> Iterator[str]:
        logs = {}
        for who in PARTIES:
            state = self._world.state(who)
            records, known = read_state(state / "journal.sqlite", state / EVENTS_FILE)
            yield from (f"audit log of {who}: {line}" for line in check_chain(records, known))
            logs[who] = records
            batches = {r.subject: r.transcript for r in records if r.kind == BATCH}
            for event in self.events[who].values():
                if event.status is not Status.VERIFIED:
                    continue
                if batches.get(event.batch_id) != event.transcript:
                    yield f"{who}: slot {event.slot} is verified, its batch is not in the audit log"
        yield from compare(logs["p0"], logs["p1"])


def _slots(runs: tuple[Run, ...]) -> Iterator[Slot]:
    for run in runs:
        for slot in range(run.first, run.stop):
            yield (run.set_id, slot)


def _outcomes(messages: list[CameraMessage]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for message in messages:
        if isinstance(message, FaceAck):
            for first, length, outcome in message.outcomes:
                for slot in range(first, first + length):
                    found[slot].add(outcome)
    return found
