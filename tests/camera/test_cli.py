"""`twokey-camera` as a user meets it: one line, the documented exit code, no traceback."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from camera.cli import CONFIG_FILE, cli
from camera.config import CameraConfig
from shared import config
from shared.cli import run
from shared.keys import create_identity
from shared.vision.models import DEFAULT_MODEL, MODELS
from tests.camera.folder_support import (
    Answer,
    Folder,
    helpful,
    make_folder,
    refusing,
    serving,
    sham_parties,
    window_now,
)
from tests.vision_support import MISSING, NEEDS_VISION

if not MISSING:
    import cv2
    from skimage import data


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """A command sets up logging and signals of its process, which here is the tests'."""
    handlers, level = logging.root.handlers[:], logging.root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(False)
    for number, action in signals.items():
        signal.signal(number, action)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = make_folder(tmp_path)
    settings = made.settings.model_dump(exclude_none=True)
    config.write_default(CameraConfig, made.path / CONFIG_FILE, settings)
    return made


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("TWOKEY_DEBUG", "")
    return Call(capfd)


class Call:
    """Runs a command; its exit code, standard output, and the lines on standard error."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *arguments: object) -> tuple[object, str, list[str]]:
        with pytest.raises(SystemExit) as caught:
            run(cli, [str(argument) for argument in arguments], holds_secrets=False)
        captured = self._capfd.readouterr()
        assert "Traceback" not in captured.err
        return caught.value.code, captured.out, captured.err.splitlines()


def refused(call: Call, code: int, words: str, *arguments: object) -> None:
    """The command ends with this code, and one line that has these words."""
    found, out, lines = call(*arguments)
    (line,) = (line for line in lines if line.startswith("error: "))
    assert line == lines[-1]
    assert words in line
    assert (found, out) == (code, "")


def test_init_makes_a_folder_that_reads_back_and_leaves_one_that_is_there(
    tmp_path: Path, call: Call
) -> None:
    path = tmp_path / "north"
    address = "tcp://192.0.2.7:7702"
    code, out, _ = call("init", path, "--name", "north", "--p0-address", address)
    assert code == 0
    assert "fingerprint: " in out
    settings = config.load(CameraConfig, path / CONFIG_FILE)
    assert (settings.p0_address, settings.material) == (address, path / "material")
    assert settings.material.is_dir()
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    refused(call, 2, "exist", "init", path, "--name", "south")
    assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before


def test_a_missing_or_misspelt_configuration_is_one_line(folder: Folder, call: Call) -> None:
    gone = folder.path / "gone.toml"
    refused(call, 2, "gone.toml: not found", "run", "-c", gone, "x.png")
    path = folder.path / CONFIG_FILE
    path.write_text(path.read_text() + "\nmin_fase = 40\n")
    refused(call, 2, "unknown key min_fase, perhaps min_face?", "run", "-c", path, "x.png")


def test_a_folder_without_keys_is_one_line(tmp_path: Path, call: Call) -> None:
    config.write_default(CameraConfig, tmp_path / CONFIG_FILE)
    refused(call, 2, "identity", "identity", "-c", tmp_path / CONFIG_FILE)


class TestRun:
    pytestmark = NEEDS_VISION

    @pytest.fixture
    def command(self, folder: Folder) -> tuple[object, ...]:
        return ("run", "-c", folder.path / CONFIG_FILE)

    @pytest.fixture
    def photo(self, folder: Folder) -> Path:
        path = folder.path / "photo.png"
        cv2.imwrite(str(path), cv2.cvtColor(np.asarray(data.astronaut()), cv2.COLOR_RGB2BGR))
        return path

    def test_a_source_that_is_none_is_one_line(
        self, folder: Folder, command: tuple[object, ...], call: Call
    ) -> None:
        for name, content in (("v.mp4", b"no video"), ("p.png", b"no picture")):
            (folder.path / name).write_bytes(content)
            refused(call, 2, f"{name}: not a picture", *command, folder.path / name)
        refused(call, 2, "gone.mp4: No such file", *command, folder.path / "gone.mp4")
        empty = folder.path / "empty"
        empty.mkdir()
        refused(call, 2, "no picture in this folder", *command, empty)

    @pytest.mark.parametrize(
        ("option", "value", "words"),
        [
            ("--start", "yesterday", "expected the form"),
            ("--start", "1969-12-31T00:00:00Z", "after 1970"),
            ("--interval-ms", "-5", "interval-ms"),
        ],
    )
    def test_options_that_make_no_sense_are_one_line(
        self,
        option: str,
        value: str,
        words: str,
        command: tuple[object, ...],
        photo: Path,
        call: Call,
    ) -> None:
        refused(call, 2, words, *command, photo, option, value)

    def test_missing_weights_are_one_line_that_says_where_they_go(
        self, folder: Folder, command: tuple[object, ...], photo: Path, call: Call
    ) -> None:
        path = folder.path / CONFIG_FILE
        path.write_text(path.read_text().replace(DEFAULT_MODEL, "facenet-vggface2"))
        path.write_text(path.read_text() + f'\nweights = "{folder.path / "none.pt"}"\n')
        refused(call, 2, "none.pt", *command, photo)

    def test_parties_that_are_not_trusted_are_one_line(
        self, folder: Folder, command: tuple[object, ...], photo: Path, call: Call
    ) -> None:
        for path in (folder.path / "trusted").glob("p1-*"):
            path.unlink()
        refused(call, 2, "no identity of role p1 is trusted", *command, photo)

    def test_missing_and_forged_material_is_one_line(
        self, folder: Folder, command: tuple[object, ...], photo: Path, call: Call
    ) -> None:
        refused(call, 4, "no material of a window that runs now", *command, photo)
        path = folder.hand_out(window_now(), dealer=create_identity("dealer", "stranger"))
        refused(call, 3, "made by another dealer", *command, photo)
        path.unlink()
        path = folder.hand_out(window_now("cut"))
        path.write_bytes(path.read_bytes()[:100])
        refused(call, 2, "cut", *command, photo)

    @pytest.mark.parametrize(
        ("answer", "code", "words"),
        [
            (refusing("HeaderMismatch", "other parameters"), 3, "P0 refuses: other parameters"),
            (refusing("ResourceError", "not open here"), 4, "P0: ResourceError: not open here"),
        ],
    )
    def test_a_partys_refusal_is_one_line(
        self,
        answer: Answer,
        code: int,
        words: str,
        folder: Folder,
        command: tuple[object, ...],
        photo: Path,
        call: Call,
    ) -> None:
        path = folder.path / CONFIG_FILE
        path.write_text(path.read_text().replace("drain_seconds = 5.0", "drain_seconds = 1.0"))
        folder.hand_out(window_now(), params=MODELS[DEFAULT_MODEL].parameters(places=1))
        with sham_parties(folder, answer) as parties, serving(*parties):
            refused(call, code, words, *command, photo)

    def test_the_faces_of_a_picture_are_sent_and_counted_a_wall_has_none(
        self, folder: Folder, command: tuple[object, ...], photo: Path, call: Call
    ) -> None:
        folder.hand_out(window_now(), params=MODELS[DEFAULT_MODEL].parameters(places=1))
        wall = folder.path / "wall.png"
        cv2.imwrite(str(wall), np.full((240, 320, 3), 128, dtype=np.uint8))
        with sham_parties(folder, helpful) as parties, serving(*parties):
            code, out, _ = call(*command, wall)
            assert (code, out) == (0, "frames: 1, faces sent: 0, out of range: 0\n")
            moment = "2026-11-20T08:00:00.250Z"
            code, out, _ = call(*command, photo, "--start", moment, "--json")
        assert code == 0
        assert orjson.loads(out) == {
            "frames": 1,
            "failed_frames": 0,
            "faces": 1,
            "out_of_range": 0,
            "p0_verified": 1,
            "p0_burned": 0,
            "p1_verified": 1,
            "p1_burned": 0,
        }
        (message, _), *more = parties[0].got
        assert not more
        assert int.from_bytes(bytes(message.times), "little") == 1_795_161_600_250
