"""Everybody who takes part in private matching, set up by the real commands."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from camera.cli import cli as camera_program
from dealer.cli import program as dealer_program
from party.cli import cli as party_program
from perf.deployment import free_ports
from shared.fixedpoint import plaintext_matches
from shared.watchlist import Person, Watchlist, save
from shared.windowkeys import time_text
from tests.processes.world import ROOT

MODEL = "dlib-resnet-v1"
DIM = 8
FRACTION = 6
THRESHOLD = 400  # of integers: 0.09765625 of embeddings
SETTINGS = {
    "dim": DIM,
    "fraction_bits": FRACTION,
    "threshold": THRESHOLD / 4**FRACTION,
    "face_norm": 120 / 2**FRACTION,
    "entry_norm": 120 / 2**FRACTION,
}
PARTIES = ("police", "court")
ROOM = 6  # entries that a session has room for
NAMES = ("case 1", "case 2", "case 3", "case 4")
FACES = 40


def embedded(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The embeddings whose fixed point these are."""
    return rows / np.float64(1 << FRACTION)


@dataclass
class PrivateWorld:
    """Folders below `root`: dealer, police (P0), court (P1), registry (the authority), two gates.

    entries: (N, d), faces: (F, d) int64; a third of the faces are at T - 1, T or T + 1.
    """

    root: Path
    entries: NDArray[np.int64]
    faces: NDArray[np.int64]
    sessions: int = 0
    processes_only: bool = False
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    # -- commands --------------------------------------------------------------------------

    def call(self, *arguments: object, code: int = 0) -> str:
        """Runs `python -m ARGUMENTS`; what it said on both outputs. The exit code is checked."""
        done = subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != code:
            raise AssertionError(f"{arguments}: {done.returncode}\n{done.stderr}")
        return done.stdout + done.stderr

    def done(self, *arguments: object) -> None:
        """A command that has to succeed: as a process of its own, or in this one, faster."""
        if self.processes_only:
            self.call(*arguments)
            return
        program, *rest = map(str, arguments)
        groups = {"camera": camera_program, "dealer": dealer_program, "party": party_program}
        handlers, level = logging.root.handlers[:], logging.root.level
        try:
            groups[program].main(rest, standalone_mode=False)
        finally:  # a command sets up the logging of its process
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
            logging.captureWarnings(False)

    def config(self, who: str) -> Path:
        """The configuration file of dealer, party, camera or authority."""
        names = {"dealer": "dealer.toml"} | dict.fromkeys(PARTIES, "party.toml")
        return self.root / who / names.get(who, "camera.toml")

    def mint(self, name: str | None = None, window: str = "night", faces: int = FACES) -> str:
        """A session for the registry's list and both gates, in everybody's folder; its name."""
        self.sessions += 1
        name = name or f"list-{self.sessions}"
        self.done(
            *("dealer", "private", "-c", self.config("dealer"), "--window", window),
            *("--name", name, "--authority", "registry", "--entries", ROOM),
            *("--camera", f"gate={faces}", "--camera", f"yard={faces}"),
        )
        out = self.root / "dealer" / "material" / window
        for folder, who in (
            ("p0", "police"),
            ("p1", "court"),
            ("client-0", "registry"),
            ("client-1", "gate"),
            ("client-2", "yard"),
        ):
            shutil.copy(out / folder / f"{name}.tke", self.material(who, name))
        return name

    def material(self, who: str, name: str) -> Path:
        """Somebody's file of a session."""
        return self.root / who / "material" / f"{name}.tke"

    def share_entries(self, name: str, people: Path | None = None) -> tuple[object, ...]:
        """The command by which the registry shares its list, or another file."""
        return (
            *("camera", "share-entries", "-c", self.config("registry")),
            *("--masks", self.material("registry", name), people or self.root / "people.jsonl"),
        )

    def shared_list(self, name: str) -> Path:
        """The registry's masked entries."""
        return self.root / "registry" / "published" / f"night.{name}.registry.0.tki"

    def add_list(self, name: str) -> None:
        """Both parties agree to the list."""
        for who in PARTIES:
            self.done(*self.add_shared(who, self.shared_list(name)))

    def add_shared(self, who: str, file: Path) -> tuple[object, ...]:
        """The command by which a party agrees to a list."""
        return ("party", "watchlist", "add-shared", "-c", self.config(who), file)

    def share_faces(self, name: str, camera: str, rows: NDArray[np.int64]) -> Path:
        """A camera masks these faces; the file."""
        path = self.root / f"{camera}.npy"
        np.save(path, embedded(rows))
        published = self.root / camera / "published"
        before = set(published.glob("*.tki"))
        self.done(
            *("camera", "share-faces", "-c", self.config(camera), path),
            *("--masks", self.material(camera, name), "--start", "2026-11-20T08:00:00Z"),
        )
        (made,) = set(published.glob("*.tki")) - before
        return made

    def hand_out(self, file: Path, parties: tuple[str, ...] = PARTIES) -> None:
        """Puts a file of masked faces into the parties' folders."""
        for who in parties:
            shutil.copy(file, self.root / who / "private-faces" / file.name)

    # -- matching --------------------------------------------------------------------------

    def start(self, who: str, name: str, *options: str) -> subprocess.Popen[str]:
        """A party's process."""
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "party", "private-match", "-c", str(self.config(who))),
                *("--session", name, "--deadline", "10", *options),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def match(self, name: str, *options: str) -> list[tuple[int, str, str]]:
        """Both parties' processes to their end: exit code, output, error output."""
        both = [self.start(who, name, *(options or ("--until-done",))) for who in PARTIES]
        return [self.end(process) for process in both]

    @staticmethod
    def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
        """How a process ended."""
        output, errors = process.communicate(timeout=90)
        return process.returncode, output, errors

    def close(self) -> None:
        """Ends what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.communicate()

    def events(self, who: str, name: str) -> list[dict[str, Any]]:
        """A party's lines about the faces of a session, the last one about each."""
        path = self.root / who / "state" / "private-events.jsonl"
        lines = [orjson.loads(line) for line in path.read_text().splitlines()]
        sets = self.sets(name)
        found = {
            (line["set"], line["slot"]): line
            for line in lines
            if line["event"] == "face" and line["set"] in sets
        }
        return [found[key] for key in sorted(found, key=lambda key: (sets.index(key[0]), key[1]))]

    def announcements(self, who: str) -> list[dict[str, Any]]:
        """A party's announcements."""
        path = self.root / who / "state" / "private-events.jsonl"
        lines = [orjson.loads(line) for line in path.read_text().splitlines()]
        return [line for line in lines if line["event"] == "announcement"]

    def sets(self, name: str) -> list[str]:
        """The sets of a session's cameras, gate first."""
        from shared.engine_header import read_engine_header
        from shared.sets import SetName

        header = read_engine_header(self.material("police", name)).header
        return [
            SetName(header.mint_id, header.window.id, camera).set_id().hex()
            for camera in ("gate", "yard")
        ]

    def expected(self, rows: NDArray[np.int64]) -> list[list[str]]:
        """The aliases that each face matches, in the clear."""
        bits = plaintext_matches(rows, self.entries, THRESHOLD)
        return [[NAMES[place] for place in np.flatnonzero(row)] for row in bits]


def make_private_world(root: Path) -> PrivateWorld:
    """Makes folders, trust, keys of a window that runs now, and a list of people."""
    rng = np.random.default_rng(3)
    entries = rng.integers(-30, 31, size=(len(NAMES), DIM))
    faces = rng.integers(-30, 31, size=(FACES, DIM))
    for row in range(0, FACES, 3):
        faces[row] = entries[rng.integers(len(entries))]
        # 19^2 + 6^2 + 1 + 1 = 399, 20^2 = 400, 20^2 + 1 = 401
        faces[row, :4] += np.array(((19, 6, 1, 1), (20, 0, 0, 0), (20, 1, 0, 0))[row % 9 // 3])
    root.mkdir()
    world = PrivateWorld(root, entries, faces)
    world.done("dealer", "init", root / "dealer")
    for party, who in enumerate(PARTIES):
        world.done("party", "init", root / who, "--party", party, "--name", who)
    for camera in ("gate", "yard"):
        world.done("camera", "init", root / camera, "--name", camera)
    world.done("camera", "init", root / "registry", "--name", "registry", "--authority")
    _configure(world)
    _trust(world)
    start = time.time_ns() // 1_000_000_000 * 1000 - 3_600_000
    for who in (*PARTIES, "gate", "yard", "registry"):
        program = "party" if who in PARTIES else "camera"
        world.done(
            *(program, "publish-window-keys", "-c", world.config(who), "--window", "night"),
            *("--start", time_text(start), "--end", time_text(start + 86_400_000)),
            *("--out", root / "dealer" / "window-keys"),
        )
    people = [Person.of(name, row) for name, row in zip(NAMES, embedded(entries), strict=True)]
    save(root / "people.jsonl", Watchlist(MODEL, DIM, tuple(people)))
    return world


def _configure(world: PrivateWorld) -> None:
    path = world.config("dealer")
    text = path.read_text()
    for name, value in SETTINGS.items():
        text, changed = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert changed == 1, name
    path.write_text(text)
    address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
    for who in PARTIES:
        path = world.config(who)
        text, changed = re.subn(
            r"(?m)^private_address = .*$", f'private_address = "{address}"', path.read_text()
        )
        assert changed == 1
        path.write_text(text)


def _trust(world: PrivateWorld) -> None:
    from shared.roles import RoleFolder
    from shared.trust import read_offered

    everybody = ("dealer", *PARTIES, "gate", "yard", "registry")
    published = {
        who: next((world.root / who / "published").glob("*.identity.json")) for who in everybody
    }
    for who in everybody:
        trusted = RoleFolder(world.root / who).trusted()
        for other, path in published.items():
            if other != who:
                trusted.add(*read_offered(path))
