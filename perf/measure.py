"""One measurement: a fresh deployment, minted and matched for real, its bits checked."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from party.config import PartyConfig
from party.events import EventStore, Status
from party.statefiles import EVENTS_FILE, LINES_FILE
from perf.deployment import PARTIES, Deployment, Running, deploy, free_ports
from perf.feeder import Plan
from perf.replay import Workload, people
from shared import config
from shared.errors import ResourceError
from shared.fixedpoint import plaintext_matches

OUTSTANDING = 8_192
_WINDOW_SECONDS = 6 * 3600
_PATIENCE_SECONDS = 600.0
_SAMPLE_SECONDS = 0.1
_STATUS_SECONDS = 1.2


@dataclass(frozen=True, slots=True)
class Distance:
    """Between the parties: added round trip in ms, and megabits a second (0: no limit)."""

    round_trip_ms: float
    megabits: float


@dataclass(frozen=True, slots=True)
class Setting:
    """How the stack runs. cpus: the core of each party, None for any. threads: of each party.

    ahead: slots a camera prepared ahead of its faces; None: all, before the first face is sent.
    cold: the material is dropped from the page cache before the first face is sent. slots: minted
    for each camera; None: as many as it has faces. mint_workers: the dealer's threads, None: one
    a core.
    """

    cameras: int = 1
    faces_per_message: int = 64
    ahead: int | None = None
    outstanding: int = OUTSTANDING
    cpus: tuple[int | None, int | None] = (None, None)
    threads: int = 1
    cold: bool = False
    slots: int | None = None
    mint_workers: int | None = None
    distance: Distance | None = None
    limits: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run gave. seconds: first face sent to last outcome of both parties.

    prepared_before: slots that were prepared before the first face was sent. wire: bytes and
    messages between the parties by phase, both directions, handshake included. material: bytes
    a face by recipient. latencies: ms, (F,), of a run one by one. anonymous_mib: most of a party.
    """

    faces: int
    seconds: float
    mismatches: int
    prepared_before: int
    seconds_mint: float
    seconds_start: float
    seconds_prepare: float
    wire_bytes: dict[str, int]
    wire_messages: dict[str, int]
    camera_bytes: int
    material: dict[str, float]
    anonymous_mib: float
    latencies: NDArray[np.float64] = field(repr=False)

    @property
    def faces_per_second(self) -> float:
        """Faces whose slots were not prepared before, or all where all were, by the seconds."""
        before = self.prepared_before if self.prepared_before < self.faces else 0
        return (self.faces - before) / self.seconds


def measure(work: Workload, setting: Setting, *, one_by_one: bool = False) -> Measured:
    """Runs the stack once in a temporary folder, which is removed.

    Raises ResourceError where a process ends or a face is not verified.
    """
    with tempfile.TemporaryDirectory(prefix="twokey-perf-") as folder:
        return _measure(work, setting, Path(folder), one_by_one)


def _measure(work: Workload, setting: Setting, root: Path, one_by_one: bool) -> Measured:
    count = len(work.faces)
    share = -(-count // setting.cameras)
    ahead = share if setting.ahead is None else setting.ahead
    relay_port = free_ports(1)[0]
    cameras = [f"cam{number:04d}" for number in range(setting.cameras)]
    made = deploy(
        root,
        work.params,
        cameras=cameras,
        seconds=_WINDOW_SECONDS,
        limits={
            "prepare_ahead": ahead,
            "face_deadline": _PATIENCE_SECONDS,
            "held_faces": max(2 * setting.outstanding, 65_536),
            **setting.limits,
        },
        party_settings={"threads": setting.threads},
        p0_peer_address=f"tcp://127.0.0.1:{relay_port}" if setting.distance else None,
    )
    made.write_watchlist(people(work))
    start = time.perf_counter()
    slots = max(setting.slots or share, share)
    made.mint(slots, workers=setting.mint_workers)
    seconds_mint = time.perf_counter() - start
    material = _material(made, slots)
    faces = root / "faces.npy"
    np.save(faces, work.faces, allow_pickle=False)
    start = time.perf_counter()
    with (
        _relay(made, relay_port, setting.distance),
        made.start(cpus=setting.cpus, log_level="error") as running,
        _Memory(running) as memory,
    ):
        _wait_running(running)
        seconds_start = time.perf_counter() - start
        paths = [made.folder(party).state / LINES_FILE for party in PARTIES]
        plan = Plan(
            root,
            made.window.id,
            tuple(cameras),
            faces,
            setting.faces_per_message,
            setting.outstanding,
            (paths[0], paths[1]),
        )
        with _feeder(plan) as feeder:
            prepared = min(slots, ahead) * setting.cameras
            running.wait_until_prepared(prepared, _PATIENCE_SECONDS)
            seconds_prepare = time.perf_counter() - start - seconds_start
            if setting.cold:
                _drop_from_cache(made)
            answer = _ask(feeder, running, "one by one" if one_by_one else "feed")
        wire = _wire(running)
    latencies = np.array(answer.get("milliseconds", ()), dtype=np.float64)
    if answer["verified"] != [count, count]:
        raise ResourceError(f"found {answer['verified']} faces verified, expected {count}")
    return Measured(
        count,
        answer.get("seconds", float(latencies.sum()) / 1000),
        _mismatches(made, work, cameras),
        prepared,
        seconds_mint,
        seconds_start,
        seconds_prepare,
        wire["bytes_sent"],
        wire["messages_sent"],
        answer["bytes_sent"],
        material,
        memory.most / (1 << 20),
        latencies,
    )


@contextmanager
def _relay(made: Deployment, port: int, distance: Distance | None) -> Iterator[None]:
    """The long line between the parties, where there is one."""
    if distance is None:
        yield
        return
    target = config.load(PartyConfig, made.root / "p1" / "party.toml").peer_address
    arguments = (port, target.rpartition(":")[2], distance.round_trip_ms / 2, distance.megabits)
    process = subprocess.Popen([sys.executable, "-m", "perf.relay", *map(str, arguments)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _feeder(plan: Plan) -> Iterator[subprocess.Popen[bytes]]:
    """The cameras' process, once all faces are masked and both parties welcomed it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perf.feeder"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        _tell(process, plan.to_json())
        _answer(process)
        yield process
    finally:
        with suppress(OSError, subprocess.TimeoutExpired):
            process.communicate(timeout=10)
        process.kill()
        process.wait()


def _ask(feeder: subprocess.Popen[bytes], running: Running, wish: str) -> dict[str, Any]:
    _tell(feeder, wish.encode())
    found = _answer(feeder)
    running.check()
    return found


def _tell(process: subprocess.Popen[bytes], line: bytes) -> None:
    if process.stdin is None:
        raise ResourceError("the feeder takes no input")
    process.stdin.write(line + b"\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    line = process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise ResourceError(f"the feeder ended with exit code {process.wait()}")
    found: dict[str, Any] = orjson.loads(line)
    return found


class _Memory:
    """The most anonymous memory that a party process had, sampled. most: bytes."""

    def __init__(self, running: Running) -> None:
        self._pids = [process.pid for process in running.processes]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.most = 0

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self.most = max(self.most, *map(anonymous_bytes, self._pids))


def anonymous_bytes(pid: int) -> int:
    """Anonymous resident memory of a process; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(found[0]) * 1024 if found else 0


def _wait_running(running: Running) -> None:
    """Until both parties report that they run."""
    running.wait_until_prepared(0, _PATIENCE_SECONDS)


def _wire(running: Running) -> dict[str, dict[str, int]]:
    """Both parties' counters together, once the last second's status is written."""
    time.sleep(_STATUS_SECONDS)
    totals: dict[str, dict[str, int]] = {"bytes_sent": {}, "messages_sent": {}}
    for party, name in enumerate(PARTIES):
        found = running.status(party)
        if found is None:
            raise ResourceError(f"{name} reports no status")
        for what, sums in totals.items():
            for phase, value in found["wire"][what].items():
                sums[phase] = sums.get(phase, 0) + value
    return totals


def _material(made: Deployment, slots: int) -> dict[str, float]:
    """Bytes a face, by recipient, of the first camera's files."""
    camera = made.cameras[0]
    found = {
        who: (made.root / who / "material" / f"{camera}.tkm").stat().st_size / slots
        for who in (*PARTIES, camera)
    }
    found["camera"] = found.pop(camera)
    return found


def _drop_from_cache(made: Deployment) -> None:
    """The parties' material leaves the page cache; it is on the disk already."""
    for party in PARTIES:
        for path in (made.root / party / "material").glob("*.tkm"):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _mismatches(made: Deployment, work: Workload, cameras: Sequence[str]) -> int:
    """Bits of either party's events that differ from the plaintext's."""
    expected = plaintext_matches(work.faces, work.distinct, work.params.threshold)
    shares = np.array_split(np.arange(len(work.faces)), len(cameras))
    first = {name: int(part[0]) for name, part in zip(cameras, shares, strict=True) if len(part)}
    place = {person.name: number for number, person in enumerate(people(work))}
    wrong = 0
    for party in PARTIES:
        state = made.folder(party).state
        bits = np.zeros_like(expected)
        seen = np.zeros(len(expected), dtype=np.bool_)
        with EventStore(state / EVENTS_FILE, state / LINES_FILE) as store:
            for event in store.events(made.window.id):
                if event.status is Status.VERIFIED:
                    face = first[event.camera] + event.slot
                    seen[face] = True
                    bits[face, [place[name] for name in event.entries]] = True
        if not seen.all():
            raise ResourceError(f"{party}: {int((~seen).sum())} faces have no verified event")
        wrong += int((bits != expected).sum())
    return wrong
