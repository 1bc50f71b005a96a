"""Decrypted chunks: read once, in order, and ahead of the face that needs them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from party.chunks import ChunkBuffers
from shared.errors import FormatError
from shared.params import Parameters

PARAMS = Parameters(
    dim=1,
    fraction_bits=1,
    headroom_bits=5,
    places=1,
    threshold=1,
    face_bound=1,
    entry_bound=1,
    model="chunks",
)
SIZE = 4


class Reader:
    """A set of ten slots in chunks of four; each slot's words are its number."""

    set_id = b"a set id"
    slots = 10
    match_chunk_slots = SIZE

    def __init__(self) -> None:
        self.read: list[int] = []
        self.broken: set[int] = set()

    def read_words(self, chunk: int, count: int, out: memoryview) -> NDArray[np.uint8]:
        self.read.append(chunk)
        if chunk in self.broken:
            raise FormatError("chunk: found another tag")
        rows = np.frombuffer(out, dtype=np.uint8)[: count * SIZE * PARAMS.slot_match_bytes]
        words = rows.reshape(-1, PARAMS.slot_match_bytes)
        words[:] = np.arange(chunk * SIZE, chunk * SIZE + len(words), dtype=np.uint8)[:, None]
        return words[: self.slots - chunk * SIZE]


def buffers() -> ChunkBuffers:
    return ChunkBuffers(PARAMS, SIZE, SIZE, 1)


def test_the_chunk_after_a_used_up_one_is_read_before_it_is_needed() -> None:
    reader, held = Reader(), buffers()
    for slot in range(SIZE):
        assert not held.read_ahead_waits
        assert held.words(reader, slot, 1)[0, 0] == slot
    assert held.read_ahead_waits
    held.read_ahead()
    assert reader.read == [0, 1]
    assert held.words(reader, SIZE, 1)[0, 0] == SIZE
    assert reader.read == [0, 1]


def test_after_the_last_chunk_there_is_nothing_to_read_ahead() -> None:
    reader, held = Reader(), buffers()
    for slot in (8, 9):
        held.rows([(reader, slot)])
    assert not held.read_ahead_waits


def test_a_broken_chunk_is_an_error_for_who_needs_it_and_not_ahead() -> None:
    reader, held = Reader(), buffers()
    reader.broken.add(1)
    held.words(reader, 0, 3)
    held.words(reader, 3, 1)
    held.read_ahead()
    assert not held.read_ahead_waits
    with pytest.raises(FormatError, match="another tag"):
        held.words(reader, 4, 1)
