"""Engine files: every byte is bound, and nothing but the exact format is read."""

from __future__ import annotations

import re
from pathlib import Path

import msgpack
import numpy as np
import pytest

from shared.engine_file import EngineFile
from shared.engine_header import EngineHeader, read_engine_header
from shared.engine_plan import (
    MASK,
    SIGN,
    TRIPLE,
    Family,
    Kind,
    Plan,
    client,
    matmul,
    plan,
    plan_of_rows,
    truncation,
)
from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    FormatError,
    HeaderMismatch,
    InputError,
    RangeError,
)
from shared.keys import create_identity
from shared.windowkeys import Window
from tests.engine_support import Stage, make_stage
from tests.material_support import WINDOW, make_recipient

COUNTS = {TRIPLE: 20_000, SIGN: 300, MASK: 5, client(0): 3, matmul(2, 3, 4): 2}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return make_stage(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def paths(stage: Stage) -> dict[str, Path]:
    return stage.mint(COUNTS)


def opened(stage: Stage, path: Path, party: int = 1) -> EngineFile:
    return EngineFile.open(
        path, dealer=stage.dealer.public, window_key=stage.parties[party].private
    )


def read_all(file: EngineFile) -> None:
    for stream in file.header.streams():
        buffer = np.empty(stream.step * stream.item_bytes, dtype=np.uint8)
        for number in range(stream.chunks):
            file.read_chunk(stream, number, buffer)


def test_a_file_has_the_size_that_follows_from_its_plan(
    stage: Stage, paths: dict[str, Path]
) -> None:
    for role, path in paths.items():
        signed = read_engine_header(path)
        header = signed.header
        assert header.recipient == role.partition("-")[0]
        assert header.plan == plan(COUNTS)
        assert path.stat().st_size == signed.file_bytes
    for party in (0, 1):
        with opened(stage, paths[f"p{party}"], party) as file:
            read_all(file)


def test_nothing_of_a_party_reaches_the_client(stage: Stage, paths: dict[str, Path]) -> None:
    with EngineFile.open(
        paths["client-0"], dealer=stage.dealer.public, window_key=stage.clients[0].private
    ) as file:
        assert len(file.key.reveal()) == 0
        assert [stream.kind for stream in file.header.streams()] == [client(0)]
        read_all(file)


@pytest.mark.parametrize("where", ["magic", "version", "header", "signature", "chunk", "tag"])
def test_any_flipped_bit_is_refused(
    stage: Stage, paths: dict[str, Path], tmp_path: Path, where: str
) -> None:
    content = bytearray(paths["p1"].read_bytes())
    start = 16 + int.from_bytes(content[12:16], "little")
    at = {
        "magic": 3,
        "version": 8,
        "header": 60,
        "signature": start + 10,
        "chunk": start + 64 + 1000,
        "tag": len(content) - 1,
    }[where]
    content[at] ^= 4
    path = tmp_path / "changed.tke"
    path.write_bytes(content)
    with pytest.raises((FormatError, AuthenticationFailed)):
        read_all(opened(stage, path))


@pytest.mark.parametrize("role", ["p0", "p1", "client-0"])
def test_a_file_of_the_format_before_is_refused_by_its_version(
    paths: dict[str, Path], tmp_path: Path, role: str
) -> None:
    """Signed or not: its chunks would be taken for something else."""
    content = bytearray(paths[role].read_bytes())
    assert content[8:12] == (2).to_bytes(4, "little")
    content[8:12] = (1).to_bytes(4, "little")
    path = tmp_path / "old.tke"
    path.write_bytes(content)
    expected = f"engine file {path}: found format version 1, expected 2"
    with pytest.raises(FormatError, match=f"^{re.escape(expected)}$"):
        read_engine_header(path)


@pytest.mark.parametrize("size", [0, 10, 100, 1400, -1])
def test_a_truncated_file_is_refused(
    stage: Stage, paths: dict[str, Path], tmp_path: Path, size: int
) -> None:
    path = tmp_path / "short.tke"
    path.write_bytes(paths["p1"].read_bytes()[:size])
    with pytest.raises(FormatError):
        opened(stage, path)
    with pytest.raises(FormatError):
        read_engine_header(path)


def test_chunks_that_change_places_are_refused(
    stage: Stage, paths: dict[str, Path], tmp_path: Path
) -> None:
    with opened(stage, paths["p1"]) as file:
        stream = next(s for s in file.header.streams() if s.kind == TRIPLE)
        offset = file._offsets[stream.number]
    size = stream.step * stream.item_bytes + 16
    content = bytearray(paths["p1"].read_bytes())
    first = content[offset : offset + size]
    content[offset : offset + size] = content[offset + size : offset + 2 * size]
    content[offset + size : offset + 2 * size] = first
    path = tmp_path / "swapped.tke"
    path.write_bytes(content)
    with opened(stage, path) as file, pytest.raises(AuthenticationFailed):
        file.read_chunk(stream, 0, np.empty(size, dtype=np.uint8))


def test_others_cannot_open_a_file(stage: Stage, paths: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(AuthenticationFailed, match="made for p1, opened by p0"):
        opened(stage, paths["p1"], 0)
    with pytest.raises(AuthenticationFailed, match="another dealer"):
        EngineFile.open(
            paths["p1"],
            dealer=create_identity("dealer", "other").public,
            window_key=stage.parties[1].private,
        )
    again = make_recipient(tmp_path, "p1", "south")
    with pytest.raises(AuthenticationFailed, match="another key"):
        EngineFile.open(paths["p1"], dealer=stage.dealer.public, window_key=again.private)
    later = Window("tuesday", WINDOW.end_ms, WINDOW.end_ms + 1000)
    with pytest.raises(HeaderMismatch, match=r"found window monday .*, expected tuesday"):
        EngineFile.open(
            paths["p1"],
            dealer=stage.dealer.public,
            window_key=make_recipient(tmp_path / "later", "p1", "south", later).private,
        )
    with pytest.raises(HeaderMismatch, match="expected elsewhere"):
        EngineFile.open(
            paths["p1"],
            dealer=stage.dealer.public,
            window_key=stage.parties[1].private,
            name="elsewhere",
        )
    with pytest.raises(ConfigError, match="not found"):
        opened(stage, tmp_path / "none.tke")


def test_a_closed_file_has_no_key_and_gives_nothing(stage: Stage, paths: dict[str, Path]) -> None:
    file = opened(stage, paths["p1"])
    stream = file.header.streams()[0]
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read_chunk(stream, 0, np.empty(1 << 20, dtype=np.uint8))
    with pytest.raises(ValueError, match="destroyed"):
        file.key.reveal()


def test_a_header_that_is_not_canonical_is_refused(paths: dict[str, Path], tmp_path: Path) -> None:
    content = paths["p0"].read_bytes()
    length = int.from_bytes(content[12:16], "little")
    fields = msgpack.unpackb(content[16 : 16 + length])
    path = tmp_path / "other.tke"
    for change in (
        {"extra": 1},
        {"recipient": "camera"},
        {"plan": [[3, 0, 0, 0, 0]]},
        {"plan": [[99, 0, 0, 0, 1]]},
        {"plan": "triple"},
        {"mint_id": b"short"},
        {"start_ms": -1},
        {"sealed": b""},
    ):
        body = msgpack.packb(fields | change)
        path.write_bytes(content[:12] + len(body).to_bytes(4, "little") + body + content[-64:])
        with pytest.raises(FormatError):
            read_engine_header(path)


def test_a_plan_is_ordered_and_within_its_limits() -> None:
    with pytest.raises(FormatError, match="ascending"):
        Plan(((TRIPLE, 1), (MASK, 1)))
    with pytest.raises(FormatError, match="ascending"):
        Plan(((TRIPLE, 1), (TRIPLE, 1)))
    with pytest.raises(RangeError, match="found 0 items"):
        Plan(((TRIPLE, 0),))
    with pytest.raises(RangeError, match="needs one item"):
        plan({Kind(Family.FIXED, 2, 3): 4})
    with pytest.raises(RangeError, match="parameters"):
        truncation(63)
    with pytest.raises(RangeError, match="parameters"):
        Kind(Family.TRIPLE, 1)
    with pytest.raises(RangeError, match="elements"):
        matmul(1 << 12, 1 << 13, 1)
    made = plan({truncation(3): 7, MASK: 2, matmul(2, 3, 4): 1})
    assert plan_of_rows(made.rows()) == made
    assert [str(kind) for kind, _ in made.counts] == ["mask", "matmul:2x3x4", "truncation:3"]
    with pytest.raises(FormatError):
        plan_of_rows([[1, 0, 0, 0]])


def test_no_chunk_of_another_stream_is_read(stage: Stage, paths: dict[str, Path]) -> None:
    with opened(stage, paths["p1"]) as file, opened(stage, paths["p0"], 0) as other:
        stream = next(s for s in file.header.streams() if s.kind == SIGN)
        buffer = np.empty(1 << 20, dtype=np.uint8)
        with pytest.raises(InputError, match="no chunk 9"):
            file.read_chunk(stream, 9, buffer)
        with pytest.raises(InputError, match="no chunk"):
            other.read_chunk(stream, 0, buffer)


def test_repr_shows_no_key(stage: Stage, paths: dict[str, Path]) -> None:
    with opened(stage, paths["p1"]) as file:
        assert file.key.reveal().hex() not in repr(file.header) + repr(file.key)
        assert isinstance(file.header, EngineHeader)
