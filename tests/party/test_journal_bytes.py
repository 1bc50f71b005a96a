"""Any byte of a slot journal that a disk changed: it is refused, or says what it said before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from camera.journal import CameraJournal, RatchetState
from party.journal import BatchOutcome, HighWater, JournalIdentity, PartyJournal, PlaceBinding
from party.slots import SetInfo
from shared.errors import FormatError, ResourceError
from shared.messages import Run
from shared.sets import SetName

LONG = os.environ.get("TWOKEY_LONG") == "1"
STEP = 1 if LONG else 31  # bytes from one flip to the next; prime, so that no field is spared
NAMES = [SetName(bytes([k]) * 16, "w1", camera) for k, camera in enumerate(("east", "north"))]
IDS = [name.set_id() for name in NAMES]


def write_party(path: Path) -> None:
    """Something in every table."""
    with PartyJournal(path, boot_id="boot") as journal:
        journal.register_sets([SetInfo(name, 64) for name in NAMES])
        journal.bind_places("w1", [PlaceBinding(k, bytes([k]) * 32, f"e{k}") for k in range(3)])
        for number, set_id in enumerate(IDS):
            runs = [Run(set_id, 0, 8)]
            journal.mark_in_prepare(bytes([number]) * 16, runs, [0, 1, 2])
            journal.mark_prepared(
                bytes([number]) * 16, np.arange(24, dtype=np.uint32).reshape(8, 3)
            )
        journal.reserve_reveal(dict.fromkeys(IDS, 16))
        for number, outcome in enumerate((BatchOutcome.VERIFIED, BatchOutcome.BURNED)):
            batch = bytes([9, number]) * 8
            journal.mark_revealed(batch, [Run(IDS[0], 2 * number, 2)])
            journal.finish(batch, outcome)
        journal.mark_revealed(bytes(16), [Run(IDS[0], 4, 2)])
        journal.record_expectation(bytes(16), bytes(32), bytes(32), b"context")
        journal.burn([Run(IDS[1], 20, 4)])
        journal.raise_high_water({IDS[1]: HighWater(24, 6)})
        journal.remember_peer("p1", JournalIdentity(bytes(16), 3))
        journal.record_audit_head(bytes(40))


def read_party(path: Path) -> object:
    """All that a party goes by."""
    with PartyJournal(path, boot_id="boot") as journal:
        return (
            [journal.load_states(set_id).tolist() for set_id in IDS],
            [journal.ledger(set_id).mark for set_id in IDS],
            [journal.reserved(set_id) for set_id in IDS],
            journal.places("w1"),
            journal.counts("w1"),
            journal.closed("w1"),
            journal.recall_peer("p1"),
            journal.audit_head(),
            journal.pending(),
            [
                (part.run, part.places, part.kappa.tolist())
                for set_id in IDS
                for part in journal.prepared(set_id)
            ],
        )


def write_camera(path: Path) -> None:
    """Something in every table."""
    with CameraJournal(path, limit_bytes=1 << 20) as journal:
        journal.adopt_set(NAMES[0], 64, RatchetState(0, bytes(64)))
        for first in (0, 2, 4):
            journal.append(IDS[0], first, 2, [bytes(20), bytes(60)])
        journal.acknowledge(IDS[0], 0, [])


def read_camera(path: Path) -> object:
    """All that a camera goes by."""
    with CameraJournal(path, limit_bytes=1 << 20) as journal:
        return (journal.sets(), list(journal.pending()), journal.outcomes(IDS[0]))


def copies(source: Path, folder: Path) -> Iterator[tuple[int, Path]]:
    """The journal with one byte changed, again and again, with all that lies beside it."""
    content = source.read_bytes()
    beside = {p.name: p.read_bytes() for p in source.parent.iterdir() if p != source}
    offsets = [offset for offset, byte in enumerate(content) if byte or LONG]
    for offset in offsets[::STEP]:
        for path in folder.iterdir():
            path.unlink()
        for name, data in beside.items():
            (folder / name).write_bytes(data)
            (folder / name).chmod(0o600)
        changed = bytearray(content)
        changed[offset] ^= 0x24
        (folder / source.name).write_bytes(changed)
        (folder / source.name).chmod(0o600)
        yield offset, folder / source.name


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("write", "read"), [(write_party, read_party), (write_camera, read_camera)]
)
def test_a_changed_byte_is_found_or_changes_nothing(
    tmp_path: Path, write: object, read: object
) -> None:
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "before" / "journal.sqlite"
    write(path)  # type: ignore[operator]
    expected = read(path)  # type: ignore[operator]
    found = 0
    for offset, copy in copies(path, tmp_path / "after"):
        try:
            assert read(copy) == expected, f"byte {offset}"  # type: ignore[operator]
        except (FormatError, ResourceError):
            found += 1
    assert found
