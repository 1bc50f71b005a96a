"""Makes the files of one engine session: all of its recipients' or none (docs/engine.md)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dealer.engine_mint import EngineSeeds, client_masks, mint_corrections, mint_keys
from dealer.folderlock import FolderLock
from dealer.setfiles import PARTIES
from shared.atomicfile import file_error, make_folder, sync_folder
from shared.engine_file import seal_engine_header
from shared.engine_header import (
    SUFFIX,
    EngineHeader,
    SignedEngineHeader,
    read_engine_header,
    recipient_streams,
    set_digest,
)
from shared.engine_plan import Family, Plan, Stream
from shared.errors import AuthenticationFailed, ConfigError, FormatError, InputError
from shared.keys import Identity, Role
from shared.params import Parameters
from shared.reservedfile import TEMPORARY_SUFFIX, ReservedFile
from shared.secret import Secret
from shared.sets import check_name
from shared.windowkeys import TAG_BYTES, WindowKey

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EngineOrder:
    """One session's material. clients: who gets the masks of the kinds client(0), client(1), ...

    params: of the faces that the session is for, if it is. Raises InputError when its parts do not
    fit together.
    """

    plan: Plan
    name: str
    p0: WindowKey
    p1: WindowKey
    clients: tuple[WindowKey, ...] = ()
    params: Parameters | None = None

    def __post_init__(self) -> None:
        check_name("session", self.name)
        masks = {kind.p for kind, _ in self.plan.counts if kind.family is Family.CLIENT}
        if masks != set(range(len(self.clients))):
            raise InputError("engine order: masks for a client and a client's key go together")
        wanted: list[tuple[WindowKey, tuple[Role, ...]]] = [
            (self.p0, ("p0",)),
            (self.p1, ("p1",)),
            *((key, ("camera", "authority")) for key in self.clients),
        ]
        for key, roles in wanted:
            owner = key.owner
            if owner.role not in roles:
                raise AuthenticationFailed(
                    f"window key of {owner.role} {owner.name}, expected one of {' or '.join(roles)}"
                )
            if key.window != self.p0.window:
                raise InputError(
                    f"window key of {owner.role} {owner.name} is for {key.window}, "
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

    random: where the randomness comes from. A session of this name that is there with all its
    files is left as it is: ConfigError; what a killed job left of one is removed. Raises Locked,
    DiskFull; nothing stays of a job that fails.
    """
    window = order.p0.window.id
    paths = {role: engine_path(out, window, role, order.name) for role in order.recipients()}
    with FolderLock(out / window):
        for path in paths.values():
            make_folder(path.parent, "material folder", mode=0o755)
        _clear(out / window, order.name)
        drawn = random(16 + 32 * (4 + len(order.clients)))
        keys = [Secret(drawn[i : i + 32]) for i in range(16, len(drawn), 32)]
        try:
            _write(order, dealer, paths, drawn[:16], keys, workers)
        finally:
            for secret in keys:
                secret.destroy()
    return paths


def _write(
    order: EngineOrder,
    dealer: Identity,
    paths: Mapping[str, Path],
    mint_id: bytes,
    keys: Sequence[Secret],
    workers: int,
) -> None:
    seeds = EngineSeeds(keys[0], keys[1])
    sealed = {"p0": (keys[2], keys[0]), "p1": (keys[3], keys[1])} | {
        _client(number): (key,) for number, key in enumerate(keys[4:])
    }
    writers: dict[str, _Writer] = {}
    try:
        for number, (role, key) in enumerate(order.recipients().items()):
            signed = seal_engine_header(
                dealer,
                key,
                order.plan,
                mint_id,
                order.name,
                sealed[role],
                number=max(0, number - 2),
                clients=tuple(client.owner.digest() for client in order.clients),
                params=order.params,
            )
            writers[role] = _Writer(paths[role], signed, sealed[role][0].reveal())
        digest = set_digest(mint_id, order.p0.window.id, order.name)
        with ThreadPoolExecutor(workers, "mint") as pool:
            for targets, stream, number, content in _chunks(order, seeds, digest, pool, workers):
                for role in targets:
                    writers[role].write(stream, number, content)
        for writer in writers.values():
            writer.file.finish()
        for writer in writers.values():
            writer.file.commit()
        for writer in writers.values():
            writer.file.sync()
    except BaseException:
        for path in paths.values():  # one recipient's file alone is of no use
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        raise
    finally:
        for writer in writers.values():
            writer.file.abandon()


def _clear(folder: Path, name: str) -> None:
    """Removes what a killed job left. Raises ConfigError when the session is there as a whole."""
    found = sorted(folder.glob(f"*/{name}{SUFFIX}"))
    if found and _complete(folder, name):
        raise ConfigError(f"engine file {found[0]}: exists already, and is left as it is")
    leftovers = folder.glob(f"*/.{name}{SUFFIX}.*{TEMPORARY_SUFFIX}")
    try:
        for path in (*found, *leftovers):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
    except OSError as error:
        raise file_error(error, "material folder", folder) from None


def _complete(folder: Path, name: str) -> bool:
    """Whether every recipient's file of one session is there: they are renamed one by one."""

    def header(role: str) -> EngineHeader:
        return read_engine_header(folder / role / f"{name}{SUFFIX}").header

    try:
        first = header("p0")
        others = [header("p1"), *(header(_client(n)) for n in range(len(first.clients)))]
    except (ConfigError, FormatError):
        return False
    return all(one.mint_id == first.mint_id for one in others)


def _chunks(
    order: EngineOrder, seeds: EngineSeeds, digest: bytes, pool: ThreadPoolExecutor, workers: int
) -> Iterator[tuple[tuple[str, ...], int, int, U8]]:
    """Every chunk with its recipients, stream and number, in the order of the files."""
    plan = order.plan

    def make(job: tuple[tuple[str, ...], Stream, int]) -> U8:
        targets, stream, number = job
        first, count = number * stream.step, stream.items(number)
        if stream.keys:
            return mint_keys(plan, seeds, stream.kind, digest, first, count)
        if targets[0] in PARTIES:
            party = PARTIES.index(targets[0])
            return mint_corrections(plan, seeds, stream.kind, party, first, count)
        return client_masks(plan, seeds, stream.kind, first, count)

    wanted: list[tuple[tuple[str, ...], Stream]] = []
    for party, role in enumerate(PARTIES):
        wanted += [((role,), stream) for stream in plan.streams(party) if not stream.keys]
    wanted += [(PARTIES, stream) for stream in plan.streams(0) if stream.keys]
    wanted.sort(key=lambda one: one[1].number)
    for who in range(len(order.clients)):
        streams = recipient_streams(plan, "client", who)
        wanted += [((_client(who),), masks) for masks in streams]
    jobs = [(targets, stream, n) for targets, stream in wanted for n in range(stream.chunks)]
    group = 4 * workers
    for at in range(0, len(jobs), group):
        some = jobs[at : at + group]
        for (targets, stream, number), content in zip(some, pool.map(make, some), strict=True):
            yield targets, stream.number, number, content


def _client(number: int) -> str:
    return f"client-{number}"


class _Writer:
    """One recipient's file, its chunks in order."""

    def __init__(self, path: Path, signed: SignedEngineHeader, content_key: bytes) -> None:
        self.file = ReservedFile(path, signed.file_bytes, "engine file")
        self._cipher = signed.cipher(content_key)
        self._offset = signed.chunks_offset
        self._buffer = memoryview(b"")
        self.file.write(memoryview(signed.content + signed.signature), 0)

    def write(self, stream: int, number: int, content: U8) -> None:
        size = content.size + TAG_BYTES
        if len(self._buffer) < size:
            self._buffer = memoryview(bytearray(size))
        out = self._buffer[:size]
        self._cipher.encrypt(stream, number, content, out)
        self.file.write(out, self._offset)
        self._offset += size
