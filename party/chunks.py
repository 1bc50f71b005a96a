"""Decrypted material chunks in reused buffers (protocol section 4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import TwokeyError
from shared.params import Parameters

CHUNK_CACHE = 2
RUN_BYTES = 2 << 20


class ChunkReader(Protocol):
    """A set whose match chunks can be read."""

    set_id: bytes
    slots: int

    @property
    def match_chunk_slots(self) -> int:
        """Slots in a match chunk."""

    def read_words(self, chunk: int, count: int, out: memoryview) -> NDArray[np.uint8]:
        """Decrypts match chunks into `out`; (slots, slot_match_bytes) uint8."""


@dataclass(slots=True)
class _Cached:
    buffer: bytearray = field(repr=False)
    words: NDArray[np.uint8] = field(repr=False)


class ChunkBuffers:
    """Reused plaintext buffers: for prepare chunks, for runs of match chunks that are used up at
    once, and a bounded cache of match chunks of which slots are left.

    limit: how many bytes of match chunks may stay decrypted, for sets whose faces come singly.
    """

    def __init__(self, params: Parameters, match_slots: int, prepare_slots: int, limit: int):
        self._size = match_slots * params.slot_match_bytes
        self._together = max(1, RUN_BYTES // self._size)
        self._run = memoryview(bytearray(self._together * self._size))
        self.prepare = memoryview(bytearray(prepare_slots * params.slot_prepare_bytes))
        self._capacity = max(CHUNK_CACHE, limit // self._size)
        self._cache: OrderedDict[tuple[bytes, int], _Cached] = OrderedDict()
        self._free: list[bytearray] = []
        self._following: tuple[ChunkReader, int] | None = None

    def words(self, owner: ChunkReader, slot: int, wanted: int) -> NDArray[np.uint8]:
        """Correction words of 1 to `wanted` slots from this one on; until the next call."""
        size = owner.match_chunk_slots
        chunk, offset = divmod(slot, size)
        whole = min((slot + wanted) // size, self._together + chunk) - chunk
        if slot + wanted >= owner.slots:  # the last chunk may be shorter
            whole = min(-(-owner.slots // size) - chunk, self._together)
        if offset == 0 and whole > 0 and (owner.set_id, chunk) not in self._cache:
            return owner.read_words(chunk, whole, self._run)
        words = self._cached(owner, chunk)
        if offset + wanted >= len(words):  # slots are used in order: the chunk is used up
            self._used_up(owner, chunk)
        return words[offset : offset + wanted]

    @property
    def capacity(self) -> int:
        """How many chunks the cache holds."""
        return self._capacity

    def rows(self, wanted: Sequence[tuple[ChunkReader, int]]) -> list[NDArray[np.uint8]]:
        """Correction words of slots of several sets, at most `capacity`; until the next call."""
        found, used_up = [], []
        for owner, slot in wanted:
            chunk, offset = divmod(slot, owner.match_chunk_slots)
            words = self._cached(owner, chunk)
            found.append(words[offset])
            if offset + 1 == len(words):
                used_up.append((owner, chunk))
        for owner, chunk in used_up:
            self._used_up(owner, chunk)
        return found

    @property
    def read_ahead_waits(self) -> bool:
        """Whether `read_ahead` has something to do."""
        return self._following is not None

    def read_ahead(self) -> None:
        """Decrypts the chunk after the one that was used up last, before a face waits for it."""
        if self._following is not None:
            owner, chunk = self._following
            self._following = None
            with suppress(TwokeyError):  # whoever needs it meets the error then
                self._cached(owner, chunk)

    def _used_up(self, owner: ChunkReader, chunk: int) -> None:
        self._free.append(self._cache.pop((owner.set_id, chunk)).buffer)
        if (chunk + 1) * owner.match_chunk_slots < owner.slots:
            self._following = (owner, chunk + 1)

    def _cached(self, owner: ChunkReader, chunk: int) -> NDArray[np.uint8]:
        """A decrypted chunk from the cache, or into it."""
        key = (owner.set_id, chunk)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= self._capacity:
                _, oldest = self._cache.popitem(last=False)
                self._free.append(oldest.buffer)
            buffer = self._free.pop() if self._free else bytearray(self._size)
            found = _Cached(buffer, owner.read_words(chunk, 1, memoryview(buffer)))
            self._cache[key] = found
        else:
            self._cache.move_to_end(key)
        return found.words
