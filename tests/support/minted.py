"""One window's minted material on disk, with everybody's keys, for tests."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from camera.masking import Masker
from camera.ratchetfile import RatchetState
from dealer.job import MintJob
from dealer.order import CameraOrder, MintOrder, material_path
from party.materialfolder import FoundFile
from shared.keys import Identity, PublicIdentity, Role, create_identity
from shared.materialfile import MaterialFile, read_header
from shared.params import Parameters
from shared.sets import SetName
from shared.watchlist import Entry, Person, Watchlist
from shared.windowkeys import (
    Window,
    WindowKey,
    load_private_window_key,
    load_window_key,
    publish_window_key,
)

PARTIES: Final[tuple[Role, Role]] = ("p0", "p1")
START_MS = 1_800_000_000_000
LENGTH_MS = 3_600_000
MODEL = "test"


@dataclass(frozen=True)
class CameraFile:
    """What a camera keeps of its file: the set's name, how many slots, and the masks' start."""

    name: SetName
    slots: int
    params: Parameters
    ratchet: RatchetState = field(repr=False)

    def masker(self) -> Masker:
        """The masks from the first slot on."""
        return Masker(self.params, self.ratchet)


@dataclass(frozen=True)
class MintedWindow:
    """A window's files below `root`; `state(party)` holds the party's window keys."""

    root: Path
    params: Parameters
    window: Window
    dealer: PublicIdentity
    cameras: Mapping[str, CameraFile]

    def state(self, party: int) -> Path:
        """The folder with the private window keys of a party."""
        return self.root / "state" / PARTIES[party]

    def files(self, party: int) -> list[FoundFile]:
        """The party's material files."""
        paths = (
            material_path(self.root / "out", self.window.id, PARTIES[party], camera)  # type: ignore[arg-type]
            for camera in self.cameras
        )
        return [FoundFile(path, read_header(path).header) for path in paths]


def parameters(
    *, dim: int = 4, places: int = 6, threshold: int = 400, headroom_bits: int = 5
) -> Parameters:
    """Small parameters: n = 17, norms up to 120."""
    return Parameters(
        dim=dim,
        fraction_bits=6,
        headroom_bits=headroom_bits,
        places=places,
        threshold=threshold,
        face_bound=120,
        entry_bound=120,
        model=MODEL,
    )


@cache
def minted(
    params: Parameters,
    cameras: tuple[str, ...] = ("east", "north"),
    slots: int = 24,
    window: str = "w1",
    attempt: int = 0,
    seed: int | None = None,
) -> MintedWindow:
    """A window's material, minted once a run; `attempt` tells minting attempts apart.

    seed: of all that the dealer draws, in place of fresh randomness.
    """
    root = Path(_folder().name) / f"{len(list(Path(_folder().name).iterdir()))}-{attempt}"
    span = Window(window, START_MS, START_MS + LENGTH_MS)
    keys: dict[str, WindowKey] = {}
    for role, name in (*zip(PARTIES, PARTIES, strict=True), *(("camera", c) for c in cameras)):
        owner = identity(role, name)
        path = publish_window_key(owner, root / "state" / name, root / "keys", span)
        keys[name] = load_window_key(path, owner.public, window)
    order = MintOrder(
        params,
        span,
        keys["p0"],
        keys["p1"],
        tuple(CameraOrder(name, slots, keys[name]) for name in cameras),
    )
    dealer = identity("dealer", "dealer")
    with MintJob(order, dealer, root / "out") as job:
        draw = os.urandom if seed is None else random.Random(seed).randbytes
        job.mint(job.plan(), workers=1, random=draw)
    return MintedWindow(
        root,
        params,
        span,
        dealer.public,
        {name: _camera_file(root, params, span, dealer.public, name) for name in cameras},
    )


@cache
def identity(role: Role, name: str) -> Identity:
    """The identity of somebody, the same throughout the run."""
    return create_identity(role, name)


def entries_of(params: Parameters, vectors: Mapping[str, Sequence[int]]) -> tuple[Entry, ...]:
    """Watchlist entries with these integer coordinates, as a party loads them."""
    scale = np.float64(1 << params.fraction_bits)
    people = tuple(
        Person.of(name, (np.asarray(row, dtype=np.float64) / scale).astype(np.float32))
        for name, row in vectors.items()
    )
    return Watchlist(params.model, params.dim, people).entries(params)


def names_of_matches(
    face: NDArray[np.int64], entries: Sequence[Entry], threshold: int
) -> tuple[str, ...]:
    """The plaintext answer for one face: names of the entries below the threshold."""
    return tuple(
        entry.name
        for entry in entries
        if sum((int(a) - int(b)) ** 2 for a, b in zip(face, entry.coordinates, strict=True))
        < threshold
    )


def _camera_file(
    root: Path, params: Parameters, window: Window, dealer: PublicIdentity, name: str
) -> CameraFile:
    key = load_private_window_key(root / "state" / name, window.id, "camera", name)
    path = material_path(root / "out", window.id, "camera", name)
    with MaterialFile.open(path, dealer=dealer, window_key=key, params=params, camera=name) as file:
        seeds = file.camera_seeds()
        state = RatchetState(0, seeds.ratchet0.reveal() + seeds.ratchet1.reveal())
        return CameraFile(file.header.set_name(), file.header.slots, params, state)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed at the end of the process; in memory where that can be had."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(
        prefix="twokey-test-", dir=memory if memory.is_dir() else None
    )
