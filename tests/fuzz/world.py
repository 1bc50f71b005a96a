"""The folder that a run of fuzzing works in: keys, and valid files of every kind.

Made once and used again by the next run, so that an input that was found is judged with the same
keys when it is replayed.
"""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np

from camera.config import CameraConfig
from camera.journal import CameraJournal
from camera.ratchetfile import RatchetFile, RatchetState
from dealer.config import DealerConfig
from dealer.engine_job import EngineOrder, mint_engine
from dealer.job import MintJob
from dealer.order import CameraOrder, MintOrder, material_path
from party.audit import BATCH, EMPTY, PLACE, Record, following, place_subject
from party.auditfile import export
from party.batches import Settled
from party.config import PartyConfig
from party.events import EventBatch, EventStore
from party.journal import BatchOutcome, PartyJournal, PlaceBinding, SetInfo
from shared import watchlist
from shared.config import write_default
from shared.engine_header import EngineHeader, read_engine_header
from shared.engine_journal import mark_begun
from shared.engine_plan import SIGN, TRIPLE, client, plan, truncation
from shared.keys import Identity, Role, create_identity, load_identity
from shared.materialheader import RECIPIENTS
from shared.messages import VERIFIED, Outcome, Run
from shared.params import Parameters
from shared.sets import SetName
from shared.windowkeys import (
    PrivateWindowKey,
    Window,
    WindowKey,
    load_private_window_key,
    load_window_key,
    public_file_name,
    publish_window_key,
)
from tests.material_support import SMALL

WINDOW: Final = Window("monday", 1_700_000_000_000, 1_700_086_400_000)
OWNERS: Final[tuple[tuple[Role, str], ...]] = (
    ("dealer", "dealer"),
    ("p0", "north"),
    ("p1", "south"),
    ("camera", "door"),
)
SET: Final = SetName(bytes(range(16)), WINDOW.id, "door")
CAPACITY: Final = 200
FILE_SLOTS: Final = 3
_DONE: Final = "complete"
Tables = dict[str, list[list[Any]]]


@dataclass(frozen=True)
class World:
    """Paths and keys below one folder. `scratch` is where an input is written as a file."""

    folder: Path

    def identity(self, role: str) -> Identity:
        """Who has this role."""
        return self._identities[role]

    def window_key(self, role: str) -> tuple[WindowKey, PrivateWindowKey]:
        """Both halves of this role's window key."""
        owner = self.identity(role)
        path = self.folder / "published" / public_file_name(owner.role, owner.name, WINDOW.id)
        return (
            load_window_key(path, owner.public, WINDOW.id),
            load_private_window_key(self.state(role), WINDOW.id, owner.role, owner.name),
        )

    def state(self, role: str) -> Path:
        """The folder of this role's private files."""
        return self.folder / f"state-{role}"

    def material(self, role: str) -> Path:
        """A material file with a few slots."""
        return self.folder / "out" / WINDOW.id / role / "door.tkm"

    def engine_material(self, role: str) -> Path:
        """An engine session's file."""
        return self.folder / "out" / WINDOW.id / role / "session.tke"

    def read(self, name: str) -> bytes:
        """One of the sample files."""
        return (self.folder / "samples" / name).read_bytes()

    @cached_property
    def scratch(self) -> Path:
        """A folder of this process's own, in memory where that can be had."""
        memory = Path("/dev/shm")
        base = memory if memory.is_dir() else self.folder
        path = base / f"twokey-fuzz-{os.getpid()}"
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    @cached_property
    def _identities(self) -> dict[str, Identity]:
        return {role: load_identity(self.state(role) / "identity") for role, _ in OWNERS}


def open_world(folder: Path) -> World:
    """The world in this folder; it is made where there is none."""
    world = World(folder)
    if not (folder / _DONE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        _make(world)
        (folder / _DONE).touch()
    return world


def _make(world: World) -> None:
    for role, name in OWNERS:
        identity = create_identity(role, name)
        world.state(role).mkdir(mode=0o700)
        identity.save(world.state(role) / "identity", world.state(role) / "public")
        if role != "dealer":
            publish_window_key(identity, world.state(role), world.folder / "published", WINDOW)
    samples = world.folder / "samples"
    samples.mkdir()
    _make_material(world)
    _make_texts(world, samples)
    _make_ledgers(world, samples)
    with (samples / "ratchet").open("wb") as file:
        path = world.folder / "ratchet"
        RatchetFile.create(path, RatchetState(3, bytes(range(64)))).close()
        file.write(path.read_bytes())


def _make_material(world: World) -> None:
    p0, p1, camera = (world.window_key(role)[0] for role in RECIPIENTS)
    order = MintOrder(SMALL, WINDOW, p0, p1, (CameraOrder("door", FILE_SLOTS, camera),))
    out = world.folder / "out"
    with MintJob(order, world.identity("dealer"), out) as job:
        job.mint(job.plan(), workers=1)
    counts = {TRIPLE: 5, SIGN: 2, truncation(8): 1, client(0): 2}
    engine = EngineOrder(plan(counts), "session", p0, p1, (camera,))
    mint_engine(engine, world.identity("dealer"), out)
    (out / WINDOW.id / "client-0").rename(out / WINDOW.id / "client")
    for role in RECIPIENTS:
        found = material_path(out, WINDOW.id, role, "door")
        if not found.is_file() or found != world.material(role):
            raise FileNotFoundError(found)


def _make_texts(world: World, samples: Path) -> None:
    for name, model, values in (
        ("party.toml", PartyConfig, {"party": 1}),
        ("camera.toml", CameraConfig, {}),
        ("dealer.toml", DealerConfig, {"cameras": [{"name": "door", "slots": 5}]}),
    ):
        write_default(model, samples / name, values)
    rng = np.random.default_rng(7)
    people = tuple(
        watchlist.Person.of(name, rng.normal(0, 0.2, SMALL.dim)) for name in ("Ada", "Žofie", "Bo")
    )
    listed = watchlist.Watchlist(SMALL.model, SMALL.dim, people)
    (samples / "watchlist").write_bytes(watchlist.encode(listed))
    export(samples / "audit", audit_records(), world.identity("p0"))
    (samples / "set.json").write_text(
        json.dumps(
            {
                "mint_id": SET.mint_id.hex(),
                "window": WINDOW.id,
                "start_ms": WINDOW.start_ms,
                "end_ms": WINDOW.end_ms,
                "camera": SET.camera,
                "slots": CAPACITY,
                "parameters": SMALL.to_map(),
            }
        )
    )


def audit_records() -> list[Record]:
    """A short log."""
    records: list[Record] = []
    for kind, detail, subject in (
        ("window", "monday: opened", b""),
        (PLACE, "place 0 of window monday", place_subject("monday", 0, bytes(32))),
        (BATCH, "4 faces", bytes(16)),
        ("burned", "window monday: 2 slots: no answer", b""),
    ):
        head = records[-1].head if records else EMPTY
        records.append(following(head, 1_700_000_000_000, kind, detail, subject, bytes(32)))
    return records


def settled(faces: int = 3, names: tuple[str, ...] = ("Ada", "Bo")) -> Settled:
    """A batch as the journal keeps it."""
    return Settled(
        bytes(range(32)),
        7,
        (Run(SET.set_id(), 4, faces),),
        (SET.camera,),
        np.arange(faces, dtype=np.uint64) + np.uint64(1_700_000_000_000),
        names,
        np.arange(faces * len(names), dtype=np.uint8).reshape(faces, len(names)) & np.uint8(1),
        bytes(32),
    )


def _make_ledgers(world: World, samples: Path) -> None:
    """The databases of a party and of a camera, with something in every table."""
    folder = world.folder / "ledgers"
    folder.mkdir()
    info = SetInfo(SET, CAPACITY)
    run = Run(SET.set_id(), 0, 4)
    later = Run(SET.set_id(), 8, 2)
    with PartyJournal(folder / "slots", boot_id="boot") as journal:
        journal.register_sets([info])
        journal.bind_places(WINDOW.id, [PlaceBinding(p, bytes([p]) * 32, "Ada") for p in (0, 1)])
        journal.mark_in_prepare(b"passed", [run, later], (0, 1))
        journal.mark_prepared(b"passed", np.zeros((6, 2), dtype=np.uint32))
        journal.reserve_reveal({SET.set_id(): 64})
        journal.mark_revealed(b"verified", [run])
        journal.finish(b"verified", BatchOutcome.VERIFIED)
        journal.mark_in_prepare(b"running", [Run(SET.set_id(), 20, 2)], (0,))
        _dump(folder / "slots", samples / "slots")
    with EventStore(folder / "events", folder / "lines") as events:
        found = settled()
        batch = EventBatch(
            found.batch_id,
            WINDOW.id,
            found.runs,
            found.cameras,
            found.times,
            found.names,
            found.bits,
            found.transcript,
            1_700_000_000_500,
        )
        events.record(batch)
        events.announce("outage", "the peer is away")
    _dump(folder / "events", samples / "events")
    (samples / "lines").write_bytes((folder / "lines").read_bytes())
    with CameraJournal(folder / "camera", limit_bytes=1 << 20) as camera:
        camera.adopt_set(SET, CAPACITY, RatchetState(0, bytes(range(64))))
        camera.append(SET.set_id(), 0, 3, [b"head", b"", b"masked"])
        camera.append(SET.set_id(), 3, 3, [b"head", b"more"])
        camera.acknowledge(SET.set_id(), 1, [Outcome(0, 2, VERIFIED)])
    _dump(folder / "camera", samples / "camera")
    mark_begun(folder, engine_header(world))
    (folder / "engine.db").rename(folder / "engine")
    _dump(folder / "engine", samples / "engine")


def engine_header(world: World) -> EngineHeader:
    """The header of P0's file of the engine session."""
    return read_engine_header(world.engine_material("p0")).header


def _dump(path: Path, out: Path) -> None:
    """The content of all tables of a database, as msgpack: a map of lists of rows."""
    with sqlite3.connect(path) as connection:
        out.write_bytes(msgpack.packb(tables(connection)))
    connection.close()


def tables(connection: sqlite3.Connection) -> Tables:
    """The rows of every table."""
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type='table'").fetchall()
    return {
        name: [list(row) for row in connection.execute(f'SELECT * FROM "{name}"')]  # noqa: S608
        for (name,) in names
        if not name.startswith("sqlite_")
    }


def parameters() -> Parameters:
    """Those of every sample."""
    return SMALL
