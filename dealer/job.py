"""A minting job: complete sets are kept, the others minted on all cores (protocol section 7)."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Self

from dealer.folderlock import FolderLock
from dealer.order import CameraOrder, MintOrder, material_path
from dealer.setfiles import RANDOM_BYTES, Block, MintBuffers, SetFiles, SetRandomness
from shared.atomicfile import file_error, make_folder, sync_folder
from shared.cores import cores
from shared.errors import (
    AuthenticationFailed,
    DiskFull,
    FormatError,
    InputError,
)
from shared.keys import Identity
from shared.materialheader import RECIPIENTS, Recipient, SignedHeader, read_header
from shared.reservedfile import TEMPORARY_SUFFIX
from shared.sets import SetName


class SetState(Enum):
    """What is on disk of a camera's set."""

    MISSING = "missing"
    INCOMPLETE = "incomplete"
    COMPLETE = "complete"
    OTHER = "complete, but for another order"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job would do. Bytes are of disk space; freed: by removing what is incomplete."""

    keep: tuple[CameraOrder, ...]
    mint: tuple[CameraOrder, ...]
    bytes_needed: int
    bytes_freed: int
    bytes_free: int

    @property
    def slots(self) -> int:
        """Slots to be minted."""
        return sum(camera.slots for camera in self.mint)

    def check_space(self) -> None:
        """Raises DiskFull when the disk lacks the space."""
        if self.bytes_needed > self.bytes_free + self.bytes_freed:
            raise DiskFull(
                f"material needs {self.bytes_needed:,} bytes, "
                f"the disk has {self.bytes_free + self.bytes_freed:,}"
            )


@dataclass(frozen=True, slots=True)
class Minted:
    """What a job has done."""

    sets: int
    slots: int
    seconds: float


class MintJob:
    """One window's job in a folder that it holds alone. Use it as a context manager.

    Raises Locked when another job works there.
    """

    def __init__(self, order: MintOrder, dealer: Identity, out: Path) -> None:
        self.order = order
        self._dealer = dealer
        self._out = out
        self.folder = out / order.window.id
        self._buffers = threading.local()
        self._stop = threading.Event()
        self._open: set[SetFiles] = set()

    def __enter__(self) -> Self:
        for role in RECIPIENTS:
            make_folder(self.folder / role, "material folder", mode=0o755)
        self._lock = FolderLock(self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    # -- what is there ---------------------------------------------------------------------

    def state(self, camera: CameraOrder) -> SetState:
        """Whether a camera's set is on disk with all its files, and is the one that is ordered."""
        found: list[SignedHeader] = []
        missing = 0
        for role in RECIPIENTS:
            path = self._path(role, camera)
            if not path.exists():
                missing += 1
                continue
            try:
                signed = read_header(path)
                if signed.header.dealer == self._dealer.public.digest():
                    signed.verify(self._dealer.public, f"material file {path}")
                found.append(signed)
            except (FormatError, AuthenticationFailed):
                return SetState.INCOMPLETE
        if missing:
            return SetState.MISSING if missing == len(RECIPIENTS) else SetState.INCOMPLETE
        if len({signed.header.mint_id for signed in found}) > 1:
            return SetState.INCOMPLETE
        keys = self.order.keys(camera)
        right = all(
            (h.dealer, h.recipient, h.params, h.window, h.camera, h.slots, h.window_key)
            == (
                self._dealer.public.digest(),
                role,
                self.order.params,
                self.order.window,
                camera.name,
                camera.slots,
                keys[role].key_id(),
            )
            for role, h in zip(RECIPIENTS, (s.header for s in found), strict=True)
        )
        return SetState.COMPLETE if right else SetState.OTHER

    def plan(self, *, replace: bool = False) -> Plan:
        """What to keep and what to mint; changes nothing.

        A complete set of another order (parameters, slots, keys, dealer) may have been handed
        out: InputError, unless `replace` says that it shall go.
        """
        keep: list[CameraOrder] = []
        mint: list[CameraOrder] = []
        freed = 0
        for camera in self.order.cameras:
            state = self.state(camera)
            if state is SetState.OTHER and not replace:
                raise InputError(
                    f"camera {camera.name}: {self.folder} holds a complete set of another order "
                    "(parameters, slots, keys or dealer); replace it explicitly or use another "
                    "folder"
                )
            if state is SetState.COMPLETE:
                keep.append(camera)
                continue
            mint.append(camera)
            freed += sum(_size(self._path(role, camera)) for role in RECIPIENTS)
        freed += sum(_size(path) for path in self._leftovers())
        try:
            disk = os.statvfs(self.folder)
        except OSError as error:
            raise file_error(error, "material folder", self.folder) from None
        needed = sum(self.order.file_bytes(camera) for camera in mint)
        return Plan(tuple(keep), tuple(mint), needed, freed, disk.f_bavail * disk.f_frsize)

    # -- minting -------------------------------------------------------------------------

    def mint(
        self,
        plan: Plan,
        *,
        workers: int | None = None,
        progress: Callable[[int], None] = lambda slots: None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Minted:
        """Mints what the plan says, each set under a fresh mint id and fresh keys.

        progress: told from several threads how many more slots are done. random: where the
        randomness comes from. Sets that are complete stay when it fails. Raises DiskFull.
        """
        plan.check_space()
        start = time.perf_counter()
        self._remove(plan)
        threads = workers or cores()
        pending: deque[Future[None]] = deque()
        try:
            with ThreadPoolExecutor(threads, "mint") as pool:
                try:
                    for camera in plan.mint:
                        files = self._begin(camera, random)
                        for block in files.blocks():
                            while len(pending) >= 2 * threads:
                                pending.popleft().result()
                            pending.append(pool.submit(self._mint, files, block, progress))
                    while pending:
                        pending.popleft().result()
                finally:
                    self._stop.set()
                    pool.shutdown(cancel_futures=True)
        finally:
            for files in list(self._open):
                self._end(files)
        return Minted(len(plan.mint), plan.slots, time.perf_counter() - start)

    def _begin(self, camera: CameraOrder, random: Callable[[int], bytes]) -> SetFiles:
        randomness = SetRandomness.from_bytes(random(RANDOM_BYTES))
        order = self.order
        files = SetFiles(
            order.params,
            self._dealer,
            SetName(randomness.mint_id, order.window.id, camera.name),
            camera.slots,
            order.keys(camera),
            {role: self._path(role, camera) for role in RECIPIENTS},
            randomness,
        )
        self._open.add(files)
        return files

    def _end(self, files: SetFiles) -> None:
        self._open.discard(files)
        files.close()

    def _mint(self, files: SetFiles, block: Block, progress: Callable[[int], None]) -> None:
        if self._stop.is_set():
            return
        buffers: MintBuffers | None = getattr(self._buffers, "of_thread", None)
        if buffers is None:
            buffers = self._buffers.of_thread = MintBuffers(self.order.params)
        if files.mint(block, buffers):
            files.commit()
            self._end(files)
        progress(block.count)

    def _remove(self, plan: Plan) -> None:
        gone = [self._path(role, camera) for camera in plan.mint for role in RECIPIENTS]
        try:
            for path in (*gone, *self._leftovers()):
                path.unlink(missing_ok=True)
            for role in RECIPIENTS:
                sync_folder(self.folder / role)
        except OSError as error:
            raise file_error(error, "material folder", self.folder) from None

    def _leftovers(self) -> list[Path]:
        """Temporary files of a job that was killed; this one alone may be here now."""
        return [
            path
            for role in RECIPIENTS
            for path in (self.folder / role).glob(f".*{TEMPORARY_SUFFIX}")
        ]

    def _path(self, role: Recipient, camera: CameraOrder) -> Path:
        return material_path(self._out, self.order.window.id, role, camera.name)


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0
