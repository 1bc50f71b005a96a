"""Two parties on two hosts: the line is slow, loses, is cut; clocks differ; a camera floods."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from party.eventlines import Status
from tests.processes.checker import Verdict
from tests.processes.child import CLOCK_AHEAD
from tests.processes.line import ADDRESSES, Line, two_hosts
from tests.processes.world import CAMERA, PARTIES, World, make_world


@pytest.fixture
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="twokey-line-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


def move_apart(world: World, line: Line) -> None:
    """P0 and the camera on one host, P1 on the other."""
    at = {"listen": 0, "peer_address": 1}
    for host, party in enumerate(PARTIES):
        _readdress(world.root / party / "party.toml", {**at, "listen": host})
        world.inside[party] = line.inside(host)
    _readdress(world.root / CAMERA / "camera.toml", {"p0_address": 0, "p1_address": 1})
    world.inside[CAMERA] = line.inside(0)


def _readdress(path: Path, hosts: dict[str, int]) -> None:
    text = path.read_text()
    for key, host in hosts.items():
        found = rf'^{key} = "tcp://127.0.0.1:'
        text = re.sub(found, f'{key} = "tcp://{ADDRESSES[host]}:', text, flags=re.MULTILINE)
    path.write_text(text)


def goes_on(world: World, seconds: float = 40.0) -> None:
    """Both parties verify faces that they had not verified before."""
    before = [world.matched(party) for party in (0, 1)]
    world.until(
        lambda: all(world.matched(party) > before[party] for party in (0, 1)), seconds, "goes on"
    )


def test_parties_on_two_hosts_get_over_a_bad_line_a_cut_and_a_restart(root: Path) -> None:
    with two_hosts() as line, make_world(root / "world", 20_000) as world:
        move_apart(world, line)
        world.pause = 0.2
        for who in (*PARTIES, CAMERA):
            world.start(who)
        world.until(lambda: world.matched(0) and world.matched(1), 60.0, "first faces matched")

        line.delay, line.loss = 0.03, 0.02
        goes_on(world)
        goes_on(world)
        assert line.lost > 0

        line.cut = True
        world.until(
            lambda: [world.window(p, "peer_up") for p in (0, 1)] == [False, False],
            30,
            "both notice",
        )
        line.cut = False
        world.until(world.up, 30, "both are back")
        # A process that was not restarted goes on where it was.
        goes_on(world)

        world.kill("p1")
        world.start("p1")
        world.until(world.up, 30, "P1 is back")
        line.loss = 0.0
        world.until(lambda: world.matched(1), 40, "P1 goes on")

        world.settle()
        verdict = Verdict(world)
        assert verdict.problems() == []
        assert verdict.count("p0", Status.VERIFIED) > 20


def test_clocks_that_differ_too_much_are_named_and_faces_wait_until_they_agree(root: Path) -> None:
    with make_world(root / "world", 12, limits={"clock_tolerance": 2.0}) as world:
        world.environment[CLOCK_AHEAD] = "30"
        world.start("p0")
        world.environment.clear()
        world.start("p1")
        world.until(
            lambda: all("clock is " in world.log(who) for who in PARTIES), 40, "both name them"
        )
        time.sleep(2.0)  # several more attempts
        for who in PARTIES:
            (told,) = (line for line in world.log(who).splitlines() if "clock is " in line)
            assert re.search(r"the peer's clock is (29|30)\.\d s off, tolerated are 2.0 s", told)
        assert not world.up()
        assert world.stop("p0") == 0
        world.start("p0")
        world.start(CAMERA)
        world.until(world.done, 60, "an outcome for every face")
        world.settle()
        verdict = Verdict(world)
        assert verdict.problems() == []
        assert verdict.count("p0", Status.VERIFIED) == 12
