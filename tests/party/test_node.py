"""A party that did not run when a window ended destroys its key and material when it starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from party.config import PartyConfig
from party.node import PartyNode
from party.session import Moment
from perf.deployment import Deployment, deploy
from shared import config
from shared.windowkeys import Window, private_path, publish_window_key
from tests.material_support import SMALL

CAMERA = "door"


@pytest.fixture
def made(tmp_path: Path) -> Deployment:
    found = deploy(tmp_path, SMALL, cameras=[CAMERA], seconds=600)
    found.mint(20)
    return found


@pytest.fixture
def node(made: Deployment) -> Iterator[PartyNode]:
    folder = made.root / "p0"
    opened = PartyNode(folder, config.load(PartyConfig, folder / "party.toml"))
    try:
        yield opened
    finally:
        opened.close()


def after(made: Deployment, seconds: float) -> Moment:
    return Moment(1e9, made.window.end_ms + round(seconds * 1000))


def test_an_ended_window_is_not_opened_its_file_and_key_go(
    made: Deployment, node: PartyNode
) -> None:
    state, file = made.folder("p0").state, made.root / "p0" / "material" / f"{CAMERA}.tkm"
    never = Window("never", made.window.start_ms, made.window.start_ms + 1)
    later = Window("later", made.window.end_ms, made.window.end_ms + 10**9)
    for window in (never, later):
        publish_window_key(made.identities["p0"], state, made.root / "keys", window)
    node._every_second(after(made, 3600))
    assert not file.exists()
    assert not private_path(state, made.window.id).exists()
    assert not private_path(state, never.id).exists()
    assert private_path(state, later.id).exists()
    assert not node._sessions
    assert node._fatal is None


def test_a_window_keeps_file_and_key_until_its_last_batches_are_over(
    made: Deployment, node: PartyNode
) -> None:
    state, file = made.folder("p0").state, made.root / "p0" / "material" / f"{CAMERA}.tkm"
    node._every_second(after(made, 0.0))
    assert made.window.id in node._sessions
    assert file.exists()
    assert private_path(state, made.window.id).exists()
    node._every_second(after(made, 3600))
    assert not node._sessions
    assert not file.exists()
    assert not private_path(state, made.window.id).exists()


def test_a_key_that_others_may_read_is_told_and_ends_nothing(
    made: Deployment, node: PartyNode, caplog: pytest.LogCaptureFixture
) -> None:
    private_path(made.folder("p0").state, made.window.id).chmod(0o644)
    node._every_second(after(made, 3600))
    assert "expected 0600" in caplog.text
    assert node._fatal is None
