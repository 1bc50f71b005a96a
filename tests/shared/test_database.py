"""The locked database: refusals at opening, all or nothing, a full disk."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.database import Database
from shared.errors import DiskFull, FormatError, Locked, ResourceError, TwokeyError
from tests.disk_support import small_disk

SCHEMA = "CREATE TABLE things (name TEXT PRIMARY KEY, content BLOB);"


def open_database(path: Path, version: int = 1) -> Database:
    return Database(path, kind="things", application_id=77, version=version, schema=SCHEMA)


def put(database: Database, name: str, size: int = 1, *, durable: bool = True) -> None:
    with database.transaction(durable=durable) as connection:
        connection.execute("INSERT INTO things VALUES (?,?)", (name, bytes(size)))


def names(database: Database) -> set[str]:
    with database.reading() as connection:
        return {name for (name,) in connection.execute("SELECT name FROM things")}


def test_content_is_there_after_reopening(tmp_path: Path) -> None:
    with open_database(tmp_path / "d") as database:
        put(database, "a")
        put(database, "b", durable=False)
        database.sync()
        database.checkpoint()
    with open_database(tmp_path / "d") as database:
        assert names(database) == {"a", "b"}


def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    with open_database(tmp_path / "d") as database:
        put(database, "a")
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
        assert len(list(tmp_path.iterdir())) > 2


def test_a_second_opening_in_this_process_is_locked_out(tmp_path: Path) -> None:
    with (
        open_database(tmp_path / "d"),
        pytest.raises(Locked, match="held by another process"),
    ):
        open_database(tmp_path / "d")
    open_database(tmp_path / "d").close()


def test_another_process_is_locked_out_until_the_first_is_gone(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.shared.test_database import open_database\n"
        "held = open_database(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "d"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(Locked):
        open_database(tmp_path / "d")
    child.kill()
    child.wait()
    child.stdout.close()
    child.stdin.close()
    open_database(tmp_path / "d").close()


def _put_and_fail(database: Database) -> None:
    with database.transaction(durable=True) as connection:
        connection.execute("INSERT INTO things VALUES ('a', x'')")
        raise ZeroDivisionError


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with open_database(tmp_path / "d") as database:
        with pytest.raises(ZeroDivisionError):
            _put_and_fail(database)
        put(database, "b")
        with pytest.raises(ResourceError):
            put(database, "b")
        assert names(database) == {"b"}


def _other_version(path: Path) -> None:
    open_database(path, version=2).close()


def _other_application(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()


def _no_database(path: Path) -> None:
    path.write_bytes(b"something else entirely" * 1000)


@pytest.mark.parametrize("make", [_other_version, _other_application, _no_database])
def test_another_file_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "d")
    before = (tmp_path / "d").read_bytes()
    with pytest.raises(FormatError, match="d: "):
        open_database(tmp_path / "d")
    if make is _no_database:
        assert (tmp_path / "d").read_bytes() == before


def test_a_missing_folder_is_one_typed_line(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="No such file"):
        open_database(tmp_path / "missing" / "d")


def _fill(database: Database) -> int:
    for number in range(10_000):
        try:
            put(database, str(number), 5000)
        except DiskFull:
            return number
    raise TimeoutError("the disk never filled up")


def test_a_limit_on_its_size_is_a_full_disk_and_nothing_is_half_recorded(tmp_path: Path) -> None:
    with open_database(tmp_path / "d") as database:
        with database.reading() as connection:
            connection.execute("PRAGMA max_page_count=20").fetchall()
        full = _fill(database)
        assert names(database) == {str(number) for number in range(full)}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_a_full_disk_is_typed_and_writing_goes_on_when_there_is_room(disk: Path) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    with open_database(disk / "d") as database:
        full = _fill(database)
        assert names(database) == {str(number) for number in range(full)}
        ballast.unlink()
        put(database, "late", 5000)
        assert "late" in names(database)
    with open_database(disk / "d") as database:
        assert names(database) == {str(number) for number in range(full)} | {"late"}


def test_after_a_write_that_the_disk_did_not_confirm_nothing_more_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(tmp_path / "d")
    put(database, "a", durable=False)

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(TwokeyError):
            database.sync()
    with pytest.raises(ResourceError):
        put(database, "b")
    database.close()


def test_content_that_no_program_stored_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with open_database(path) as database:
        put(database, "a")
    with (
        open_database(path) as database,
        pytest.raises(FormatError, match="its content is not sound"),
        database.restoring() as connection,
    ):
        {}[connection.execute("SELECT name FROM things").fetchone()]
