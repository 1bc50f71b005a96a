"""Both parties and a camera are killed, at named points and at random, while faces keep coming."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from party.eventlines import Status
from tests.processes.checker import Verdict
from tests.processes.walk import (
    Point,
    camera_points,
    first_points,
    party_points,
    walk_all,
    walk_one,
)
from tests.processes.world import CAMERA, PARTIES, World, make_world

LONG = "TWOKEY_LONG"
ROLES = (*PARTIES, CAMERA)
long_run = pytest.mark.skipif(
    not os.environ.get(LONG), reason=f"takes minutes; {LONG}=1 runs it (docs/adversary.md)"
)
KILLS = 8
MANY_KILLS = 210

# Some of the points of each process: those between two things that have to go together.
SHORT = {
    "p0": [
        "after PartyJournal.bind_places",
        "after PartyJournal.mark_in_prepare",
        "after PartyJournal.mark_revealed",
        "before send Confirm0",
        "after EventStore.record",
    ],
    "p1": [
        "before send Prep1",
        "after PartyJournal.record_opening",
        "after EventStore.record",
        "before send FaceAck",
    ],
    CAMERA: [
        "after CameraJournal.adopt_set",
        "before send Faces to P1",
        "after RatchetFile.advance",
    ],
}


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder in memory where it can be had: nothing here is about the disk's own speed."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="twokey-kills-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


def judged(world: World, least: int) -> Verdict:
    """What was left behind has no problem, and the world did some work."""
    world.settle()
    verdict = Verdict(world)
    assert verdict.problems() == []
    for who in PARTIES:
        assert verdict.count(who, Status.VERIFIED) >= least
    return verdict


def test_after_kills_at_named_points_everything_goes_on_and_nothing_is_used_twice(
    root: Path,
) -> None:
    with make_world(root / "world", 20_000) as world:
        world.pause = 0.1
        points = {who: [*map(Point, SHORT[who])] for who in ROLES}
        assert walk_all(world, points, patience=120.0) == []
        judged(world, least=20)


def test_after_kills_at_random_moments_everything_goes_on_and_nothing_is_used_twice(
    root: Path,
) -> None:
    random_kills(root, KILLS, seed=1)


@long_run
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("who", ROLES)
def test_every_named_point_can_be_the_last(root: Path, who: str) -> None:
    with make_world(root / "world", 60_000) as world:
        world.pause = 0.2
        points = {role: first_points(role) for role in ROLES}
        assert walk_all(world, points, patience=120.0) == []
        every = camera_points() if who == CAMERA else party_points(who)
        assert walk_one(world, who, every, patience=120.0) == []
        judged(world, least=100)


@long_run
@pytest.mark.timeout(7200)
def test_after_hundreds_of_random_kills_nothing_is_used_twice(root: Path) -> None:
    random_kills(root, MANY_KILLS, seed=int(os.environ.get("TWOKEY_SEED", "2")))


def random_kills(root: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    with make_world(root / "world", 60_000) as world:
        world.pause = 0.1
        for who in ROLES:
            world.start(who)
        world.until(lambda: world.matched(0) and world.matched(1), 60.0, "first faces matched")
        killed = 0
        while killed < kills:
            for who in chance.sample(ROLES, chance.choice((1, 1, 1, 2, 3))):
                world.kill(who)
                killed += 1
            # Now and then another dies before the first is back.
            time.sleep(chance.choice((0.0, 0.5)))
            world.revive()
            time.sleep(chance.uniform(0.0, 3.0 if chance.random() < 0.5 else 1.0))
        judged(world, least=kills)
