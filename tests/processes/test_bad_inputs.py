"""What operators get wrong, with the real commands: one line, the documented code, nothing lost.

All cases use one deployment, each puts right what it spoiled; the last test matches faces in it.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from party.eventlines import Status
from perf.deployment import Deployment
from shared.errors import EXIT_INPUT, EXIT_RESOURCE, EXIT_SECURITY
from shared.keys import create_identity
from shared.params import Parameters
from shared.watchlist import Watchlist, save
from shared.windowkeys import Window, publish_window_key
from tests.processes.checker import Verdict
from tests.processes.world import CAMERA, PARAMS, PARTIES, ROOT, World, make_world
from tests.vision_support import NEEDS_VISION

_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\S+ (debug|info|warning|error|critical) ")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="twokey-bad-", dir=memory if memory.is_dir() else None))
    with make_world(root / "world", 40, slots=200) as made:
        yield made
    shutil.rmtree(root)


def command(*arguments: object, seconds: float = 30.0) -> tuple[int, str]:
    """Exit code and standard error of `python -m ARGUMENTS`."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stderr


def refused(code: int, found: tuple[int, str], *words: str) -> None:
    """One line that begins with `error: ` and has these words; nothing else but log records."""
    assert found[0] == code, found[1]
    lines = [line for line in found[1].splitlines() if not _LOG_LINE.match(line)]
    assert len(lines) == 1, found[1]
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def run_party(world: World, party: int) -> tuple[int, str]:
    return command("party", "run", "-c", world.root / PARTIES[party] / "party.toml")


def run_camera(world: World) -> tuple[int, str]:
    """The camera of the tests: the real program without a vision model."""
    config = world.root / CAMERA / "camera.toml"
    return command("tests.processes.child", "camera", config, world.root / "faces.npy", 4, 0)


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """A file with other content, or without the file; as it was afterwards."""
    former = path.read_bytes()
    mode = path.stat().st_mode
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    try:
        yield
    finally:
        path.write_bytes(former)
        path.chmod(mode)


def material(world: World, who: str) -> Path:
    (path,) = (world.root / who / "material").glob("*.tkm")
    return path


# -- configuration -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("party", "run", "-c", "missing.toml"),
        ("party", "status", "-c", "missing.toml"),
        ("party", "audit", "verify", "-c", "missing.toml"),
        ("camera", "run", "-c", "missing.toml", "photo.png"),
        ("dealer", "mint", "-c", "missing.toml"),
    ],
)
def test_a_missing_configuration_is_one_line(arguments: tuple[str, ...]) -> None:
    code, text = command(*arguments)
    assert code == EXIT_INPUT
    assert "Traceback" not in text
    assert text.startswith("error: ")


def test_an_unknown_key_is_refused_with_the_key_that_was_meant(world: World) -> None:
    path = world.root / "p0" / "party.toml"
    with changed(path, path.read_bytes() + b"\n[limits]\n"):
        refused(EXIT_INPUT, run_party(world, 0), "party.toml")
    with changed(path, b"watch_list = 'x'\n" + path.read_bytes()):
        refused(EXIT_INPUT, run_party(world, 0), "watch_list", "perhaps watchlist?")


def test_a_watchlist_that_is_broken_or_of_another_model_is_refused(world: World) -> None:
    path = world.root / "p0" / "watchlist.jsonl"
    with changed(path, path.read_bytes()[:-20]):
        refused(EXIT_INPUT, run_party(world, 0), "watchlist")
    other = path.with_name("other")
    save(other, Watchlist("facenet-vggface2", PARAMS.dim, ()))
    with changed(path, other.read_bytes()):
        refused(EXIT_INPUT, run_party(world, 0), "facenet-vggface2", "dlib-resnet-v1")


@NEEDS_VISION[0]
@NEEDS_VISION[1]
def test_a_photo_without_a_face_is_enrolled_by_nobody(tmp_path: Path) -> None:
    import cv2

    photo = tmp_path / "wall.png"
    assert cv2.imwrite(str(photo), np.full((240, 320, 3), 128, dtype=np.uint8))
    path = tmp_path / "watchlist.jsonl"
    save(path, Watchlist("dlib-resnet-v1", 128, ()))
    before = path.read_bytes()
    arguments = ("party", "enroll", photo, "--name", "nobody", "--watchlist", path)
    refused(EXIT_INPUT, command(*arguments, seconds=120), "wall.png", "no face")
    assert path.read_bytes() == before


# -- keys ----------------------------------------------------------------------------------


def test_a_private_key_that_others_can_read_is_refused(world: World) -> None:
    path = world.state("p0") / "identity.key"
    path.chmod(0o644)
    try:
        refused(EXIT_INPUT, run_party(world, 0), "identity.key")
    finally:
        path.chmod(0o600)


def test_the_wrong_window_key_opens_nothing(world: World, tmp_path: Path) -> None:
    publish_window_key(world.made.identities["p0"], tmp_path, tmp_path, world.made.window)
    other = tmp_path / "window-keys" / f"{world.made.window.id}.key"
    for_p1 = world.state("p1") / "window-keys" / other.name
    path = world.state("p0") / "window-keys" / other.name
    for content in (other.read_bytes(), for_p1.read_bytes()):
        with changed(path, content):
            refused(EXIT_SECURITY, run_party(world, 0))
    with changed(path, None):
        refused(EXIT_INPUT, run_party(world, 0), path.name)


def test_a_peer_with_another_identity_than_the_trusted_one_gets_no_session(world: World) -> None:
    path = world.root / "p0" / "trusted" / "p1-p1.identity.json"
    with changed(path, create_identity("p1", "p1").public_file()):
        for who in PARTIES:
            world.start(who)
        world.until(
            lambda: all(world.window(party, "peer_up") is False for party in (0, 1)), 60, "windows"
        )
        code, _ = command("party", "status", "-c", world.root / "p0" / "party.toml")
        assert code == 0
        shown = subprocess.run(
            [sys.executable, "-m", "party", "status", "-c", str(world.root / "p0" / "party.toml")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert "PEER DOWN" in shown.stdout
        assert [world.window(party, "peer_up") for party in (0, 1)] == [False, False]
        assert [world.stop(who) for who in PARTIES] == [0, 0]


# -- material ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.9999])
def test_a_truncated_material_file_is_refused(world: World, part: float) -> None:
    for who in ("p1", CAMERA):
        path = material(world, who)
        content = path.read_bytes()
        with changed(path, content[: int(part * len(content))]):
            found = run_camera(world) if who == CAMERA else run_party(world, 1)
            refused(EXIT_INPUT, found, str(path))


def test_a_file_of_another_recipient_is_refused(world: World) -> None:
    files = {who: material(world, who).read_bytes() for who in (*PARTIES, CAMERA)}
    with changed(material(world, "p0"), files["p1"]):
        refused(EXIT_SECURITY, run_party(world, 0))
    with changed(material(world, "p1"), files["p0"]):
        refused(EXIT_SECURITY, run_party(world, 1))
    with changed(material(world, CAMERA), files["p0"]):
        refused(EXIT_SECURITY, run_camera(world))


def minted_apart(
    world: World, root: Path, *, window: Window | None = None, params: Parameters = PARAMS
) -> Deployment:
    """Files by the same dealer for the same recipients, of another window or parameter set."""
    for who in ("dealer", *PARTIES, CAMERA):
        shutil.copytree(world.root / who, root / who, ignore=shutil.ignore_patterns("*.tkm"))
    other = replace(world.made, root=root, window=window or world.made.window, params=params)
    for who in (*PARTIES, CAMERA):
        for path in (root / who / "state" / "window-keys").glob("*"):
            path.unlink()
    other.mint(20)
    return other


def _runs_without_a_window(world: World) -> None:
    world.until(lambda: world.status(0), 30, "status")
    found = world.status(0)
    assert found is not None
    assert found["windows"] == []
    assert world.stop("p0") == 0


def test_a_window_that_has_not_begun_or_has_ended_is_not_matched(
    world: World, tmp_path: Path
) -> None:
    hour = 3_600_000
    for number, shift in enumerate((100, -100)):
        span = world.made.window
        window = Window(f"other{number}", span.start_ms + shift * hour, span.end_ms + shift * hour)
        other = minted_apart(world, tmp_path / str(number), window=window)
        apart = World(other, world.faces, world.entries)
        np.save(apart.root / "faces.npy", world.faces)
        refused(EXIT_RESOURCE, run_camera(apart), "no material of a window that runs now")
        with apart:
            apart.start("p0")
            _runs_without_a_window(apart)
        there = (apart.root / "p0" / "material").glob("*.tkm")
        assert len(list(there)) == (1 if shift > 0 else 0)


def test_parties_with_other_parameters_both_say_so_and_end(world: World, tmp_path: Path) -> None:
    params = replace(PARAMS, threshold=PARAMS.threshold + 1)
    other = minted_apart(world, tmp_path / "apart", params=params)
    apart = World(other, world.faces, world.entries)
    with apart:
        apart.start("p0")
        world.start("p1")
        code1, code0 = world.processes["p1"].wait(60), apart.processes["p0"].wait(60)
    assert (code0, code1) == (EXIT_SECURITY, EXIT_SECURITY)
    for text, own, its in (
        (apart.log("p0"), params, PARAMS),
        (world.log("p1"), PARAMS, params),
    ):
        (line,) = (line for line in text.splitlines() if line.startswith("error: "))
        assert its.digest().hex()[:16] in line or "the peer refuses" in line
        assert own.digest().hex()[:16] in text
    del world.processes["p1"]
    # P1 met an honest mistake: nothing of its window is spent.


# -- the machine ---------------------------------------------------------------------------


def test_a_second_process_on_one_journal_is_refused(world: World) -> None:
    world.start("p0")
    world.until(lambda: world.status(0), 30, "status")
    refused(EXIT_RESOURCE, run_party(world, 0), "journal.sqlite", "held by another process")
    assert world.stop("p0") == 0


def test_a_port_in_use_is_refused(world: World) -> None:
    text = (world.root / "p0" / "party.toml").read_text()
    (port,) = re.findall(r'^listen = "tcp://127.0.0.1:(\d+)"', text, re.MULTILINE)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(port)))
        taken.listen()
        refused(EXIT_RESOURCE, run_party(world, 0), f"cannot listen on tcp://127.0.0.1:{port}")


def test_after_all_repairs_every_face_is_matched_as_if_nothing_had_happened(world: World) -> None:
    for who in (*PARTIES, CAMERA):
        world.start(who)
    world.until(world.done, 60, "an outcome for every face")
    world.settle()
    verdict = Verdict(world)
    assert verdict.problems() == []
    for who in PARTIES:
        assert verdict.count(who, Status.VERIFIED) == len(world.faces)
