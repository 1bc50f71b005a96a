"""Makes the files of one engine session: all of its recipients' or none (docs/engine.md)."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dealer.engine_mint import EngineSeeds, client_masks, mint_corrections, mint_keys
from shared.atomicfile import file_error, make_folder, sync_folder
from shared.engine_file import (
    SUFFIX,
    ChunkCipher,
    file_bytes,
    recipient_streams,
    seal_engine_header,
    set_digest,
)
from shared.engine_plan import Family, Plan, Stream
from shared.errors import AuthenticationFailed, ConfigError, InputError
from shared.keys import Identity
from shared.secret import Secret
from shared.sets import check_name
from shared.windowkeys import WindowKey

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EngineOrder:
    """One session's material. clients: who gets the masks of the kinds client(0), client(1), ...

    Raises InputError when its parts do not fit together.
    """

    plan: Plan
    name: str
    p0: WindowKey
    p1: WindowKey
    clients: tuple[WindowKey, ...] = ()

    def __post_init__(self) -> None:
        check_name("session", self.name)
        masks = {kind.p for kind, _ in self.plan.counts if kind.family is Family.CLIENT}
        if masks != set(range(len(self.clients))):
            raise InputError("engine order: masks for a client and a client's key go together")
        for key, role in (
            (self.p0, "p0"),
            (self.p1, "p1"),
            *((key, "camera") for key in self.clients),
        ):
            if key.owner.role != role:
                raise AuthenticationFailed(
                    f"window key of {key.owner.role} {key.owner.name}, expected one of a {role}"
                )
            if key.window != self.p0.window:
                raise InputError(
                    f"window key of {role} {key.owner.name} is for {key.window}, "
                    f"expected {self.p0.window}"
                )

    def recipients(self) -> dict[str, WindowKey]:
        """Everybody who gets a file: p0, p1, client-0, client-1, ..."""
        clients = {_client(number): key for number, key in enumerate(self.clients)}
        return {"p0": self.p0, "p1": self.p1, **clients}


def engine_path(out: Path, window: str, recipient: str, name: str) -> Path:
    """Where a file goes: one folder for each recipient."""
    return out / window / recipient / f"{name}{SUFFIX}"


def mint_engine(
    order: EngineOrder,
    dealer: Identity,
    out: Path,
    *,
    workers: int = 1,
    random: Callable[[int], bytes] = os.urandom,
) -> dict[str, Path]:
    """Makes all files of the session under a fresh mint id; returns their paths.

    random: where the randomness comes from. A session of this name that is there is left as it is:
    ConfigError. Raises DiskFull; nothing stays of a job that fails.
    """
    window = order.p0.window.id
    paths = {role: engine_path(out, window, role, order.name) for role in order.recipients()}
    for path in paths.values():
        make_folder(path.parent, "material folder", mode=0o755)
        if path.exists():
            raise ConfigError(f"engine file {path}: exists already, and is left as it is")
    drawn = random(16 + 32 * (4 + len(order.clients)))
    mint_id = drawn[:16]
    keys = [Secret(drawn[i : i + 32]) for i in range(16, len(drawn), 32)]
    seeds = EngineSeeds(keys[0], keys[1])
    writers: dict[str, _Writer] = {}
    try:
        sealed = {"p0": (keys[2], keys[0]), "p1": (keys[3], keys[1])} | {
            _client(number): (key,) for number, key in enumerate(keys[4:])
        }
        for number, (role, key) in enumerate(order.recipients().items()):
            header, signed = seal_engine_header(
                dealer, key, order.plan, mint_id, order.name, sealed[role], max(0, number - 2)
            )
            cipher = ChunkCipher(sealed[role][0].reveal(), header.encode())
            writers[role] = _Writer(paths[role], signed, cipher, file_bytes(header))
        digest = set_digest(mint_id, window, order.name)
        with ThreadPoolExecutor(workers, "mint") as pool:
            for targets, stream, number, content in _chunks(order, seeds, digest, pool, workers):
                for role in targets:
                    writers[role].write(stream, number, content)
        for writer in writers.values():
            writer.finish()
        for writer in writers.values():
            writer.commit()
    except BaseException:
        for writer in writers.values():
            writer.withdraw()
        raise
    finally:
        for writer in writers.values():
            writer.abandon()
        for secret in keys:
            secret.destroy()
    return paths


def _chunks(
    order: EngineOrder, seeds: EngineSeeds, digest: bytes, pool: ThreadPoolExecutor, workers: int
) -> Iterator[tuple[tuple[str, ...], int, int, U8]]:
    """Every chunk with its recipients, stream and number, in the order of the files."""
    plan = order.plan

    def make(job: tuple[Stream, int, bool]) -> U8:
        stream, number, masks = job
        first, count = number * stream.step, stream.items(number)
        if masks:
            return client_masks(plan, seeds, stream.kind, first, count)
        if stream.keys:
            return mint_keys(plan, seeds, stream.kind, digest, first, count)
        return mint_corrections(plan, seeds, stream.kind, first, count)

    jobs: list[tuple[tuple[str, ...], tuple[Stream, int, bool]]] = []
    for stream in plan.streams(1):
        targets: tuple[str, ...] = ("p0", "p1") if stream.keys else ("p1",)
        jobs += [(targets, (stream, number, False)) for number in range(stream.chunks)]
    for who in range(len(order.clients)):
        for masks in recipient_streams(plan, "client", who):
            jobs += [((_client(who),), (masks, number, True)) for number in range(masks.chunks)]
    group = 4 * workers
    for at in range(0, len(jobs), group):
        some = jobs[at : at + group]
        contents = pool.map(make, [job for _, job in some])
        for (targets, (stream, number, _)), content in zip(some, contents, strict=True):
            yield targets, stream.number, number, content


def _client(number: int) -> str:
    return f"client-{number}"


class _Writer:
    """One file under a temporary name beside its place, until `commit`; chunks in order."""

    def __init__(self, path: Path, signed: bytes, cipher: ChunkCipher, size: int) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        self._cipher = cipher
        self._committed = False
        try:
            self._file = self._temporary.open("xb")
            try:
                # A full disk is found now and not after an hour.
                os.posix_fallocate(self._file.fileno(), 0, size)
                self._file.write(signed)
            except BaseException:
                self.abandon()
                raise
        except OSError as error:
            raise file_error(error, "engine file", path) from None

    def write(self, stream: int, number: int, content: U8) -> None:
        try:
            self._file.write(self._cipher.encrypt(stream, number, content))
        except OSError as error:
            raise file_error(error, "engine file", self._path) from None

    def finish(self) -> None:
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise file_error(error, "engine file", self._path) from None

    def commit(self) -> None:
        try:
            self._temporary.rename(self._path)
            self._committed = True
            sync_folder(self._path.parent)
        except OSError as error:
            raise file_error(error, "engine file", self._path) from None

    def withdraw(self) -> None:
        """Takes a committed file away again: one recipient's alone is of no use."""
        if self._committed:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()
