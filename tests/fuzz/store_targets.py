"""Targets: what a role reads from its own folder."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np
import orjson

from camera import journal as camera_journal
from camera.config import CameraConfig
from camera.journal import CameraJournal
from camera.ratchetfile import RatchetFile, RatchetState, _pack
from camera.sets import SetStore
from dealer.config import DealerConfig
from party import journal_rows
from party.audit import check_chain
from party.auditfile import pack_head, unpack_head
from party.batches import Settled
from party.config import PartyConfig
from party.events import EventStore
from party.journal import PartyJournal
from party.linefile import LineFile
from party.status import read_status, render_status
from perf.history import read as read_history
from perf.replay import load_arrays
from shared import config, engine_journal, watchlist
from shared.config import Config, to_toml
from shared.database import allow_seals
from shared.engine_journal import mark_begun
from shared.errors import InputError
from tests.fuzz.mutation import Syntax
from tests.fuzz.scratch import Scratch
from tests.fuzz.target import Check, Target, same
from tests.fuzz.world import SET, World, engine_header, parameters, settled
from tests.support.auditlogs import read_state

_SIDE: Final = 4096
_I64: Final = 1 << 63
_SLOW: Final = 0.05  # a database is opened for each input


def store_targets(world: World) -> Iterator[Target]:
    """Everything below."""
    yield from _text_targets(world)
    yield from _record_targets(world)
    yield from _ledger_targets(world)
    yield from _bench_targets(world)


# -- configuration, watchlist, status --------------------------------------------------


def _text_targets(world: World) -> Iterator[Target]:
    models: dict[str, type[Config]] = {
        "party": PartyConfig,
        "camera": CameraConfig,
        "dealer": DealerConfig,
    }
    for name, model in models.items():
        scratch = Scratch(world.scratch / f"{name}.toml")
        sample = world.read(f"{name}.toml")
        plain = b"\n".join(
            line for line in sample.splitlines() if line and not line.startswith(b"#")
        )
        check = _configuration(scratch, model)
        yield Target(f"configuration of a {name}", check, (plain, sample), Syntax.TOML, share=0.5)
    listed = (world.read("watchlist"),)
    yield Target("watchlist", _watchlist, listed, Syntax.JSON_LINES)
    yield from _status_targets(world)


def _configuration(scratch: Scratch, model: type[Config]) -> Check:
    again = Scratch(scratch.path.with_suffix(".again"))

    def check(data: bytes) -> None:
        found = config.load(model, scratch.write(data))
        if isinstance(found, DealerConfig):
            found.parameters.parameters()
        # Absolute paths now; everything else must be the same when it is written and read again.
        text = "".join(
            f"{name} = {to_toml(value)}\n"
            for name, value in found.model_dump(exclude_none=True).items()
        )
        same(config.load(model, again.write(text.encode())), found)

    return check


def _watchlist(data: bytes) -> None:
    found = watchlist.decode(data)
    same(watchlist.decode(watchlist.encode(found)), found)
    found.entries(parameters())


def _status_targets(world: World) -> Iterator[Target]:
    status = Scratch(world.scratch / "status.json")
    sample = {
        "party": 0,
        "state": "running",
        "written_ms": 1_700_000_000_000,
        "faces_per_second": 12.5,
        "watchlist_entries": 3,
        "windows": [
            {
                "window": "monday",
                "peer_up": True,
                "closed": None,
                "places_live": 3,
                "faces_matched": 5,
                "faces_held": 0,
                "faces_unresolved": 0,
                "cameras": {"door": {"slots": 9, "slots_left": 4, "prepared": 2, "burned": 0}},
            }
        ],
    }

    def check(data: bytes) -> None:
        found, alive = read_status(status.write(data), 1_700_000_001.0)
        render_status(found, alive)

    yield Target("status of a party", check, (orjson.dumps(sample),), Syntax.JSON, share=0.5)
    lines = Scratch(world.scratch / "events.jsonl")

    def last_line(data: bytes) -> None:
        file = LineFile(lines.write(data))
        try:
            found = file.last_sequence()
            kept = lines.path.read_bytes()
            same((data.startswith(kept), file.last_sequence()), (True, found))
        finally:
            file.close()

    yield Target("event lines", last_line, (world.read("lines"),), Syntax.JSON_LINES)


# -- records in a role's state ---------------------------------------------------------


def _record_targets(world: World) -> Iterator[Target]:
    batches = (settled().encode(), settled(20, ("Ada",) * 11).encode())
    yield Target("stored batch", _settled, batches, Syntax.MSGPACK, share=2)
    places = journal_rows.pack_places([0, 3, 9])
    yield Target("stored places", _places, (places,), share=0.5)
    yield Target("end of the audit log", _head, (bytes(range(40)),), share=0.5)
    ratchet = Scratch(world.scratch / "ratchet")

    def open_ratchet(data: bytes) -> None:
        file = RatchetFile.open(ratchet.write(data))
        try:
            found = file.current
            sides = [data[:_SIDE], data[_SIDE : 2 * _SIDE]]
            same(_pack(found) in [side[: len(_pack(found))] for side in sides], True)
        finally:
            file.close()

    def right_check_value(data: bytes) -> None:
        block, state = int.from_bytes(data[:8], "little"), data[8:1032]
        packed = _pack(_Any(block, state)).ljust(_SIDE, b"\0")
        open_ratchet(packed + packed[::-1][:_SIDE])

    stored = _pack(RatchetState(3, bytes(range(64)))).ljust(2 * _SIDE, b"\0")
    yield Target("ratchet file", open_ratchet, (stored,), share=0.3)
    yield Target("ratchet state", right_check_value, (bytes(72), b"\3" + bytes(71)), share=0.3)


class _Any(RatchetState):
    """A state of any number and length, as a broken program might have stored it."""

    def __post_init__(self) -> None:
        """Nothing is checked."""


def _settled(data: bytes) -> None:
    found = Settled.decode(data)
    same(found.encode(), data)
    found.event_batch("monday", 1_700_000_000_000)


def _places(data: bytes) -> None:
    same(journal_rows.pack_places(journal_rows.unpack_places(data)), data)


def _head(data: bytes) -> None:
    same(pack_head(unpack_head(data)), data)


# -- databases -------------------------------------------------------------------------


def _ledger_targets(world: World) -> Iterator[Target]:
    folder = world.scratch / "ledgers"
    folder.mkdir(exist_ok=True)
    header = engine_header(world)

    def slots(path: Path) -> None:
        with PartyJournal(path, boot_id="boot") as journal:
            for info in journal.known_sets():
                for part in journal.prepared(info.set_id):
                    same(part.kappa.shape, (part.run.length, len(part.places)))

    def events(path: Path) -> None:
        with EventStore(path, path.with_name("lines")) as store:
            list(store.events())

    def audit(path: Path) -> None:
        known = path.with_name("known")
        with closing(sqlite3.connect(known, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE meta (key TEXT, value BLOB)")
        records, head = read_state(known, path)
        check_chain(records, head)

    def camera(path: Path) -> None:
        ratchet = path.with_name(f"{path.name}.ratchet-{SET.set_id().hex()}")
        ratchet.write_bytes(world.read("ratchet"))
        ratchet.chmod(0o600)
        with CameraJournal(path, limit_bytes=1 << 20) as journal:
            list(journal.pending())
            for known in journal.sets():
                journal.outcomes(known.name.set_id())

    def sets(data: bytes) -> None:
        path = folder / f"set-{SET.set_id().hex()}.json"
        path.write_bytes(data)
        SetStore(folder, _OneSet())  # type: ignore[arg-type]

    def engine(path: Path) -> None:
        mark_begun(path.parent, header)

    engine_path = folder / engine_journal.JOURNAL_FILE
    for name, sample, path, open_it in (
        ("a slot journal", "slots", folder / "slots", slots),
        ("an event database", "events", folder / "events", events),
        ("an audit log", "events", folder / "audit", audit),
        ("a camera journal", "camera", folder / "camera", camera),
        ("an engine journal", "engine", engine_path, engine),
    ):
        original = (world.folder / "ledgers" / sample).read_bytes()
        rows = _from_rows(folder, path, original, open_it)
        yield Target(f"rows of {name}", rows, (world.read(sample),), Syntax.ROWS, _SLOW)
        file = _from_file(folder, path, open_it)
        yield Target(f"file of {name}", file, (original,), Syntax.RAW, _SLOW)
    yield Target("set of a camera", sets, (world.read("set.json"),), Syntax.JSON, share=0.5)


class _OneSet:
    """In place of a camera's journal: it knows one set."""

    def sets(self) -> list[camera_journal.CameraSet]:
        """The set."""
        return [camera_journal.CameraSet(SET, 200, 0)]


def _from_file(folder: Path, path: Path, open_it: Callable[[Path], None]) -> Check:
    def check(data: bytes) -> None:
        _clear(folder)
        path.write_bytes(data)
        open_it(path)

    return check


def _from_rows(folder: Path, path: Path, original: bytes, open_it: Callable[[Path], None]) -> Check:
    """The input is a map from tables to rows; what can not be stored is stored as NULL."""

    def check(data: bytes) -> None:
        try:
            tables = msgpack.unpackb(data, strict_map_key=False)
        except (ValueError, TypeError):
            raise InputError("not rows") from None
        _clear(folder)
        path.write_bytes(original)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            allow_seals(connection)
            connection.execute("BEGIN")
            _store(connection, tables)
            connection.execute("COMMIT")
        open_it(path)

    return check


def _store(connection: sqlite3.Connection, tables: Any) -> None:
    for table in tables if isinstance(tables, dict) else ():
        try:
            connection.execute(f'DELETE FROM "{table}"')  # noqa: S608
        except (sqlite3.Error, ValueError, UnicodeEncodeError):
            continue
        rows = tables[table]
        for row in rows if isinstance(rows, list) else ():
            if not isinstance(row, list):
                continue
            values = [_storable(value) for value in row]
            marks = ",".join("?" * len(values))
            try:
                connection.execute(f'INSERT INTO "{table}" VALUES ({marks})', values)  # noqa: S608
            except (sqlite3.Error, UnicodeEncodeError):
                continue


def _storable(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str | bytes):
        return None
    return value % _I64 if isinstance(value, int) and abs(value) >= _I64 else value


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


# -- benchmarks ------------------------------------------------------------------------


def _bench_targets(world: World) -> Iterator[Target]:
    history = Scratch(world.scratch / "history.jsonl")
    line = orjson.dumps({"kind": "online", "at": "2026-11-20T00:00:00Z", "result": {"rate": 1.5}})

    def read(data: bytes) -> None:
        for record in read_history(history.write(data)):
            same(type(record.commit), str)

    yield Target("file of results", read, (line + b"\n" + line + b"\n",), Syntax.JSON_LINES, 0.3)
    faces, entries = Scratch(world.scratch / "F.npy"), Scratch(world.scratch / "W.npy")
    np.save(entries.path, np.zeros((2, 3), dtype=np.float32))
    np.save(faces.path, np.zeros((4, 3), dtype=np.float32))
    original = faces.path.read_bytes()

    def arrays(data: bytes) -> None:
        load_arrays(faces.write(data), entries.path)

    yield Target("arrays to replay", arrays, (original,), share=0.3)
