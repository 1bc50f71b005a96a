"""The roles of an endurance run as operators handle them: keys, minting, handing out, restarts."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from dealer.config import CONFIG_FILE, CameraEntry, DealerConfig
from party.status import STATUS_FILE, read_status
from perf.deployment import PARTIES, Deployment, deploy
from shared import config, watchlist
from shared.errors import ResourceError, TwokeyError
from shared.watchlist import Watchlist
from shared.windowkeys import time_text
from tests.processes.endurance.people import Crowd
from tests.processes.endurance.plan import ENTRY_NORM, FACE_NORM, MODEL, THRESHOLD, Plan

ROOT: Final = Path(__file__).parents[3]
WINDOW: Final = "window"
DEALER: Final = "dealer"
_STOP_SECONDS = 60.0


@dataclass
class Stage:
    """Folders and processes. Use as a context manager; leaving it kills what still runs.

    start_ms: of the first window. since: when each running process began, monotonic seconds.
    """

    plan: Plan
    crowd: Crowd
    made: Deployment
    start_ms: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()

    @property
    def root(self) -> Path:
        """The folder of everything."""
        return self.made.root

    def log(self, who: str) -> Path:
        """What a role's processes write to standard error."""
        return self.root / f"{who}.log"

    def sent(self, camera: str) -> Path:
        """Where a camera tells what it has sent."""
        return self.root / f"{camera}.sent"

    def window(self, number: int) -> str:
        """The id of a window, numbered from 0."""
        return f"{WINDOW}-{number + 1}"

    def window_start_ms(self, number: int) -> int:
        """Unix ms."""
        return self.start_ms + round(1000 * self.plan.window_seconds * number)

    # -- the dealer ------------------------------------------------------------------------

    def publish_keys(self, start_ms: int) -> None:
        """Everybody's keys for all windows, by the roles' own commands."""
        self.start_ms = start_ms
        count = max(2, self.plan.windows)  # a lone one would keep its name
        for who in (*PARTIES, *self.plan.names):
            role = "party" if who in PARTIES else "camera"
            command = [
                role,
                "publish-window-keys",
                "-c",
                str(self.root / who / f"{role}.toml"),
                "--window",
                WINDOW,
                "--start",
                time_text(start_ms),
                "--end",
                time_text(self.window_start_ms(1)),
                "--count",
                str(count),
                "--out",
                str(self.root / "keys"),
            ]
            done = subprocess.run(
                [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
            )
            if done.returncode != 0:
                raise ResourceError(f"keys of {who}: {done.stderr.strip()}")

    def begin_minting(self, number: int) -> None:
        """Starts `twokey-dealer mint` for a window, on one core."""
        path = self.root / DEALER / CONFIG_FILE
        slots = self.plan.window_slots(number)
        path.unlink(missing_ok=True)
        config.write_default(
            DealerConfig,
            path,
            {
                "window_keys": str(self.root / "keys"),
                "cameras": [CameraEntry(name=n, slots=slots) for n in self.plan.names],
                "parameters": {
                    "model": MODEL,
                    "dim": self.plan.dim,
                    "places": self.plan.places,
                    "threshold": THRESHOLD,
                    "face_norm": FACE_NORM,
                    "entry_norm": ENTRY_NORM,
                },
            },
        )
        command = ["dealer", "mint", "-c", str(path), "--window", self.window(number)]
        self._spawn(DEALER, [*command, "--workers", "1"])

    def minted(self) -> bool:
        """Whether the dealer has ended. Raises ResourceError when it failed."""
        process = self.processes[DEALER]
        if process.poll() is None:
            return False
        if process.returncode != 0:
            raise ResourceError(f"the dealer ended with exit code {process.returncode}")
        del self.processes[DEALER], self.since[DEALER]
        return True

    def hand_out(self, number: int) -> None:
        """Each role gets its files of a window in one step: a whole folder is put into place."""
        window = self.window(number)
        out = self.root / DEALER / "material" / window
        for party in PARTIES:
            (out / party).rename(self.root / party / "material" / window)
        for name in self.plan.names:
            target = self.root / name / "material" / f"{window}.tkm"
            (out / "camera" / f"{name}.tkm").rename(target)
        shutil.rmtree(out)

    # -- parties and cameras ---------------------------------------------------------------

    def start(self, who: str) -> None:
        """A party or a camera."""
        if who in PARTIES:
            self._spawn(who, ["party", "run", "-c", str(self.root / who / "party.toml")])
            return
        self._spawn(
            who,
            [
                "tests.processes.endurance.camera",
                str(self.root / who / "camera.toml"),
                str(self.root / "pool.npy"),
                str(self.sent(who)),
                str(self.root / "enough"),
                str(self.plan.frame),
                str(self.plan.rate / self.plan.cameras),
            ],
        )

    def stop(self, who: str) -> float:
        """SIGTERM, as a service manager stops a role; how long it took. Raises ResourceError."""
        process = self.processes[who]
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise ResourceError(f"{who} did not end within {_STOP_SECONDS:.0f} s") from None
        if code != 0:
            raise ResourceError(f"{who} ended with exit code {code}")
        return time.monotonic() - begun

    def status(self, party: str) -> dict[str, Any]:
        """What a party's process reports; empty while it does not."""
        try:
            found, alive = read_status(self.made.folder(party).state / STATUS_FILE, time.time())
        except TwokeyError:
            return {}
        return found if alive and found["pid"] == self.processes[party].pid else {}

    def up(self, party: str) -> bool:
        """Whether it is in session with its peer in every window that it has open."""
        windows = self.status(party).get("windows", ())
        return bool(windows) and all(window["peer_up"] for window in windows)

    def no_more_faces(self) -> None:
        """Cameras end after the outcomes of what they have sent."""
        (self.root / "enough").touch()

    def ended(self) -> list[str]:
        """Roles whose process is not running."""
        return [who for who, process in self.processes.items() if process.poll() is not None]

    def write_list(self, party: str, change: int) -> None:
        """A party's watchlist file after so many changes, replaced as a whole."""
        people = tuple(self.crowd.people[name] for name in self.crowd.listed(change))
        content = Watchlist(MODEL, self.plan.dim, people)
        watchlist.save(self.root / party / "watchlist.jsonl", content)

    def command(self, *arguments: str) -> tuple[int, str]:
        """`python -m <arguments>`: exit code and all that it printed."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    def _spawn(self, who: str, arguments: Sequence[str]) -> None:
        with self.log(who).open("ab") as log:
            self.processes[who] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.since[who] = time.monotonic()


def build(root: Path, plan: Plan, crowd: Crowd) -> Stage:
    """All roles' folders, the first watchlist and the pool of faces. Raises typed errors."""
    made = deploy(
        root,
        plan.parameters(),
        cameras=plan.names,
        seconds=1.0,
        limits=plan.limits,
        party_settings={
            "announce_missing_seconds": plan.window_seconds / 20,
            "open_ahead_seconds": plan.open_ahead,
        },
        camera_settings={
            "drain_seconds": 120.0,
            "queue_mib": plan.queue_mib,
            "faces_per_message": plan.frame,
        },
    )
    stage = Stage(plan, crowd, made)
    np.save(root / "pool.npy", crowd.pool, allow_pickle=False)
    for party in PARTIES:
        stage.write_list(party, 0)
    return stage
