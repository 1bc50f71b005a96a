"""`twokey-perf replay`: the whole stack on given arrays, compared bit by bit with the plaintext."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.typing import NDArray

from camera.agent import CameraAgent, PartyAddress
from camera.config import CameraConfig
from camera.journal import CameraJournal
from camera.sets import SetStore
from party.events import EventStore, Status
from party.statefiles import EVENTS_FILE, LINES_FILE
from perf.deployment import PARTIES, Deployment, Running, deploy
from shared import config
from shared.errors import InputError, QueueFull, RangeError, ResourceError, TamperDetected
from shared.fixedpoint import plaintext_matches, quantise
from shared.params import Parameters
from shared.transport import Transport
from shared.watchlist import Person

log = logging.getLogger(__name__)
CAMERA = "replay"
MODEL = "replay"
HEADROOM_BITS = 5
_STEP_MS = 5
_WINDOW_SECONDS = 6 * 3600
_PATIENCE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Workload:
    """Arrays in fixed point. faces: (F, d), entries: (N, d) int64.

    distinct: (M, d), the different entries; place_of: (N,) index into them.
    """

    params: Parameters
    faces: NDArray[np.int64]
    distinct: NDArray[np.int64]
    place_of: NDArray[np.intp]


def prepare_workload(
    faces: NDArray[np.floating],
    entries: NDArray[np.floating],
    threshold: float,
    fraction_bits: int,
) -> Workload:
    """Quantises and finds parameters. faces: (F, d), entries: (N, d); F, N >= 1.

    The norm bounds are those of the data, so all is in range for which (Bx + Bc)^2 < 2^(n-1).
    Raises InputError, RangeError.
    """
    x, c = quantise(faces, fraction_bits), quantise(entries, fraction_bits)
    headroom = min(HEADROOM_BITS, 32 - 2 * fraction_bits)
    limit = 1 << ((2 * fraction_bits + headroom + 1) // 2)
    for name, vectors in (("faces", x), ("watchlist", c)):
        largest = int(np.abs(vectors).max(initial=0))
        if largest >= limit:
            raise RangeError(f"{name}: a coordinate is {largest}, expected below {limit}")
    if not np.isfinite(threshold):
        raise RangeError(f"threshold: {threshold} is not finite")
    distinct, place_of = np.unique(c, axis=0, return_inverse=True)
    params = Parameters(
        dim=x.shape[1],
        fraction_bits=fraction_bits,
        headroom_bits=headroom,
        places=len(distinct),
        threshold=int(np.rint(np.float64(threshold) * (1 << 2 * fraction_bits))),
        face_bound=_norm(x),
        entry_bound=_norm(c),
        model=MODEL,
    )
    return Workload(params, x, distinct, place_of.reshape(-1))


def load_arrays(faces: Path, entries: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both .npy files as float64. Raises InputError naming what is wrong."""
    loaded = []
    for name, path in (("faces", faces), ("watchlist", entries)):
        try:
            # Mapped: numpy then compares the shape with the file's size before it takes memory.
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, SyntaxError, OverflowError, TokenError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a .npy array"
            raise InputError(f"{name} {path}: {reason or 'not readable'}") from None
        if not isinstance(found, np.ndarray) or found.dtype not in (np.float32, np.float64):
            raise InputError(f"{name} {path}: expected an array of float32 or float64")
        if found.ndim != 2 or found.shape[1] < 1:
            raise InputError(f"{name} {path}: found shape {found.shape}, expected (rows, d)")
        if not np.isfinite(found).all():
            raise InputError(f"{name} {path}: has values that are not finite")
        loaded.append(found.astype(np.float64))
    if loaded[0].shape[1] != loaded[1].shape[1]:
        raise InputError(
            f"faces have {loaded[0].shape[1]} coordinates, the watchlist {loaded[1].shape[1]}"
        )
    return loaded[0], loaded[1]


def replay(
    faces: NDArray[np.float64],
    entries: NDArray[np.float64],
    threshold: float,
    *,
    fraction_bits: int = 12,
    workdir: Path | None = None,
) -> tuple[NDArray[np.bool_], dict[str, object]]:
    """Runs everything; the bits verified by both parties, (F, N) bool, and the report.

    Raises InputError and RangeError before anything runs, ResourceError, TamperDetected.
    """
    count, places = len(faces), len(entries)
    report: dict[str, object] = {"faces": count, "entries": places, "mismatches": 0}
    if count == 0 or places == 0:
        zero = dict.fromkeys(_FIGURES, 0.0)
        material = {"p0": 0.0, "p1": 0.0, "camera": 0.0}
        return np.zeros((count, places), dtype=np.bool_), {
            **report,
            **zero,
            "material_bytes_per_face": material,
        }
    work = prepare_workload(faces, entries, threshold, fraction_bits)
    with ExitStack() as stack:
        root = workdir
        if root is None:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twokey-replay-")))
        elif root.exists() and any(root.iterdir()):
            raise InputError(f"{root}: the work folder is not empty")
        else:
            root.mkdir(parents=True, exist_ok=True)
        bits, figures = _run(work, root)
    expected = plaintext_matches(work.faces, work.distinct, work.params.threshold)
    report["mismatches"] = int((bits != expected)[:, work.place_of].sum())
    return bits[:, work.place_of], {**report, **figures}


_FIGURES = (
    "seconds_mint",
    "seconds_prepare",
    "seconds_match",
    "online_bytes_per_face",
    "prepare_bytes_per_face",
    "camera_bytes_per_face",
)


def _run(work: Workload, root: Path) -> tuple[NDArray[np.bool_], dict[str, object]]:
    count = len(work.faces)
    made = deploy(
        root,
        work.params,
        cameras=[CAMERA],
        seconds=_WINDOW_SECONDS,
        limits={"prepare_ahead": max(count, 1), "face_deadline": _PATIENCE_SECONDS},
    )
    made.write_watchlist(people(work))
    log.info("minting %d slots", count)
    start = time.perf_counter()
    made.mint(count)
    figures: dict[str, object] = {"seconds_mint": time.perf_counter() - start}
    material = {
        who: (root / who / "material" / f"{CAMERA}.tkm").stat().st_size / count
        for who in (*PARTIES, CAMERA)
    }
    material["camera"] = material.pop(CAMERA)
    log.info("preparing")
    with made.start() as running:
        start = time.perf_counter()
        running.wait_until_prepared(count, _PATIENCE_SECONDS)
        figures["seconds_prepare"] = time.perf_counter() - start
        log.info("matching")
        figures["seconds_match"], camera_bytes = _match(made, running, work)
        sent = _bytes_sent(running)
    for phase in ("online", "prepare"):
        figures[f"{phase}_bytes_per_face"] = sent[phase] / count
    figures["camera_bytes_per_face"] = camera_bytes / count
    figures["material_bytes_per_face"] = material
    bits = [_bits(made, party, work) for party in PARTIES]
    if not np.array_equal(bits[0], bits[1]):
        raise TamperDetected("the two parties report different verified bits")
    return bits[0], figures


def people(work: Workload) -> list[Person]:
    """The distinct entries under names by place; exact, as |c| < 2^24."""
    scale = np.float64(1 << work.params.fraction_bits)
    return [
        Person.of(_name(place), (row / scale).astype(np.float32))
        for place, row in enumerate(work.distinct)
    ]


def _match(made: Deployment, running: Running, work: Workload) -> tuple[float, int]:
    """Sends every face as the camera would; seconds until both have acknowledged, bytes sent."""
    settings = config.load(CameraConfig, made.root / CAMERA / "camera.toml")
    folder = made.folder(CAMERA)
    with ExitStack() as stack:
        journal = stack.enter_context(
            CameraJournal(folder.state / "journal.sqlite", limit_bytes=settings.queue_mib << 20)
        )
        transport = stack.enter_context(Transport(made.identities[CAMERA].curve_pair()))
        store = SetStore(folder.state, journal)
        dealer = made.identities["dealer"].public
        opened = store.adopt(settings.material / f"{CAMERA}.tkm", dealer, CAMERA, MODEL)
        agent = CameraAgent(
            opened,
            store,
            journal,
            transport,
            (
                PartyAddress(settings.p0_address, made.identities["p0"].public.curve_key),
                PartyAddress(settings.p1_address, made.identities["p1"].public.curve_key),
            ),
            resend_seconds=60.0,
            faces_per_message=settings.faces_per_message,
        )
        stack.callback(agent.close)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not agent.ready:
            _patience(running, deadline)
            agent.step(_STEP_MS)
        start = time.perf_counter()
        size = settings.faces_per_message
        first = 0
        while first < len(work.faces):
            part = work.faces[first : first + size]
            try:
                agent.submit([time.time_ns() // 1_000_000] * len(part), part)
            except QueueFull:
                _patience(running, deadline)
                agent.step(_STEP_MS)
                continue
            first += len(part)
            agent.step(0)
        while agent.waiting:
            _patience(running, deadline)
            agent.step(_STEP_MS)
        return time.perf_counter() - start, agent.bytes_sent


def _patience(running: Running, deadline: float) -> None:
    running.check()
    if time.monotonic() > deadline:
        raise ResourceError("the parties did not finish in time")


def _bytes_sent(running: Running) -> dict[str, int]:
    """Between the parties, both directions, once the last second's status is written."""
    time.sleep(1.2)
    totals = {"online": 0, "prepare": 0}
    for party in (0, 1):
        found = running.status(party)
        if found is None:
            raise ResourceError(f"{PARTIES[party]} reports no status")
        for phase in totals:
            totals[phase] += found["wire"]["bytes_sent"][phase]
    return totals


def _bits(made: Deployment, party: str, work: Workload) -> NDArray[np.bool_]:
    """The verified bits as this party's events tell them."""
    state = made.folder(party).state
    bits = np.zeros((len(work.faces), len(work.distinct)), dtype=np.bool_)
    place = {_name(p): p for p in range(len(work.distinct))}
    with EventStore(state / EVENTS_FILE, state / LINES_FILE) as store:
        events = store.events(made.window.id)
    verified = [event for event in events if event.status is Status.VERIFIED]
    if len(verified) != len(work.faces):
        raise ResourceError(f"{party}: {len(verified)} of {len(work.faces)} faces are verified")
    for event in verified:
        bits[event.slot, [place[name] for name in event.entries]] = True
    return bits


def _name(place: int) -> str:
    return f"e{place:07d}"


def _norm(vectors: NDArray[np.int64]) -> int:
    """The largest Euclidean norm, rounded up."""
    largest = int((vectors * vectors).sum(axis=1).max(initial=0))
    root = isqrt(largest)
    return root if root * root == largest else root + 1
