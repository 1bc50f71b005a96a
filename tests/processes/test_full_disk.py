"""A disk that is full while a role is at work: it ends in one line, and goes on with room again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from party.eventlines import Status
from shared.errors import EXIT_RESOURCE
from tests.disk_support import small_disk
from tests.processes.checker import Verdict
from tests.processes.world import CAMERA, PARTIES, World, make_world

_BLOCK = 1 << 16


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    root = tmp_path / "world"
    with ExitStack() as stack:
        for who in (*PARTIES, CAMERA):
            (root / who).mkdir(parents=True)
            stack.enter_context(small_disk(root / who / "state", "24m"))
        yield stack.enter_context(make_world(root, 20_000, slots=20_000))


def fill(folder: Path) -> Path:
    """Takes all the room that is left."""
    path = folder / "filler"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        size = _BLOCK
        while size:
            try:
                os.write(handle, bytes(size))
            except OSError:
                size //= 2
    finally:
        os.close(handle)
    return path


def outgrow(world: World) -> None:
    """Has the camera keep what it sends, and send faster: what its journal has freed is used up."""
    world.kill(CAMERA)
    world.pause = 0.01
    sent = world.record(CAMERA)
    before = sent.stat().st_size
    world.start(CAMERA)
    # It takes no face before both parties welcomed it.
    world.until(lambda: sent.stat().st_size > before, 40, "the camera sends again")
    world.kill("p1")


def test_each_role_ends_when_its_disk_is_full_and_goes_on_when_there_is_room(
    world: World,
) -> None:
    world.pause = 0.2
    for who in (*PARTIES, CAMERA):
        world.start(who)
    world.until(lambda: world.matched(0) and world.matched(1), 60.0, "first faces matched")
    for who in (*PARTIES, CAMERA):
        if who == CAMERA:
            outgrow(world)
        filler = fill(world.state(who))
        process = world.processes[who]
        world.until(lambda process=process: process.poll() is not None, 40, f"{who} ends")  # type: ignore[misc]
        assert process.returncode == EXIT_RESOURCE, world.log(who)[-2000:]
        errors = [line for line in world.log(who).splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "no space left" in errors[0].lower()
        assert "Traceback" not in world.log(who)

        if who == CAMERA:
            world.start("p1")
        fill(world.state(who))  # the log that its end copied back
        world.start(who)  # still without room: refused at once, or when it first writes
        assert world.processes[who].wait(30) == EXIT_RESOURCE
        assert "Traceback" not in world.log(who)

        filler.unlink()
        world.pause = 0.2
        world.start(who)
        world.until(world.up, 40, "the parties are up again")
        before = world.matched(0)
        world.until(lambda before=before: world.matched(0) != before, 40, "faces are matched again")  # type: ignore[misc]
    world.settle()
    verdict = Verdict(world)
    assert verdict.problems() == []
    assert verdict.count("p0", Status.VERIFIED) > 20
