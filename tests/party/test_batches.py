"""A batch as the journal keeps it: read back whole, or refused."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest

from party.batches import Settled
from shared.errors import FormatError
from shared.messages import Run


def settled(faces: int = 3, names: tuple[str, ...] = ("Ada", "Bo")) -> Settled:
    bits = np.arange(faces * len(names)).reshape(faces, len(names)) % 2
    return Settled(
        bytes(32),
        7,
        (Run(b"12345678", 4, faces - 1), Run(b"12345678", 20, 1)),
        ("front", "front"),
        np.arange(faces, dtype=np.uint64),
        names,
        bits.astype(np.uint8),
        bytes(32),
    )


@pytest.mark.parametrize("names", [(), ("Ada",), ("Ada",) * 8, ("Žofie",) * 9])
def test_a_batch_is_read_back_as_it_was_stored(names: tuple[str, ...]) -> None:
    stored = settled(names=names)
    found = Settled.decode(stored.encode())
    assert found.encode() == stored.encode()
    assert (found.runs, found.names, found.batch_id) == (stored.runs, names, stored.batch_id)
    assert found.bits.tolist() == stored.bits.tolist()
    assert found.event_batch("w", 5).times.tolist() == [0, 1, 2]


CHANGES: dict[str, tuple[int, Any]] = {
    "a session that is text": (0, "s"),
    "a number below zero": (1, -1),
    "runs cut off": (2, bytes(15)),
    "runs of other faces": (2, Run(b"12345678", 4, 3)[0] + bytes(4) + b"\2\0\0\0"),
    "a camera too few": (3, ["front"]),
    "a camera that is no text": (3, ["front", 5]),
    "times cut off": (4, bytes(23)),
    "times of another number of faces": (4, bytes(16)),
    "names that are no list": (5, "Ada"),
    "a name too many": (5, ["Ada"] * 9),
    "a name too few": (5, ["Ada"]),
    "bits of another number of faces": (6, bytes(2)),
    "no transcript": (7, None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stored_batch_that_contradicts_itself_is_refused(change: str) -> None:
    fields = msgpack.unpackb(settled().encode())
    at, value = CHANGES[change]
    fields[at] = value
    with pytest.raises(FormatError):
        Settled.decode(msgpack.packb(fields))
