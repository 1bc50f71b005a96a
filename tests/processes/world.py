"""A deployment whose processes die and are started again, as a service manager would do it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from party.status import STATUS_FILE, read_status
from perf.deployment import Deployment, deploy
from shared.errors import TwokeyError
from shared.params import Parameters
from shared.watchlist import Person
from tests.processes.child import ENOUGH, RECORD, STOP_AT

ROOT = Path(__file__).parents[2]
CAMERA = "gate"
PARTIES: Final = ("p0", "p1")
MODEL = "dlib-resnet-v1"
PARAMS = Parameters(
    dim=8,
    fraction_bits=6,
    headroom_bits=5,
    places=6,
    threshold=400,
    face_bound=120,
    entry_bound=120,
    model=MODEL,
)
# Short deadlines; and no number of kills closes the window.
LIMITS: dict[str, float] = {
    "check_deadline": 5.0,
    "confirm_deadline": 3.0,
    "face_deadline": 20.0,
    "peer_silence": 3.0,
    "prepare_ahead": 16,
    "check_slots": 16,
    "reserve_block": 16,
    "outages": 1_000_000,
    "prepare_attempts": 1_000_000,
}
CHILD = "tests.processes.child"
_POLL = 0.02
Who = str


@dataclass
class World:
    """Two parties, a camera, and what they may have sent. Use as a context manager.

    faces: (F, d) int64, row = slot of the camera. entries: (N, d) int64, named e0, e1, ...
    """

    made: Deployment
    faces: NDArray[np.int64]
    entries: NDArray[np.int64]
    size: int = 4
    pause: float = 0.05
    processes: dict[Who, subprocess.Popen[bytes]] = field(default_factory=dict)
    died: list[tuple[Who, int]] = field(default_factory=list)
    inside: dict[Who, Sequence[str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
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

    def state(self, who: Who) -> Path:
        """A role's state folder."""
        return self.made.folder(who).state

    def log(self, who: Who) -> str:
        """What a role's processes wrote to standard error."""
        path = self.root / f"{who}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def record(self, who: Who) -> Path:
        """What a role has sent."""
        return self.root / f"{who}.wire"

    # -- processes -----------------------------------------------------------------------

    def start(self, who: Who, stop_at: str = "") -> None:
        """Starts a role's process, which is to die at this point, if one is named."""
        if who in PARTIES:
            arguments = ["party", str(self.root / who / "party.toml")]
        else:
            arguments = [
                "camera",
                str(self.root / who / "camera.toml"),
                str(self.root / "faces.npy"),
                str(self.size),
                str(self.pause),
            ]
        environment = {
            **os.environ,
            **self.environment,
            STOP_AT: stop_at,
            RECORD: str(self.record(who)),
        }
        with (self.root / f"{who}.log").open("ab") as log:
            self.processes[who] = subprocess.Popen(
                [*self.inside.get(who, ()), sys.executable, "-m", CHILD, *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self, who: Who) -> None:
        """SIGKILL, now."""
        self.processes[who].kill()
        self.processes[who].wait()

    def revive(self, stop_at: Mapping[Who, str] | None = None) -> list[Who]:
        """Starts again whoever was killed; who that was. Any other end is an error."""
        revived = []
        for who, process in list(self.processes.items()):
            code = process.poll()
            if code is None or (who not in PARTIES and code == 0):
                continue
            self.died.append((who, code))
            if code != -signal.SIGKILL:
                raise AssertionError(f"{who} ended with {code}: {self.log(who)[-2000:]}")
            self.start(who, (stop_at or {}).get(who, ""))
            revived.append(who)
        return revived

    def stop(self, who: Who, seconds: float = 20.0) -> int:
        """SIGTERM; the exit code."""
        process = self.processes[who]
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=seconds)

    def done(self) -> bool:
        """Whether the camera has an outcome of both parties for every face."""
        return self.processes[CAMERA].poll() == 0

    def until(
        self, reached: Callable[[], object], seconds: float, what: str, *, revive: bool = False
    ) -> None:
        """Waits; AssertionError after so many seconds."""
        deadline = time.monotonic() + seconds
        while not reached():
            if revive:
                self.revive()
            if time.monotonic() > deadline:
                logs = "\n".join(f"{who}: ...{self.log(who)[-1500:]}" for who in self.processes)
                raise AssertionError(f"not in {seconds:.0f} s: {what}\n{logs}")
            time.sleep(_POLL)

    def settle(self, seconds: float = 60.0) -> None:
        """No more faces; once all have outcomes and none is unresolved, ends in good order."""
        (self.root / ENOUGH).touch()
        self.until(self.done, seconds, "an outcome for every face", revive=True)
        deadline = time.monotonic() + 3.0
        while self.window(0, "faces_unresolved") and time.monotonic() < deadline:
            time.sleep(_POLL)
        for who in PARTIES:
            if (code := self.stop(who)) != 0:
                raise AssertionError(f"{who} ended with {code}: {self.log(who)[-2000:]}")

    # -- what they report ----------------------------------------------------------------

    def status(self, party: int) -> dict[str, Any] | None:
        """What a running party last reported."""
        who = PARTIES[party]
        try:
            found, alive = read_status(self.state(who) / STATUS_FILE, time.time())
        except TwokeyError:
            return None
        return found if alive and found["pid"] == self.processes[who].pid else None

    def window(self, party: int, key: str) -> Any:
        """One value of the (only) window in a party's status; None while there is none."""
        found = self.status(party)
        return found["windows"][0][key] if found and found["windows"] else None

    def up(self) -> bool:
        """Whether both parties have a session with each other."""
        return bool(self.window(0, "peer_up") and self.window(1, "peer_up"))

    def matched(self, party: int) -> int:
        """Faces that a party's process has verified since its start."""
        return self.window(party, "faces_matched") or 0


def make_world(
    root: Path,
    faces: int,
    *,
    seed: int = 1,
    seconds: float = 3600.0,
    limits: Mapping[str, float] | None = None,
    cameras: Sequence[str] = (CAMERA,),
    party_settings: dict[str, object] | None = None,
    slots: int | None = None,
    mint: bool = True,
) -> World:
    """Deploys, enrols and mints; a third of the faces are at T - 1, T or T + 1 from an entry."""
    made = deploy(
        root,
        PARAMS,
        cameras=cameras,
        seconds=seconds,
        limits={**LIMITS, **(limits or {})},
        camera_settings={"drain_seconds": 600.0, "resend_seconds": 0.5, "queue_mib": 8},
        party_settings=party_settings,
    )
    rng = np.random.default_rng(seed)
    entries = rng.integers(-30, 31, size=(PARAMS.places - 1, PARAMS.dim))
    made.write_watchlist(
        Person.of(f"e{number}", row / np.float64(1 << PARAMS.fraction_bits))
        for number, row in enumerate(entries)
    )
    rows = rng.integers(-30, 31, size=(faces, PARAMS.dim))
    for row in range(0, faces, 3):
        rows[row] = entries[rng.integers(len(entries))]
        # 19^2 + 6^2 + 1 + 1 = 399, 20^2 = 400, 20^2 + 1 = 401
        step = ((19, 6, 1, 1), (20, 0, 0, 0), (20, 1, 0, 0))[rng.integers(3)]
        rows[row, :4] += np.array(step) * rng.choice([-1, 1], size=4)
    np.save(root / "faces.npy", rows)
    if mint:
        made.mint(slots or faces)
    return World(made, rows, entries)
