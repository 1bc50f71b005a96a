"""Files of masked numbers: every byte is bound, and none that is not written takes a mask."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest

from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    DiskFull,
    FormatError,
    MaterialExhausted,
    RangeError,
)
from shared.keys import create_identity
from shared.masked_file import MaskedHeader, read_masked, write_masked
from tests.private_support import FACES, LABELS, PARAMS, PrivateStage, make_private_stage


@pytest.fixture
def stage(tmp_path: Path) -> PrivateStage:
    return make_private_stage(tmp_path)


def test_a_file_is_read_as_it_was_written(stage: PrivateStage) -> None:
    file = read_masked(stage.listed())
    assert file.path.name == "night.list-1.registry.0.tki"
    assert file.encode() == file.path.read_bytes()
    header = file.header
    assert (header.client, header.first, header.rows, header.columns) == (0, 0, 3, 6)
    assert (header.labels, header.times) == (LABELS, ())
    assert header.params_digest == PARAMS.digest()
    file.verify(stage.people["registry"].identity.public)
    with pytest.raises(AuthenticationFailed, match="not of authority registry"):
        file.verify(create_identity("authority", "registry").public)
    faces = read_masked(stage.share(4, 3, stage.folder / "made"))
    assert (faces.header.times, faces.header.labels) == ((4, 5, 6), ())
    assert len({file.digest(), faces.digest()}) == 2
    with pytest.raises(AuthenticationFailed, match="not of authority"):
        faces.verify(stage.people["registry"].identity.public)


@pytest.mark.parametrize("where", ["magic", "version", "header", "signature", "body"])
def test_any_flipped_bit_is_refused(stage: PrivateStage, where: str) -> None:
    path = stage.listed()
    content = bytearray(path.read_bytes())
    signature = 16 + int.from_bytes(content[12:16], "little")
    at = {"magic": 2, "version": 8, "header": 90, "signature": signature + 9, "body": -30}[where]
    content[at] ^= 2
    path.write_bytes(content)
    with pytest.raises((FormatError, AuthenticationFailed)):
        read_masked(path).verify(stage.people["registry"].identity.public)


@pytest.mark.parametrize("size", [0, 15, 200, 500, -1])
def test_a_truncated_or_longer_file_is_refused(stage: PrivateStage, size: int) -> None:
    path = stage.listed()
    content = path.read_bytes()
    path.write_bytes(content[:size])
    with pytest.raises(FormatError):
        read_masked(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(FormatError, match="bytes, expected"):
        read_masked(path)


def test_a_header_that_does_not_hold_together_is_refused(stage: PrivateStage) -> None:
    path = stage.listed()
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    fields = msgpack.unpackb(content[16 : 16 + length])
    changes: tuple[dict[str, object], ...] = (
        {"extra": 1},
        {"rows": 0},
        {"columns": 0},
        {"rows": 1 << 40},
        {"rows": -1},
        {"labels": []},
        {"labels": ["a", "a"]},
        {"labels": ["a"] * 4},
        {"labels": ["a\n"]},
        {"labels": [1]},
        {"labels": "a"},
        {"times": [1, 2, 3]},
        {"labels": [], "times": [1, 2]},
        {"labels": [], "times": [1, 2, -3]},
        {"labels": [], "times": [1, 2, 1 << 63]},
        {"issuer": b""},
        {"mint_id": "x"},
        {"end_ms": 0},
        {"name": "a/b"},
    )
    for change in changes:
        body = msgpack.packb(fields | change)
        begin = content[:12] + len(body).to_bytes(4, "little") + body
        path.write_bytes(begin + content[16 + length :])
        with pytest.raises((FormatError, RangeError)):
            read_masked(path)


def test_nothing_is_masked_for_a_file_that_is_there_or_finds_no_room(
    stage: PrivateStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage.folder / "made"
    path = stage.share(0, 2, made)
    rows = stage.rows(2, 2)
    gate = stage.people["gate"].identity
    with stage.masks("gate") as masks:
        taken = masks.position
        (made / path.name.replace(".0.", ".2.")).touch()
        with pytest.raises(ConfigError, match="exists already"):
            write_masked(made, gate, masks, PARAMS, rows, times=(1, 2))
        many = np.zeros((FACES, PARAMS.coordinates), dtype=np.int64)
        with pytest.raises(MaterialExhausted, match=f"found {FACES - 2} rows"):
            write_masked(stage.folder / "x", gate, masks, PARAMS, many, times=(0,) * FACES)
        with pytest.raises(FormatError, match="times of 2 rows"):
            write_masked(stage.folder / "x", gate, masks, PARAMS, rows, times=(1,))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", full)
            with pytest.raises(DiskFull):
                write_masked(stage.folder / "y", gate, masks, PARAMS, rows, times=(1, 2))
        assert masks.position == taken
        write_masked(stage.folder / "y", gate, masks, PARAMS, rows, times=(1, 2))
    assert not list(stage.folder.rglob("*.part"))


def test_a_header_needs_labels_or_times() -> None:
    from shared.windowkeys import Window

    header = MaskedHeader(
        bytes(16), Window("w", 0, 1), "s", 1, bytes(32), bytes(32), 0, 1, 1, ("a",), (), bytes(32)
    )
    with pytest.raises(FormatError, match="either labels"):
        replace(header, labels=())
    with pytest.raises(FormatError, match="either labels"):
        replace(header, times=(1,))
