"""`twokey-dealer mint` is killed again and again; what is complete stays, the rest is made anew."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dealer.config import CONFIG_FILE, CameraEntry, DealerConfig
from perf.deployment import PARTIES, Deployment, deploy
from shared import config
from shared.materialfile import MaterialFile
from shared.materialheader import RECIPIENTS, ChunkKind, read_header
from shared.windowkeys import load_private_window_key, publish_window_key
from tests.processes.child import MINT_POINTS, STOP_AT
from tests.processes.world import PARAMS, ROOT

LONG = "TWOKEY_LONG"
CAMERAS = ("east", "north", "south")
SLOTS = 150  # three blocks of each camera
FILES = len(CAMERAS) * len(RECIPIENTS)
MANY_KILLS = 120
SHORT = (
    "before MintJob.plan",
    "after MintJob._remove",
    "after MaterialWriter.write_chunk:20",
    "before MaterialWriter.finish:2",
    "after MaterialWriter.commit:1",
    "before MaterialWriter.commit:3",
    "after SetFiles.commit",
)


@dataclass
class Dealer:
    """A dealer's folder with an order, and every file that was ever in its place.

    seen: digests of complete files by mint id and recipient.
    """

    made: Deployment
    seen: dict[tuple[bytes, str], str] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)

    @property
    def out(self) -> Path:
        """The window's material."""
        return self.made.root / "dealer" / "material" / self.made.window.id

    def start(self, stop_at: str = "") -> subprocess.Popen[str]:
        """The real program, which dies at a point, if one is named."""
        path = self.made.root / "dealer" / CONFIG_FILE
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.processes.child",
                "dealer",
                str(path),
                self.made.window.id,
            ],
            cwd=ROOT,
            env={**os.environ, STOP_AT: stop_at},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def mint(self, stop_at: str = "") -> int:
        """Runs until its end; the exit code."""
        process = self.start(stop_at)
        said, _ = process.communicate(timeout=120)
        assert process.returncode in (0, -signal.SIGKILL), said
        return process.returncode

    def look(self) -> dict[str, set[bytes]]:
        """Every file in its place is whole and never changes; mint ids by camera."""
        found: dict[str, set[bytes]] = {}
        unfinished = bool(list(self.out.rglob("*.part")))
        for path in sorted(self.out.rglob("*.tkm")):
            role, camera = path.parent.name, path.stem
            mint_id = self._read_whole(path, role, camera)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert self.seen.setdefault((mint_id, role), digest) == digest, path
            found.setdefault(camera, set()).add(mint_id)
        moved = Counter(path.stem for path in self.out.rglob("*.tkm"))
        self.states["half moved in"] += any(count < len(RECIPIENTS) for count in moved.values())
        self.states["unfinished"] += unfinished
        return found

    def complete(self) -> set[str]:
        """Cameras whose three files are there, of one minting."""
        moved = Counter(path.stem for path in self.out.rglob("*.tkm"))
        found = self.look()
        return {c for c, ids in found.items() if moved[c] == len(RECIPIENTS) and len(ids) == 1}

    def clear(self) -> None:
        """As if all had been handed out."""
        for path in self.out.rglob("*.tkm"):
            path.unlink()

    def _read_whole(self, path: Path, role: str, camera: str) -> bytes:
        """Opens a file as its recipient and decrypts each chunk; its mint id."""
        made = self.made
        who = camera if role == "camera" else role
        key = load_private_window_key(made.folder(who).state, made.window.id, role, who)  # type: ignore[arg-type]
        dealer = made.identities["dealer"].public
        header = read_header(path).header
        with MaterialFile.open(
            path, dealer=dealer, window_key=key, params=PARAMS, camera=camera
        ) as file:
            for kind in ChunkKind:
                for number in range(header.chunks(kind)):
                    file.read_chunk(kind, number, memoryview(bytearray(file.chunk_bytes(kind))))
        key.destroy()
        return header.mint_id


@pytest.fixture
def dealer(tmp_path: Path) -> Dealer:
    made = deploy(tmp_path, PARAMS, cameras=CAMERAS, seconds=3600)
    for who in (*PARTIES, *CAMERAS):
        publish_window_key(
            made.identities[who], made.folder(who).state, tmp_path / "keys", made.window
        )
    names = ("model", "dim", "places", "fraction_bits", "headroom_bits")
    scale = 1 << PARAMS.fraction_bits
    parameters = {
        **{name: getattr(PARAMS, name) for name in names},
        "threshold": PARAMS.threshold / scale**2,
        "face_norm": PARAMS.face_bound / scale,
        "entry_norm": PARAMS.entry_bound / scale,
    }
    config.write_default(
        DealerConfig,
        tmp_path / "dealer" / CONFIG_FILE,
        {
            "window_keys": str(tmp_path / "keys"),
            "cameras": [CameraEntry(name=name, slots=SLOTS) for name in CAMERAS],
            "parameters": parameters,
            "workers": 2,
        },
    )
    return Dealer(made)


def finish(dealer: Dealer) -> None:
    """A run to the end: complete sets stay as they are, all are complete, nothing else is left."""
    before = {c: ids for c, ids in dealer.look().items() if c in dealer.complete()}
    assert dealer.mint() == 0
    after = dealer.look()
    assert dealer.complete() == set(CAMERAS)
    assert {camera: after[camera] for camera in before} == before
    files = [path for path in dealer.out.rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) == FILES


def test_a_job_that_is_killed_at_any_step_leaves_whole_sets_and_a_rerun_completes_the_others(
    dealer: Dealer,
) -> None:
    for point in SHORT:
        assert dealer.mint(point) == -signal.SIGKILL, point
        dealer.look()
    assert dealer.states["half moved in"]
    assert dealer.states["unfinished"]
    finish(dealer)


@pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes minutes; {LONG}=1 runs it")
@pytest.mark.timeout(3600)
def test_every_named_point_of_a_job_can_be_the_last(dealer: Dealer) -> None:
    names = [f"{owner.__name__}.{method}" for owner, methods in MINT_POINTS for method in methods]
    times = {"MaterialWriter.write_chunk": (1, 9, 20), "MaterialWriter.finish": (1, 2, 3, 5)}
    times["MaterialWriter.commit"] = times["MaterialWriter.finish"]
    for name in names:
        for when in ("before", "after"):
            for count in times.get(name, (1,)):
                dealer.clear()
                assert dealer.mint(f"{when} {name}:{count}") == -signal.SIGKILL
                dealer.look()
                finish(dealer)


@pytest.mark.skipif(not os.environ.get(LONG), reason=f"takes minutes; {LONG}=1 runs it")
@pytest.mark.timeout(3600)
def test_a_job_that_is_killed_at_random_again_and_again_never_changes_what_was_complete(
    dealer: Dealer,
) -> None:
    chance = random.Random(int(os.environ.get("TWOKEY_SEED", "3")))
    begun = time.monotonic()
    finish(dealer)
    usual = time.monotonic() - begun
    killed = 0
    while killed < MANY_KILLS:
        if dealer.complete() == set(CAMERAS):
            dealer.clear()
        kept = dealer.complete()
        process = dealer.start()
        time.sleep(usual * chance.uniform(0.3, 1.1))
        process.kill()
        said, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), said
        killed += process.returncode != 0
        assert kept <= dealer.complete()
    finish(dealer)
    assert dealer.states["unfinished"]
