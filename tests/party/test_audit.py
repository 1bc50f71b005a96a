"""The audit log: every change shows, and two parties' logs are held against each other."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner

from party import audit
from party.audit import EMPTY, Record, check_chain, compare, following, place_subject
from party.auditfile import export, load, pack_head, unpack_head
from party.cli import cli
from party.events import EventBatch, EventStore, Status
from party.journal import PartyJournal
from shared.errors import (
    AuditBroken,
    AuthenticationFailed,
    FormatError,
    RangeError,
    TwokeyError,
)
from shared.keys import Identity, create_identity
from shared.messages import Run
from shared.roles import RoleFolder
from tests.support.auditlogs import read_state
from tests.support.minted import identity

ENTRY = bytes(range(32))


def log(*contents: tuple[str, str, bytes, bytes], at_ms: int = 1000) -> list[Record]:
    records: list[Record] = []
    for step, content in enumerate(contents):
        kind, detail, subject, transcript = content
        head = records[-1].head if records else EMPTY
        records.append(following(head, at_ms + step, kind, detail, subject, transcript))
    return records


def sample() -> list[Record]:
    return log(
        (audit.WINDOW, "open", b"", b""),
        (audit.PLACE, "bound", place_subject("w", 3, ENTRY), b""),
        (audit.BATCH, "4 faces", b"b" * 16, b"t" * 32),
        ("tamper", "check 3", b"", b"u" * 32),
        (audit.BATCH, "2 faces", b"c" * 16, b"v" * 32),
    )


def test_a_log_as_it_was_written_is_sound() -> None:
    records = sample()
    assert check_chain(records) == []
    for record in records:
        assert check_chain(records, record.head) == []
    assert check_chain([]) == []


@pytest.mark.parametrize("field", [f.name for f in fields(Record)])
@pytest.mark.parametrize("number", range(5))
def test_any_field_of_any_record_that_is_changed_shows(field: str, number: int) -> None:
    records = sample()
    value = getattr(records[number], field)
    other = value + 1 if isinstance(value, int) else value + value[:1] if value else b"x"
    if isinstance(value, str):
        other = value + "!"
    changes: dict[str, Any] = {field: other}
    records[number] = replace(records[number], **changes)
    assert check_chain(records) != []


@pytest.mark.parametrize("number", range(5))
def test_a_record_that_is_changed_with_its_digest_breaks_the_chain_or_the_known_end(
    number: int,
) -> None:
    records = sample()
    known = records[-1].head
    changed = replace(records[number], detail="nothing to see")
    records[number] = replace(changed, digest=changed.expected_digest())
    assert check_chain(records, known) != []


def test_deleted_swapped_repeated_and_foreign_records_show() -> None:
    records = sample()
    known = records[-1].head
    for number in range(len(records)):
        assert check_chain(records[:number] + records[number + 1 :], known) != []
        assert check_chain(records[: number + 1] + records[number:], known) != []
    for number in range(len(records) - 1):
        swapped = records.copy()
        swapped[number], swapped[number + 1] = swapped[number + 1], swapped[number]
        assert check_chain(swapped, known) != []


def test_a_log_that_is_cut_off_or_written_anew_shows_against_the_journals_end() -> None:
    records = sample()
    assert check_chain(records[:3]) == []
    found = check_chain(records[:3], records[-1].head)
    assert found == [
        "the log ends with record 3, the slot journal knows of record 5: its end is missing"
    ]
    anew = log(*((r.kind, r.detail, r.subject, r.transcript) for r in records), at_ms=2000)
    assert check_chain(anew) == []
    assert check_chain(anew, records[-1].head) != []


def test_logs_of_both_parties_that_tell_the_same_agree() -> None:
    p0, p1 = sample(), sample()
    assert compare(p0, p1) == []
    assert compare(p0, [*p1, *log((audit.BATCH, "more", b"d" * 16, b"w" * 32))]) == []


def test_different_transcripts_of_one_batch_are_a_contradiction() -> None:
    p1 = log((audit.BATCH, "4 faces", b"b" * 16, b"x" * 32))
    found = compare(sample(), p1)
    assert len(found) == 1
    assert "different transcripts" in found[0]


def test_an_entry_in_another_place_is_a_contradiction() -> None:
    p1 = log((audit.PLACE, "bound", place_subject("w", 3, bytes(32)), b""))
    assert compare(sample(), p1) == ["window w place 3: bound to different entries"]


def test_a_batch_that_only_p0_verified_is_a_contradiction_once_p1_has_gone_on() -> None:
    p0 = log((audit.BATCH, "4 faces", b"b" * 16, b"t" * 32))
    assert compare(p0, log((audit.WINDOW, "open", b"", b""))) == []
    later = log((audit.WINDOW, "open", b"", b""), at_ms=100_000)
    assert len(compare(p0, later)) == 1
    assert compare(later, p0) == []


# -- as it is stored -----------------------------------------------------------------------


def batch(first: int, faces: int = 2) -> EventBatch:
    return EventBatch(
        bytes([first]) * 16,
        "w",
        (Run(b"setsetid", first, faces),),
        ("gate",),
        np.zeros(faces, dtype=np.uint64),
        ("anna",),
        np.ones((faces, 1), dtype=np.bool_),
        bytes([first]) * 32,
        1000 + first,
    )


def party_state(root: Path) -> Path:
    state = root / "state"
    state.mkdir(parents=True)
    with (
        EventStore(state / "events.sqlite", state / "events.jsonl") as events,
        PartyJournal(state / "journal.sqlite") as journal,
    ):
        events.note(audit.WINDOW, "open")
        events.record_unresolved(batch(0))
        events.record(batch(0))
        events.record(batch(0))  # told already
        events.announce("tamper", "batch 4", b"z" * 32)
        events.record(batch(2))
        journal.record_audit_head(pack_head(events.audit_head))
        events.note(audit.WINDOW, "ended")
    return state


def read(state: Path) -> tuple[list[Record], list[str]]:
    records, known = read_state(state / "journal.sqlite", state / "events.sqlite")
    return records, check_chain(records, known)


def test_many_notes_at_once_are_each_a_record_and_all_or_none(tmp_path: Path) -> None:
    state = party_state(tmp_path)

    def broken() -> Iterator[tuple[str, bytes]]:
        yield "place 7 is bound to x", b"seven"
        raise RangeError("place 8")

    with EventStore(state / "events.sqlite", state / "events.jsonl") as events:
        before = events.audit_head
        with pytest.raises(RangeError):
            events.note_each(audit.PLACE, broken())
        assert events.audit_head == before
        events.note_each(audit.PLACE, [(f"place {n}", b"subject %d" % n) for n in range(300)])
        events.note(audit.WINDOW, "ended")
    records, problems = read(state)
    assert problems == []
    added = records[before.sequence :]
    assert [record.detail for record in added] == [*(f"place {n}" for n in range(300)), "ended"]
    assert added[7].subject == b"subject 7"


def test_batches_announcements_and_notes_are_chained_across_restarts(tmp_path: Path) -> None:
    state = party_state(tmp_path)
    with EventStore(state / "events.sqlite", state / "events.jsonl") as events:
        events.announce("outage", "again")
        assert read(state)[1] == []  # beside the process that writes
        assert len(events.events()) == 4
    records, problems = read(state)
    assert problems == []
    assert [r.kind for r in records] == [
        "window",
        "unresolved",
        "batch",
        "tamper",
        "batch",
        "window",
        "outage",
    ]
    assert records[2].transcript == bytes(32)
    assert records[3].transcript == b"z" * 32


def test_a_batch_that_could_not_be_stored_is_in_neither_events_nor_log(tmp_path: Path) -> None:
    with EventStore(tmp_path / "events.sqlite", tmp_path / "events.jsonl") as events:
        events.record(batch(0))
        head = events.audit_head
        wrong = replace(batch(4), transcript=None)  # type: ignore[arg-type]
        with pytest.raises((TwokeyError, TypeError, AttributeError)):
            events.record(wrong)
        assert events.audit_head == head
        events.record(batch(6))
        assert events.audit_head.sequence == head.sequence + 1
        assert {e.slot for e in events.events() if e.status is Status.VERIFIED} == {0, 1, 6, 7}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET detail='x' WHERE sequence=2",
        "UPDATE audit SET transcript=x'00' WHERE sequence=3",
        "DELETE FROM audit WHERE sequence=3",
        "DELETE FROM audit WHERE sequence>=5",
        "DELETE FROM audit",
        "UPDATE audit SET sequence=9 WHERE sequence=1",
    ],
)
def test_the_command_finds_each_change_and_ends_with_3(tmp_path: Path, change: str) -> None:
    folder, _ = made(tmp_path, 0)
    assert CliRunner().invoke(cli, ["audit", "verify", "-c", str(folder)]).exit_code == 0
    with sqlite3.connect(folder.parent / "state" / "events.sqlite") as connection:
        connection.execute(change)
    connection.close()
    result = CliRunner().invoke(cli, ["audit", "verify", "-c", str(folder)])
    assert isinstance(result.exception, AuditBroken)


def made(root: Path, party: int) -> tuple[Path, Identity]:
    folder = root / f"p{party}"
    name = ("p0", "p1")[party]
    result = CliRunner().invoke(cli, ["init", str(folder), "--party", str(party), "--name", name])
    assert result.exit_code == 0, result.output
    for path in (folder / "state").glob("*.sqlite*"):
        path.unlink()
    own = RoleFolder(folder).identity()
    (folder / "state").rename(folder / "kept")
    party_state(folder)
    (folder / "kept" / "identity.key").rename(folder / "state" / "identity.key")
    return folder / "party.toml", own


def test_two_exported_logs_are_compared_and_a_strangers_is_refused(tmp_path: Path) -> None:
    (config0, own0), (config1, own1) = made(tmp_path, 0), made(tmp_path, 1)
    for config, other in ((config0, own1), (config1, own0)):
        RoleFolder(config.parent).trusted().add(other.public, other.public_file())
    exported = tmp_path / "p1.log"
    run: Callable[..., object] = CliRunner().invoke
    assert run(cli, ["audit", "export", "-c", str(config1), str(exported)]).exit_code == 0  # type: ignore[attr-defined]
    found = CliRunner().invoke(
        cli, ["audit", "verify", "-c", str(config0), "--other", str(exported)]
    )
    assert (found.exit_code, "the two logs agree" in found.output) == (0, True)
    records, _ = read(config1.parent / "state")
    stranger = create_identity("p1", "p1")
    export(exported, records, stranger)
    found = CliRunner().invoke(
        cli, ["audit", "verify", "-c", str(config0), "--other", str(exported)]
    )
    assert isinstance(found.exception, AuthenticationFailed)


def test_a_long_log_is_verified_and_exported_without_being_held_in_memory(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, 0)
    state = folder.parent / "state"
    with EventStore(state / "events.sqlite", state / "events.jsonl") as events:
        events.note_each(audit.WINDOW, ((f"note {n}", b"s" * 500) for n in range(20_000)))
    exported = tmp_path / "p0.log"
    output = ""
    for arguments in (["verify"], ["export", str(exported)], ["show", "--last", "2"]):
        tracemalloc.start()
        found = CliRunner().invoke(cli, ["audit", *arguments, "-c", str(folder)])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        output = found.output
        assert found.exit_code == 0, output
        assert peak < 4 << 20
    assert [line.split()[-1] for line in output.splitlines()] == ["19998", "19999"]
    assert exported.stat().st_size > 20_000 * 1000


def test_a_log_that_is_not_sound_leaves_a_former_export_as_it_was(tmp_path: Path) -> None:
    folder, _ = made(tmp_path, 0)
    exported = tmp_path / "p0.log"
    arguments = ["audit", "export", str(exported), "-c", str(folder)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    before = exported.read_bytes()
    with sqlite3.connect(folder.parent / "state" / "events.sqlite") as connection:
        connection.execute("UPDATE audit SET detail='x' WHERE sequence=2")
    connection.close()
    assert isinstance(CliRunner().invoke(cli, arguments).exception, AuditBroken)
    assert exported.read_bytes() == before


@pytest.mark.parametrize("line", range(7))
def test_an_exported_log_without_a_line_or_with_another_is_refused(
    tmp_path: Path, line: int
) -> None:
    owner = identity("p1", "p1")
    path = tmp_path / "log"
    export(path, sample(), owner)
    assert load(path, owner.public) == sample()
    lines = path.read_bytes().splitlines(keepends=True)
    for changed in (
        lines[:line] + lines[line + 1 :],
        [*lines[:line], lines[line].replace(b'"', b"'"), *lines[line + 1 :]],
        [*lines[:line], orjson.dumps({}) + b"\n", *lines[line + 1 :]],
    ):
        path.write_bytes(b"".join(changed))
        try:
            records = load(path, owner.public)
        except (AuthenticationFailed, FormatError):
            continue
        assert check_chain(records) != []


def test_the_end_of_a_log_survives_packing() -> None:
    head = sample()[-1].head
    assert unpack_head(pack_head(head)) == head
    assert unpack_head(None) == EMPTY


@pytest.mark.parametrize(
    ("column", "value"),
    [("detail", 5), ("at_ms", -1), ("kind", b"batch"), ("subject", "text"), ("digest", None)],
)
def test_a_field_of_another_type_in_the_database_shows(column: str, value: object) -> None:
    records = sample()
    changes: dict[str, Any] = {column: value}
    records[2] = replace(records[2], **changes)
    assert any("record 3 was changed" in line for line in check_chain(records))


def test_a_window_that_is_no_text_in_the_other_partys_log_is_compared_all_the_same() -> None:
    odd = log((audit.PLACE, "bound", b"\xff\0" + bytes(4) + ENTRY, b""))
    assert compare(odd, odd) == []
    assert compare(odd, log((audit.PLACE, "bound", b"\xff\0" + bytes(4) + bytes(32), b""))) != []


@pytest.mark.parametrize("packed", [b"", bytes(39), bytes(41), 7])
def test_an_end_that_no_journal_stored_is_refused(packed: object) -> None:
    with pytest.raises(FormatError, match="expected 40 bytes"):
        unpack_head(packed)
