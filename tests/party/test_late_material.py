"""Material that comes while its window is open, or is there when a party starts late."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from party.config import PartyConfig
from party.node import PartyNode
from party.windowstate import Moment
from perf.deployment import Deployment, deploy
from shared import config
from shared.materialheader import read_header
from tests.material_support import SMALL

CAMERAS = ("door", "gate")


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    found = deploy(tmp_path, SMALL, cameras=CAMERAS, seconds=600)
    found.mint(20)
    return found


def start(made: Deployment) -> PartyNode:
    folder = made.root / "p0"
    return PartyNode(folder, config.load(PartyConfig, folder / "party.toml"))


@pytest.fixture
def node(made: Deployment) -> Iterator[PartyNode]:
    file_of(made, "gate").rename(made.root / "gate.tkm")
    opened = start(made)
    try:
        yield opened
    finally:
        opened.close()


def file_of(made: Deployment, camera: str) -> Path:
    return made.root / "p0" / "material" / f"{camera}.tkm"


def hand_out(made: Deployment) -> None:
    """The missing file, as one that nobody writes to any more."""
    (made.root / "gate.tkm").rename(file_of(made, "gate"))
    os.utime(file_of(made, "gate"), (0, 0))


def at(made: Deployment, seconds: float) -> Moment:
    """So long after the window's start."""
    return Moment(1000.0 + seconds, made.window.start_ms + round(seconds * 1000))


def open_cameras(node: PartyNode, made: Deployment) -> set[str]:
    return set(node._sessions[made.window.id].by_camera)


def test_a_further_camera_s_material_is_taken_into_a_window_that_is_open(
    made: Deployment, node: PartyNode
) -> None:
    node._every_second(at(made, 1))
    former = node._sessions[made.window.id]
    assert open_cameras(node, made) == {"door"}
    hand_out(made)
    node._every_second(at(made, 2))
    assert open_cameras(node, made) == {"door", "gate"}
    assert node._sessions[made.window.id] is not former
    node._every_second(at(made, 3))
    assert open_cameras(node, made) == {"door", "gate"}
    node._every_second(at(made, 3600))
    assert not file_of(made, "gate").exists()
    assert not file_of(made, "door").exists()


def test_it_waits_until_nothing_is_in_flight_and_begins_nothing_new_meanwhile(
    made: Deployment, node: PartyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node._every_second(at(made, 1))
    session = node._sessions[made.window.id]
    hand_out(made)
    with monkeypatch.context() as patch:
        patch.setattr(type(session), "busy", property(lambda _: True))
        node._every_second(at(made, 2))
        assert node._sessions[made.window.id] is session
        assert session.draining
    node._every_second(at(made, 3))
    assert open_cameras(node, made) == {"door", "gate"}
    assert not node._sessions[made.window.id].draining


def test_further_material_that_is_not_acceptable_leaves_the_open_window_as_it_is(
    made: Deployment, node: PartyNode
) -> None:
    node._every_second(at(made, 1))
    session = node._sessions[made.window.id]
    signed = read_header(made.root / "gate.tkm")
    content = bytearray((made.root / "gate.tkm").read_bytes())
    content[len(signed.content)] ^= 1  # the signature's first byte
    (made.root / "gate.tkm").write_bytes(content)
    hand_out(made)
    for seconds in range(2, 8):
        node._every_second(at(made, seconds))
    assert node._sessions[made.window.id] is session
    assert session.closed is None
    assert not session.draining
    assert node._fatal is None
    assert [a.kind for a in node.events.announcements()].count("window refused") == 1


def test_a_party_that_starts_in_the_grace_after_a_window_s_end_opens_it_for_late_openings(
    made: Deployment, node: PartyNode
) -> None:
    grace = node.limits.grace
    node._every_second(at(made, 600 + grace - 1))
    assert open_cameras(node, made) == {"door"}
    assert node._fatal is None
    node._every_second(at(made, 600 + grace + 1))
    assert not node._sessions
    assert node._fatal is None
