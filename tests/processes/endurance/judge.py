"""Follows both parties' event lines and compares every face with the plaintext's answer.

Which list is in force. A change begins when the first party's file is replaced and is complete
when the second one's is. A face that is settled at time t may be matched by any list that was in
force at t: by the one after a change from its beginning on, by the one before it until `patience`
after its completion. Entries on all of these lists must be found, entries on none of them must
not, for the others both are right.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from party.eventlines import rfc3339
from tests.processes.endurance.camera import SENT
from tests.processes.endurance.people import POOL, Crowd, first_row

PARTIES = ("p0", "p1")
_MOST_TOLD = 50  # problems that are told in full
VERIFIED, BURNED, UNRESOLVED = "verified", "burned", "unresolved"
Key = tuple[str, str]  # camera and capture time of a frame


@dataclass(slots=True)
class Change:
    """A change of the watchlist; times as in event lines (RFC 3339, UTC), empty while not known.

    ends: when the list before it must be gone everywhere. lag_seconds: how long after its
    completion a face showed the list before it.
    """

    begins: str
    complete: str = ""
    ends: str = ""
    lag_seconds: float = 0.0


class _Face(NamedTuple):
    status: str
    entries: frozenset[str]
    at: str


@dataclass(slots=True)
class _Frame:
    """A frame at one party. faces: by slot; empty once all are verified and compared."""

    window: str
    faces: dict[int, _Face] = field(default_factory=dict)
    done: bool = False
    told: dict[int, frozenset[str]] = field(default_factory=dict)
    burned: set[int] = field(default_factory=set)


class Judge:
    """problems: what must not be, in words, and how many more there were.

    counts: faces by party and outcome. matches: (face, entry) pairs that P0 found.
    """

    def __init__(self, crowd: Crowd, patience: float) -> None:
        self._crowd = crowd
        self._patience_ms = round(1000 * patience)
        self._lists = [frozenset(crowd.listed(0))]
        self.changes: list[Change] = []
        self.problems: list[str] = []
        self.more_problems = 0
        self.counts: dict[str, Counter[str]] = {who: Counter() for who in PARTIES}
        self.announcements: dict[str, Counter[str]] = {who: Counter() for who in PARTIES}
        self.told: list[str] = []
        self.windows: set[str] = set()
        self.faces = 0
        self.matches = 0
        self._sequence = dict.fromkeys(PARTIES, 0)
        self._frames: dict[str, dict[Key, _Frame]] = {who: {} for who in PARTIES}
        self._sizes: dict[Key, tuple[int, int]] = {}
        self._first: dict[tuple[str, str, int], Key] = {}
        self._rest: dict[str, bytes] = defaultdict(bytes)

    # -- what happens ----------------------------------------------------------------------

    def change_begins(self, at_ms: int) -> None:
        """The first party's watchlist is about to be replaced."""
        self.changes.append(Change(rfc3339(at_ms)))
        self._lists.append(frozenset(self._crowd.listed(len(self.changes))))

    def change_is_complete(self, at_ms: int) -> None:
        """The second party's watchlist was replaced."""
        change = self.changes[-1]
        change.complete = rfc3339(at_ms)
        change.ends = rfc3339(at_ms + self._patience_ms)

    def sent(self, camera: str, content: bytes) -> None:
        """What a camera's process told of its frames, whole records."""
        for moment, faces in SENT.iter_unpack(content):
            key = (camera, rfc3339(moment))
            if key in self._sizes:
                self.problem(f"{camera}: two frames at {key[1]}")
            self._sizes[key] = (moment, faces)
            self.faces += faces
            for who in PARTIES:
                self._try(who, key)

    def lines(self, who: str, content: bytes) -> None:
        """More of a party's event lines; the last one may be incomplete."""
        whole, _, self._rest[who] = (self._rest[who] + content).rpartition(b"\n")
        touched: set[Key] = set()
        for line in whole.splitlines():
            self._line(who, orjson.loads(line), touched)
        for key in touched:
            self._try(who, key)

    def finish(self) -> None:
        """Once everything has ended: what is not compared yet, and what was never told."""
        for key, (_, faces) in self._sizes.items():
            for who in PARTIES:
                frame = self._frames[who].get(key, _Frame(""))
                if frame.done:
                    continue
                final = [face for face in frame.faces.values() if face.status != UNRESOLVED]
                if len(final) < faces:
                    self.problem(
                        f"{who}: {key[0]} {key[1]}: {len(final)} of {faces} faces have an outcome"
                    )
                else:
                    self._settle(who, key, frame)
        for who in PARTIES:
            for camera, moment in self._frames[who].keys() - self._sizes.keys():
                self.problem(f"{who}: {camera} {moment}: faces that the camera did not send")
            if self._rest[who]:
                self.problem(f"{who}: the last event line is cut off")

    def problem(self, text: str) -> None:
        """Something that must not be."""
        if len(self.problems) < _MOST_TOLD:
            self.problems.append(text)
        else:
            self.more_problems += 1

    # -- inside ----------------------------------------------------------------------------

    def _line(self, who: str, line: dict[str, Any], touched: set[Key]) -> None:
        if line["sequence"] <= self._sequence[who]:
            self.problem(f"{who}: line {line['sequence']} after line {self._sequence[who]}")
        self._sequence[who] = line["sequence"]
        if line["event"] == "announcement":
            self.announcements[who][line["kind"]] += 1
            self.told.append(f"{line['at']} {who} {line['kind']}: {line['detail']}")
            return
        key = (line["camera"], line["captured"])
        slot, status, window = line["slot"], line["status"], line["window"]
        self.windows.add(window)
        frame = self._frames[who].setdefault(key, _Frame(window))
        before = frame.faces.get(slot)
        if frame.done or (before is not None and before.status in (status, VERIFIED)):
            self.problem(f"{who}: {key[0]} {key[1]} slot {slot}: {status}, but was told before")
            return
        if frame.window != window:
            self.problem(f"{who}: {key[0]} {key[1]}: in {frame.window} and in {window}")
        self.counts[who][status] += 1
        if before is not None:
            self.counts[who][before.status] -= 1
        frame.faces[slot] = _Face(status, frozenset(line["entries"]), line[f"{status}_at"])
        touched.add(key)

    def _try(self, who: str, key: Key) -> None:
        """Compares a frame, once all of its faces are verified and the camera has told of it."""
        known, frame = self._sizes.get(key), self._frames[who].get(key)
        if known is None or frame is None or frame.done or len(frame.faces) < known[1]:
            return
        if all(face.status == VERIFIED for face in frame.faces.values()):
            self._settle(who, key, frame)

    def _settle(self, who: str, key: Key, frame: _Frame) -> None:
        moment, faces = self._sizes[key]
        slots = sorted(frame.faces)
        if slots != list(range(slots[0], slots[0] + faces)):
            self.problem(f"{who}: {key[0]} {key[1]}: its slots are {slots}")
            return
        place = (frame.window, key[0], slots[0])
        if self._first.setdefault(place, key) != key:
            self.problem(f"{who}: slot {slots[0]} of {key[0]} in {frame.window} has two faces")
        row = first_row(moment)
        for number, slot in enumerate(slots):
            answer = self._crowd.answers[(row + number) % POOL]
            face = frame.faces[slot]
            if face.status != VERIFIED:
                frame.burned.add(slot)
                continue
            if answer or face.entries:
                self._compare(who, key, slot, answer, face)
            if face.entries:
                frame.told[slot] = face.entries
                self.matches += len(face.entries) if who == "p0" else 0
        frame.faces.clear()
        frame.done = True
        self._agree(key)

    def _compare(self, who: str, key: Key, slot: int, answer: frozenset[str], face: _Face) -> None:
        lists = self._in_force(face.at)
        surely, perhaps = self._lists[lists[0]], self._lists[lists[0]]
        for number in lists[1:]:
            surely, perhaps = surely & self._lists[number], perhaps | self._lists[number]
        if not (answer & surely <= face.entries <= answer & perhaps):
            self.problem(
                f"{who}: {key[0]} {key[1]} slot {slot}, settled at {face.at}: found "
                f"{sorted(face.entries)}, expected {sorted(answer & surely)} to "
                f"{sorted(answer & perhaps)}"
            )
        for number in reversed(lists[1:]):
            if face.entries == answer & self._lists[number]:
                return
            change = self.changes[number - 1]
            if change.complete and face.at > change.complete:
                lag = _seconds(face.at) - _seconds(change.complete)
                change.lag_seconds = max(change.lag_seconds, lag)

    def _in_force(self, at: str) -> list[int]:
        """The numbers of the lists by which a face settled at this time may be matched."""
        found = []
        for number in range(len(self._lists) - 1, -1, -1):
            if number and self.changes[number - 1].begins > at:
                continue
            found.append(number)
            if number and "" < self.changes[number - 1].ends < at:
                break  # the lists before it are gone
        return found[::-1]

    def _agree(self, key: Key) -> None:
        """Both parties tell the same of a frame."""
        p0, p1 = (self._frames[who].get(key) for who in PARTIES)
        if p0 is None or p1 is None or not (p0.done and p1.done):
            return
        if (p0.window, p0.told, p0.burned) != (p1.window, p1.told, p1.burned):
            self.problem(
                f"{key[0]} {key[1]}: P0 tells {p0.told} and burned {sorted(p0.burned)}, "
                f"P1 {p1.told} and {sorted(p1.burned)}"
            )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
