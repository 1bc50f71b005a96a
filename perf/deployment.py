"""A whole deployment in one folder: dealer, parties and cameras, as operators would set it up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camera.config import CameraConfig
from dealer.job import Minted, MintJob
from dealer.order import CameraOrder, MintOrder
from party.config import PartyConfig
from party.status import STATUS_FILE, read_status
from shared import config, watchlist
from shared.errors import ResourceError, TwokeyError
from shared.keys import Identity
from shared.params import Parameters
from shared.roles import RoleFolder, init_role
from shared.trust import read_offered
from shared.watchlist import Person, Watchlist
from shared.windowkeys import Window, load_window_key, publish_window_key

PARTIES = ("p0", "p1")
_POLL_SECONDS = 0.02


@dataclass(slots=True)
class Deployment:
    """Folders and identities of all roles below `root`, everybody trusting whom they must."""

    root: Path
    window: Window
    params: Parameters
    identities: dict[str, Identity] = field(repr=False)
    cameras: tuple[str, ...]

    def folder(self, who: str) -> RoleFolder:
        """The folder of `dealer`, `p0`, `p1` or a camera."""
        return RoleFolder(self.root / who)

    def write_watchlist(self, people: Iterable[Person]) -> None:
        """The same watchlist for both parties."""
        content = Watchlist(self.params.model, self.params.dim, tuple(people))
        for party in PARTIES:
            watchlist.save(self.root / party / "watchlist.jsonl", content)

    def mint(self, slots: int, *, workers: int | None = None) -> Minted:
        """Mints the window for every camera, on all cores by default, and hands the files out."""
        out = self.root / "dealer" / "out"
        keys = {
            who: load_window_key(
                publish_window_key(
                    self.identities[who], self.folder(who).state, self.root / "keys", self.window
                ),
                self.identities[who].public,
                self.window.id,
            )
            for who in (*PARTIES, *self.cameras)
        }
        cameras = tuple(CameraOrder(name, slots, keys[name]) for name in self.cameras)
        order = MintOrder(self.params, self.window, keys["p0"], keys["p1"], cameras)
        with MintJob(order, self.identities["dealer"], out) as job:
            minted = job.mint(job.plan(), workers=workers)
        for party in PARTIES:
            for path in sorted((out / self.window.id / party).glob("*.tkm")):
                path.rename(self.root / party / "material" / path.name)
        for name in self.cameras:
            path = out / self.window.id / "camera" / f"{name}.tkm"
            path.rename(self.root / name / "material" / path.name)
        return minted

    def start(
        self, *, cpus: Sequence[int | None] = (None, None), log_level: str = "info"
    ) -> Running:
        """Both party processes."""
        processes = [
            _spawn(
                [
                    "party",
                    "--log-level",
                    log_level,
                    "run",
                    "-c",
                    str(self.root / party / "party.toml"),
                ],
                cpu,
            )
            for party, cpu in zip(PARTIES, cpus, strict=True)
        ]
        return Running(self, processes)


@dataclass(slots=True)
class Running:
    """Both parties' processes. Use as a context manager; leaving it stops them."""

    deployment: Deployment
    processes: list[subprocess.Popen[bytes]]

    def status(self, party: int) -> dict[str, Any] | None:
        """What a party last reported, if it is running."""
        path = self.deployment.folder(PARTIES[party]).state / STATUS_FILE
        try:
            found, alive = read_status(path, time.time())
        except TwokeyError:
            return None
        return found if alive and found["pid"] == self.processes[party].pid else None

    def wait_until_prepared(self, slots: int, seconds: float) -> None:
        """Until both parties report so many prepared slots. Raises ResourceError."""
        deadline = time.monotonic() + seconds
        while not all(self._prepared(party) >= slots for party in (0, 1)):
            self.check()
            if time.monotonic() > deadline:
                raise ResourceError(f"the parties did not prepare {slots} slots in {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raises ResourceError when a party has ended."""
        for name, process in zip(PARTIES, self.processes, strict=True):
            if process.poll() is not None:
                raise ResourceError(f"{name} ended with exit code {process.returncode}")

    def stop(self) -> None:
        """Ends both in good order."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepared(self, party: int) -> int:
        found = self.status(party)
        if found is None:
            return -1
        windows = found["windows"]
        return sum(c["prepared"] for window in windows for c in window["cameras"].values())


def deploy(
    root: Path,
    params: Parameters,
    *,
    cameras: Sequence[str],
    seconds: float,
    limits: dict[str, float] | None = None,
    camera_settings: dict[str, object] | None = None,
    party_settings: dict[str, object] | None = None,
    p0_peer_address: str | None = None,
) -> Deployment:
    """Makes every role's folder, configuration and trust; the window starts now.

    seconds: the window's length. limits: of the parties' configuration. p0_peer_address: of a
    relay to P1, if there is one. Raises typed errors.
    """
    ports = free_ports(3)
    at = [f"tcp://127.0.0.1:{port}" for port in ports]
    identities: dict[str, Identity] = {}
    public: dict[str, Path] = {}
    for who, role in (
        ("dealer", "dealer"),
        ("p0", "p0"),
        ("p1", "p1"),
        *((name, "camera") for name in cameras),
    ):
        _, identities[who], public[who] = init_role(root / who, role, who)  # type: ignore[arg-type]
    everyone = tuple(identities)
    for who in everyone:
        trusted = RoleFolder(root / who).trusted()
        for other in everyone:
            if other != who and (who in ("dealer", *PARTIES) or other not in cameras):
                trusted.add(*read_offered(public[other]))
    for party, name in enumerate(PARTIES):
        values = {
            "party": party,
            "listen": at[party],
            "peer_address": p0_peer_address if p0_peer_address and party == 0 else at[2],
            "limits": limits or {},
            **(party_settings or {}),
        }
        config.write_default(PartyConfig, root / name / "party.toml", values)
        (root / name / "material").mkdir()
    for name in cameras:
        values = {"p0_address": at[0], "p1_address": at[1], **(camera_settings or {})}
        config.write_default(CameraConfig, root / name / "camera.toml", values)
        (root / name / "material").mkdir()
    now_ms = time.time_ns() // 1_000_000
    window = Window("window", now_ms, now_ms + int(seconds * 1000))
    made = Deployment(root, window, params, identities, tuple(cameras))
    made.write_watchlist(())
    return made


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _spawn(arguments: list[str], cpu: int | None) -> subprocess.Popen[bytes]:
    """`python -m <arguments>`, on one core if asked for; its output goes to standard error."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdin=subprocess.DEVNULL, stdout=sys.stderr
    )
    if cpu is not None:
        os.sched_setaffinity(process.pid, {cpu})
    return process
