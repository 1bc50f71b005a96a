from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from dealer.cli import program
from dealer.config import CONFIG_FILE, DealerConfig
from shared import cli, config
from shared.errors import EXIT_INPUT, EXIT_OK, EXIT_RESOURCE, EXIT_SECURITY
from shared.roles import RoleFolder, init_role
from shared.windowkeys import publish_window_key
from tests.material_support import WINDOW

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
cameras = [{name = "door", slots = 66}]
[parameters]
model = "small-3"
dim = 3
places = 5
"""


@dataclass(frozen=True)
class Done:
    """How the program ended."""

    returncode: int
    stdout: str
    stderr: str


def call(*arguments: str | Path, given: str = "") -> Done:
    """The program with these arguments; every error must be one line, without a traceback."""
    out, err = io.StringIO(), io.StringIO()
    handlers = logging.getLogger().handlers[:]
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch("sys.stdin", io.StringIO(given)),
        pytest.raises(SystemExit) as ended,
    ):
        cli.run(program, [str(a) for a in arguments], holds_secrets=False)
    logging.getLogger().handlers[:] = handlers
    done = Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
    checked(done)
    return done


def checked(done: Done) -> None:
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert re.search(r"(^|: )error: [^\n]+\n\Z", done.stderr, flags=re.M), done.stderr


@pytest.fixture(scope="module")
def dealer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dealer's folder with everybody trusted, and the keys of one window."""
    base = tmp_path_factory.mktemp("cli")
    folder = base / "dealer"
    made = call("init", folder)
    assert made.returncode == EXIT_OK, made.stderr
    (folder / CONFIG_FILE).write_text(CONFIG)
    for role, name in (("p0", "north"), ("p1", "south"), ("camera", "door")):
        theirs, identity, public = init_role(base / name, role, name)  # type: ignore[arg-type]
        publish_window_key(identity, theirs.state, folder / "window-keys", WINDOW)
        done = call(
            "trust",
            "-c",
            folder / CONFIG_FILE,
            public,
            "--fingerprint",
            identity.public.fingerprint(),
        )
        assert done.returncode == EXIT_OK, done.stderr
    return folder


def test_init_writes_keys_and_a_configuration_that_loads(tmp_path: Path) -> None:
    done = call("init", tmp_path / "d", "--name", "mint-house")
    assert done.returncode == EXIT_OK
    folder = RoleFolder(tmp_path / "d")
    assert folder.identity("dealer").public.fingerprint() in done.stdout
    assert folder.identity().name == "mint-house"
    loaded = config.load(DealerConfig, tmp_path / "d" / CONFIG_FILE)
    assert loaded.parameters.parameters().n == 29
    again = call("init", tmp_path / "d")
    assert again.returncode == EXIT_INPUT
    assert "left as it is" in again.stderr


def test_mint_tells_the_cost_first_and_a_second_run_keeps_everything(
    dealer: Path, tmp_path: Path
) -> None:
    arguments = ("mint", "-c", dealer / CONFIG_FILE, "--window", WINDOW.id, "--out", tmp_path)
    dry = call(*arguments, "--dry-run")
    assert dry.returncode == EXIT_OK
    assert "1 sets to mint (66 slots)" in dry.stderr
    assert re.search(r"needs \d+ kB of disk, [\d.]+ \wB are free\nabout ", dry.stderr)
    assert not list(tmp_path.rglob("*.tkm"))
    first = call(*arguments)
    assert first.returncode == EXIT_OK, first.stderr
    assert "1 sets of 66 slots minted" in first.stdout
    assert len(list(tmp_path.rglob("*.tkm"))) == 3
    second = call(*arguments)
    assert "0 sets of 0 slots minted" in second.stdout
    assert "1 kept" in second.stdout

    path = tmp_path / WINDOW.id / "p1" / "door.tkm"
    public = next((dealer / "published").iterdir())
    shown = call("inspect", path, "--dealer", public)
    assert shown.returncode == EXIT_OK
    for text in ("door", "p1", "66", "small-3", "2023-11-14T22:13:20Z", "verified"):
        assert text in shown.stdout
    assert "not verified" in call("inspect", path).stdout


def test_inspect_refuses_what_is_no_sound_file(dealer: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    assert call("inspect", tmp_path / "text").returncode == EXIT_INPUT
    assert call("inspect", tmp_path / "none").returncode == EXIT_INPUT


def test_inspect_tells_a_file_of_another_dealer(dealer: Path, tmp_path: Path) -> None:
    call("mint", "-c", dealer / CONFIG_FILE, "--window", WINDOW.id, "--out", tmp_path / "out")
    _, _, public = init_role(tmp_path / "other", "dealer", "dealer")
    path = tmp_path / "out" / WINDOW.id / "camera" / "door.tkm"
    done = call("inspect", path, "--dealer", public)
    assert done.returncode == EXIT_SECURITY
    assert "another dealer" in done.stderr


def test_a_job_in_a_folder_that_is_in_use_ends_with_its_exit_code(
    dealer: Path, tmp_path: Path
) -> None:
    (tmp_path / WINDOW.id).mkdir()
    with (tmp_path / WINDOW.id / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = call("mint", "-c", dealer / CONFIG_FILE, "--window", WINDOW.id, "--out", tmp_path)
    assert done.returncode == EXIT_RESOURCE
    assert "another job is minting" in done.stderr


def test_a_disk_without_space_is_told_before_anything_is_written(
    dealer: Path, tmp_path: Path
) -> None:
    big = tmp_path / CONFIG_FILE
    for name in ("state", "trusted", "window-keys"):
        (tmp_path / name).symlink_to(dealer / name)
    big.write_text(
        CONFIG.replace("66", str((1 << 32) - 1)).replace("places = 5", "places = 1000000")
    )
    done = call("mint", "-c", big, "--window", WINDOW.id)
    assert done.returncode == EXIT_RESOURCE
    assert "material needs" in done.stderr
    assert not list(tmp_path.rglob("*.tkm"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cameras = []", "no camera is listed"),
        ('cameras = [{name = "attic", slots = 1}]', "camera attic is not trusted"),
        ('cameras = [{name = "door", slots = 0}]', "found 0 slots, expected 1 to"),
        ('cameras = [{name = "door", slots = 1, rate = 2}]', "unknown key cameras.0.rate"),
        ("camera = []", "unknown key camera, perhaps cameras?"),
        ("workers = -1", "workers"),
        ("[parameters]\nface_norm = 3.0", "is not below 2"),
        ("[parameters]\nthreshold = nan", "not finite"),
    ],
)
def test_a_bad_configuration_is_told_in_one_line(
    dealer: Path, tmp_path: Path, text: str, message: str
) -> None:
    for name in ("state", "trusted", "window-keys"):
        (tmp_path / name).symlink_to(dealer / name)
    (tmp_path / CONFIG_FILE).write_text(text)
    done = call("mint", "-c", tmp_path / CONFIG_FILE, "--window", WINDOW.id)
    assert done.returncode == EXIT_INPUT
    assert message in done.stderr


def test_a_window_without_keys_or_a_missing_configuration_is_told(
    dealer: Path, tmp_path: Path
) -> None:
    done = call("mint", "-c", dealer / CONFIG_FILE, "--window", "tuesday")
    assert (done.returncode, "not found" in done.stderr) == (EXIT_INPUT, True)
    assert call("mint", "-c", tmp_path / "none.toml", "--window", "x").returncode == EXIT_INPUT
    assert call("mint", "-c", dealer / CONFIG_FILE, "--window", "../x").returncode == EXIT_INPUT


def test_nobody_is_trusted_without_the_right_fingerprint(dealer: Path, tmp_path: Path) -> None:
    _, identity, public = init_role(tmp_path / "gate", "camera", "gate")
    arguments = ("trust", "-c", dealer / CONFIG_FILE, public)
    wrong = "0000 " + identity.public.fingerprint()[5:]
    assert call(*arguments, "--fingerprint", wrong).returncode == EXIT_SECURITY
    assert call(*arguments, given="n\n").returncode == EXIT_SECURITY
    assert call(*arguments).returncode != EXIT_OK
    trusted = RoleFolder(dealer).trusted()
    assert [camera.name for camera in trusted.cameras()] == ["door"]
    done = call(*arguments, given="y\n")
    assert done.returncode == EXIT_OK
    assert identity.public.fingerprint() in done.stdout
    assert identity.public.fingerprint() in call("identity", "-c", dealer / CONFIG_FILE).stdout
    (dealer / "trusted" / "camera-gate.identity.json").unlink()


def test_the_program_is_a_process_with_the_documented_exit_codes(
    dealer: Path, tmp_path: Path
) -> None:
    def process(*arguments: str | Path) -> Done:
        command = [sys.executable, "-c", "from dealer.cli import main; main()"]
        found = subprocess.run(
            [*command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
        )
        done = Done(found.returncode, found.stdout, found.stderr)
        checked(done)
        return done

    minted = process("mint", "-c", dealer / CONFIG_FILE, "--window", WINDOW.id, "--out", tmp_path)
    assert minted.returncode == EXIT_OK, minted.stderr
    assert len(list(tmp_path.rglob("*.tkm"))) == 3
    assert process("inspect", tmp_path / "none").returncode == EXIT_INPUT
