"""Every private file of every role, opened to others: the real commands refuse to work with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import EXIT_INPUT
from tests.processes.world import CAMERA, PARTIES, ROOT, World, make_world

DEALER = "dealer"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="twokey-modes-", dir=memory if memory.is_dir() else None))
    with make_world(root / "world", 4, slots=8) as made:
        yield made
    shutil.rmtree(root)


def command(*arguments: object) -> tuple[int, list[str]]:
    """Exit code and lines on standard error of a program."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stderr.splitlines()


def config(world: World, who: str) -> Path:
    role = {DEALER: "dealer", CAMERA: "camera"}.get(who, "party")
    return world.root / who / f"{role}.toml"


def use(world: World, who: str, kind: str) -> tuple[int, list[str]]:
    """Runs what reads this kind of file."""
    if kind == "identity.key":
        role = {DEALER: "dealer", CAMERA: "camera"}.get(who, "party")
        return command(role, "identity", "-c", config(world, who))
    if who in PARTIES:
        return command("party", "run", "-c", config(world, who))
    faces = world.root / "faces.npy"
    return command("tests.processes.child", "camera", config(world, who), faces, 4, 0)


def the_file(world: World, who: str, kind: str) -> Path:
    folder = world.root / who / "state"
    (path,) = [folder / kind] if "*" not in kind else folder.glob(kind)
    return path


CASES = (
    *((who, "identity.key") for who in (DEALER, *PARTIES, CAMERA)),
    *((who, "window-keys/*.key") for who in (*PARTIES, CAMERA)),
)


@pytest.mark.parametrize("mode", [0o640, 0o604], ids=["group", "world"])
@pytest.mark.parametrize(("who", "kind"), CASES)
def test_a_private_file_of_any_role_that_others_may_read_is_refused(
    world: World, who: str, kind: str, mode: int
) -> None:
    path = the_file(world, who, kind)
    before = path.read_bytes()
    path.chmod(mode)
    try:
        code, lines = use(world, who, kind)
    finally:
        path.chmod(0o600)
    assert code == EXIT_INPUT, lines
    assert lines[-1].startswith("error: ")
    assert f"found permissions {mode:04o}, expected 0600" in lines[-1]
    assert path.read_bytes() == before


def test_a_cameras_ratchet_that_others_may_read_is_refused(world: World) -> None:
    world.start(CAMERA)
    ratchets = world.root / CAMERA / "state"
    world.until(
        lambda: list(ratchets.glob("*.ratchet-*")) and not list(ratchets.glob("window-keys/*.key")),
        60,
        "the camera has taken its file over",
    )
    world.kill(CAMERA)
    (path,) = ratchets.glob("*.ratchet-*")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    try:
        code, lines = use(world, CAMERA, "ratchet")
    finally:
        path.chmod(0o600)
    assert code == EXIT_INPUT, lines
    assert "found permissions 0640, expected 0600" in lines[-1]


def test_nothing_private_is_made_readable_for_others(world: World) -> None:
    for who in (DEALER, *PARTIES, CAMERA):
        state = world.root / who / "state"
        assert state.stat().st_mode & 0o777 == 0o700
        for path in state.rglob("*"):
            wide = path.stat().st_mode & 0o077
            assert not wide or path.name == "status.json", path
