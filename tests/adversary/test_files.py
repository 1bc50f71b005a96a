"""Every file of a party damaged in every way, for the real command: one line, or it goes on."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from party.config import PartyConfig
from perf.deployment import PARTIES, Deployment, deploy
from shared import config
from shared.errors import EXIT_INPUT, EXIT_RESOURCE, EXIT_SECURITY
from tests.adversary.attacks import attack
from tests.adversary.real.commands import Commands, Ended
from tests.adversary.real.damage import SHAPES, Damage, contents, instead, replaced
from tests.adversary.real.ground import BOTH, NEAR_ADA, PARAMS, STRANGER, mint_window, watch
from tests.adversary.real.lens import Lens

LONG = os.environ.get("TWOKEY_LONG") == "1"
FLIPS = 64 if LONG else 3
WINDOWS = ("w1", "w2")
NOBODY = 65534


def version(pattern: bytes, other: bytes) -> Damage:
    """The number of its format is another one."""
    return replaced("of another version", lambda content: re.sub(pattern, other, content, count=1))


JSON_VERSION = version(rb'"version": 1', b'"version": 2')
SQLITE_VERSION = replaced(
    "of another version", lambda content: content[:60] + (99).to_bytes(4, "big") + content[64:]
)


def of_p1(path: Path) -> Path:
    """The same file of the other party."""
    case = next(folder for folder in path.parents if folder.name == "case")
    return case.parent / "world" / "p1" / path.relative_to(case)


def other(old: str, new: str) -> Callable[[Path], Path]:
    """A file of the same party with another name."""
    return lambda path: Path(str(path).replace(old, new))


@dataclass(frozen=True)
class File:
    """path: in the party's folder. own: damages of this file alone.

    Patterns of damages: skips, that cost the window, the camera or what is stored, and no more;
    harmless, that change nothing; loose, that may be harmless or not, by where they hit. With any
    other one the party does not start.
    """

    path: str
    own: tuple[Damage, ...] = ()
    skips: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    loose: tuple[str, ...] = ("flipped", "cut", "a byte more", "twice", "emptied", "zeros")


ANY = (".*",)
FILES = (
    File("party.toml", harmless=("a link to a copy",)),
    File("state/identity.key", (JSON_VERSION, instead("of P1", of_p1))),
    File(
        "trusted/p1-p1.identity.json",
        (JSON_VERSION, instead("the dealer's", other("p1-p1", "dealer-dealer"))),
        harmless=("a link to a copy",),
    ),
    File("trusted/camera-gate.identity.json", harmless=("a link to a copy", "missing")),
    File(
        "state/window-keys/w1.key",
        (
            JSON_VERSION,
            instead("of P1", of_p1),
            instead("of another window", other("w1.key", "w2.key")),
        ),
        skips=ANY,
    ),
    File(
        "material/w1/gate.tkm",
        (
            replaced("of another version", lambda c: c[:8] + b"\2" + c[9:]),
            instead("of P1", of_p1),
            instead("of another camera", other("gate", "yard")),
            instead("of another window", other("/w1/", "/w2/")),
        ),
        skips=ANY,
    ),
    File("watchlist.jsonl", harmless=("a link to a copy",)),
    # A journal that is gone is a new one: what the events tell of is burned, and that is told.
    File("state/journal.sqlite", (SQLITE_VERSION,), skips=("missing",), loose=ANY),
    File("state/journal.sqlite-wal", harmless=("missing",), loose=ANY),
    File("state/events.sqlite", (SQLITE_VERSION,), skips=("missing",), loose=ANY),
    File("state/events.sqlite-wal", harmless=("missing",), loose=ANY),
    File("state/events.jsonl", harmless=("missing", "a link to a copy", "a link to nothing")),
)


class Ground:
    """A party's folder as a kill left it, and copies of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.chmod(0o777)
        self.made: Deployment = deploy(root / "world", PARAMS, cameras=BOTH, seconds=100_000)
        watch(self.made)
        for window in WINDOWS:
            mint_window(self.made, window, BOTH, 100)
        self._work()

    def _work(self) -> None:
        """Faces in both windows, then SIGKILL to both: databases with logs beside them."""
        addresses = [
            config.load(PartyConfig, self.made.root / party / "party.toml").listen
            for party in PARTIES
        ]
        lens = Lens(self.made, "gate", WINDOWS, addresses)
        with self.made.start(log_level="error") as running:
            running.wait_until_prepared(100, 120)
            for window in WINDOWS:
                lens.send(window, [NEAR_ADA, STRANGER])
            deadline = time.monotonic() + 60
            while len(lens.outcomes[0]) < 4:
                lens.poll()
                assert time.monotonic() < deadline
                time.sleep(0.01)
            for process in running.processes:
                process.kill()
        lens.close()

    def case(self, *, anybody: bool) -> Path:
        """A fresh copy of P0's folder."""
        folder = self.root / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.made.root / "p0", folder, symlinks=True)
        if anybody:
            for where, _, files in os.walk(folder):
                for path in (where, *(os.path.join(where, name) for name in files)):
                    os.chown(path, NOBODY, NOBODY)
        return folder


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="twokey-files-", dir=memory if memory.is_dir() else None))
    yield Ground(root)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def commands(ground: Ground) -> Iterator[Commands]:
    with Commands(ground.root) as running:
        yield running


def run_party(commands: Commands, folder: Path, *, anybody: bool = False) -> tuple[Ended, set[str]]:
    """`party run` until it serves or ends; the windows that are open then, as window/camera."""
    status = folder / "state" / "status.json"
    found: dict[str, object] = {}

    def serving(pid: int) -> bool:
        try:
            found.update(orjson.loads(status.read_bytes()))
        except (OSError, orjson.JSONDecodeError):
            return False
        return found.get("pid") == pid

    ended = commands.run(
        "party", "run", "-c", folder / "party.toml", serving=serving, anybody=anybody
    )
    if not ended.served:
        return ended, set()
    windows = orjson.loads(status.read_bytes())["windows"]
    return ended, {f"{w['window']}/{camera}" for w in windows for camera in w["cameras"]}


EVERYTHING = {f"{window}/{camera}" for window in WINDOWS for camera in BOTH}


def judge(file: File, damage: Damage, ended: Ended, opened: set[str]) -> None:
    """One line that names the file and a code; or it goes on, with or without what was damaged."""
    assert "Traceback" not in ended.text
    name = Path(file.path).name.removesuffix("-wal")
    matches = [re.compile(pattern) for pattern in (*file.skips, *file.loose)]
    if ended.code != 0:
        assert ended.code in (EXIT_INPUT, EXIT_SECURITY, EXIT_RESOURCE), ended.text
        assert len(ended.errors) == 1, ended.text
        assert ended.errors[0].startswith("error: ")
        assert name in ended.errors[0] or "is trusted in" in ended.errors[0], ended.errors[0]
        assert damage.name not in file.harmless
        return
    assert ended.served
    if opened != EVERYTHING:
        assert any(pattern.match(damage.name) for pattern in matches)
        assert {known for known in opened if known.startswith("w2/")} == {"w2/gate", "w2/yard"}
        silent = ("missing", "a link to nothing")
        assert name in ended.text or "holds the same set" in ended.text or damage.name in silent
        return
    assert damage.name in file.harmless or any(p.match(damage.name) for p in matches), "not noticed"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("file", FILES, ids=[file.path for file in FILES])
def test_a_damaged_file_is_one_line_or_costs_itself_alone(
    ground: Ground, commands: Commands, file: File
) -> None:
    for damage in (*contents(FLIPS), *file.own, *SHAPES):
        anybody = damage.anybody
        if anybody and os.geteuid() != 0:
            continue
        folder = ground.case(anybody=anybody)
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        damage.harm(folder / file.path)
        with attack(f"{file.path} {damage.name}"):
            ended, opened = run_party(commands, folder, anybody=anybody)
            judge(file, damage, ended, opened)
            if ended.code != 0 and not anybody:  # nothing was lost: put right, it serves
                for path in (folder / file.path, (folder / file.path).parent):
                    assert path.parent.exists()
                target = folder / file.path
                if target.is_dir() and not target.is_symlink():
                    target.rmdir()
                else:
                    target.unlink(missing_ok=True)
                target.write_bytes(before[target])
                target.chmod(0o600 if "state" in file.path else 0o644)
                if not file.path.startswith("state/") or "key" in file.path:
                    mended, opened = run_party(commands, folder)
                    assert (mended.code, opened) == (0, EVERYTHING), mended.text
