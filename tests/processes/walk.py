"""Walks: processes that die at one named point after the other, while faces keep coming."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tests.processes.child import CAMERA_POINTS, PARTY_POINTS
from tests.processes.world import CAMERA, PARTIES, World

_NOT_OF: Final = {
    "p0": {"PartyJournal.record_opening", "PartyJournal.resolve"},
    # P1 burns slots by the high-water mark, or with the check or batch that they are in.
    "p1": {
        "PartyJournal.record_expectation",
        "PartyJournal.burn",
        "EventStore.record_unresolved",
    },
}
# Reached once in a window: by processes that start for the first time.
_FIRST: Final = {
    "p0": ("PartyJournal.register_sets", "PartyJournal.bind_places"),
    "p1": ("PartyJournal.register_sets", "PartyJournal.bind_places"),
    CAMERA: ("CameraJournal.adopt_set", "destroy_window_key"),
}
_SENT: Final = {
    "p0": ("Hello", "PlaceMap", "Prep0", "Prep2", "Prep4", "Reveal0", "Confirm0", "Ping"),
    "p1": ("Hello", "PlaceMapAgreed", "Prep1", "Prep3", "Held", "Reveal1", "Confirm1", "Ping"),
}
# What the other party dies of, so that a point is reached that an untroubled run does not see.
_PROVOKED_BY: Final = {
    "p0": {
        "PartyJournal.fail_check": "before send Prep3",
        "PartyJournal.burn": "before PartyJournal.mark_prepared",
        "PartyJournal.count": "before send Reveal1",
        "EventStore.announce": "before send Reveal1",
        "EventStore.record_burned": "before send Reveal1",
        "EventStore.record_unresolved": "before send Confirm1",
    },
    "p1": {
        "PartyJournal.fail_check": "before send Prep4",
        "PartyJournal.count": "before send Confirm0",
        "EventStore.announce": "before send Confirm0",
        "EventStore.record_burned": "before send Confirm0",
    },
}


class Point(NamedTuple):
    """Where a process dies; other_dies_at: where the other party does, to provoke it."""

    name: str
    other_dies_at: str = ""


def first_points(who: str) -> list[Point]:
    """The points that only a process without any state reaches."""
    return [Point(f"{when} {name}") for name in _FIRST[who] for when in ("before", "after")]


def party_points(who: str) -> list[Point]:
    """Every other point of a party: before and after each mark, each message, each event."""
    names = [
        name
        for owner, methods in PARTY_POINTS
        for method in methods
        if (name := f"{owner.__name__}.{method}") not in {*_NOT_OF[who], *_FIRST[who]}
    ]
    names += [f"send {kind}" for kind in (*_SENT[who], "Welcome", "FaceAck")]
    return [
        Point(f"{when} {name}", _PROVOKED_BY[who].get(name, ""))
        for name in names
        for when in ("before", "after")
    ]


def camera_points() -> list[Point]:
    """Every point of a camera that has taken its material over already."""
    names = [
        f"{owner.__name__}.{method}"
        for owner, methods in CAMERA_POINTS
        for method in methods
        if method != "adopt_set"
    ]
    names += ["send Faces to P0", "send Faces to P1"]
    return [Point(f"{when} {name}") for name in names for when in ("before", "after")]


def walk_one(world: World, who: str, points: Iterable[Point], patience: float) -> list[Point]:
    """One process dies at each of these points in turn; returns those that it never reached."""
    missed: list[Point] = []
    points = list(points)
    again = set(points)  # what depends on the other's death may need a second one
    other = PARTIES[1 - PARTIES.index(who)] if who in PARTIES else ""
    while points:
        point = points.pop(0)
        if point.other_dies_at:
            world.kill(other)
            world.start(other, point.other_dies_at)
        if point.name.endswith("Welcome"):
            world.kill(CAMERA)
            world.start(CAMERA)
        world.kill(who)
        world.start(who, point.name)
        if not _dies(world, who, patience):
            (points if point in again else missed).append(point)
            again.discard(point)
    world.revive()
    return missed


def walk_all(
    world: World, lists: Mapping[str, Sequence[Point]], patience: float
) -> list[tuple[str, Point]]:
    """All processes at once, each through its own list; returns what was never reached."""
    todo = {who: list(points) for who, points in lists.items()}
    current: dict[str, Point] = {}
    since: dict[str, float] = {}
    missed = []
    while todo or current:
        for who in list(lists):
            process = world.processes.get(who)
            dead = process is not None and process.poll() == -signal.SIGKILL
            late = who in current and time.monotonic() - since[who] > patience
            if who in current and not dead and not late:
                continue
            if late and not dead:
                missed.append((who, current[who]))
            current.pop(who, None)
            if not todo.get(who):
                todo.pop(who, None)
                continue
            if who in world.processes:
                world.kill(who)
            current[who] = todo[who].pop(0)
            since[who] = time.monotonic()
            world.start(who, current[who].name)
        world.revive()
        time.sleep(0.02)
    return missed


def _dies(world: World, who: str, patience: float) -> bool:
    """Whether it dies in time; others that die are started again."""
    deadline = time.monotonic() + patience
    while world.processes[who].poll() is None:
        if time.monotonic() > deadline:
            return False
        for other in (*PARTIES, CAMERA):
            if other != who and world.processes[other].poll() is not None:
                world.revive()
                break
        time.sleep(0.02)
    if world.processes[who].returncode != -signal.SIGKILL:
        raise AssertionError(f"{who} ended by itself: {world.log(who)[-2000:]}")
    return True
