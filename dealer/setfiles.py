"""One set on its way into its three files (protocol section 7)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dealer.mint import SEED_BYTES, MintScratch, SetSeeds, mint_slots
from shared.keys import Identity
from shared.materialheader import RECIPIENTS, ChunkKind, Recipient, chunk_slots
from shared.materialwriter import MaterialWriter, seal_header
from shared.params import Parameters
from shared.secret import Secret
from shared.sets import SetName
from shared.shares import RATCHET_BLOCK, Ratchet
from shared.windowkeys import WindowKey

STEP_BYTES_GOAL = 2 << 20
RANDOM_BYTES = 16 + 6 * SEED_BYTES

PARTIES: Final[tuple[Recipient, ...]] = ("p0", "p1")

# Whose window keys a set needs, and where each one's file goes.
Keys = Mapping[Recipient, WindowKey]
Paths = Mapping[Recipient, Path]


@dataclass(frozen=True, slots=True)
class SetRandomness:
    """All randomness of one set: mint id (16 bytes), seeds, and both content keys."""

    mint_id: bytes
    seeds: SetSeeds
    content_keys: tuple[Secret, Secret]

    @classmethod
    def from_bytes(cls, content: bytes) -> SetRandomness:
        """Cuts `RANDOM_BYTES` random bytes to pieces."""
        seeds = [
            content[16 + i : 16 + i + SEED_BYTES] for i in range(0, 6 * SEED_BYTES, SEED_BYTES)
        ]
        k0, k1, s0, s1, c0, c1 = map(Secret, seeds)
        return cls(content[:16], SetSeeds(k0, k1, s0, s1), (c0, c1))

    def destroy(self) -> None:
        """Overwrites everything secret."""
        self.seeds.destroy()
        for key in self.content_keys:
            key.destroy()


@dataclass(frozen=True, slots=True)
class Block:
    """The slots of one ratchet block, to be minted by one thread; and its ratchet states."""

    first: int
    count: int
    ratchets: tuple[Ratchet, Ratchet] = field(repr=False)


class MintBuffers:
    """What one thread reuses from block to block."""

    def __init__(self, params: Parameters) -> None:
        self.step = mint_step(params)
        # P1's chunks of corrections may span several steps.
        self.group = max(self.step, chunk_slots(params, "p1", ChunkKind.PREPARE))
        self.scratch = MintScratch(params, self.step)
        self.match = np.empty((self.step, params.slot_match_bytes), dtype=np.uint8)
        self.prepare = np.empty((self.group, params.slot_prepare_bytes), dtype=np.uint8)


def mint_step(params: Parameters) -> int:
    """Slots minted at a time: a power of two up to 64, whole match chunks, some 2 MiB."""
    fits = max(1, min(RATCHET_BLOCK, STEP_BYTES_GOAL // params.slot_match_bytes))
    return 1 << (fits.bit_length() - 1)


class SetFiles:
    """The three files of a set while they are made. Leave the context to drop what is unfinished.

    Blocks may be minted by several threads; `mint` returns True to the one that was last, and that
    one calls `commit`.
    """

    def __init__(
        self,
        params: Parameters,
        dealer: Identity,
        name: SetName,
        slots: int,
        keys: Keys,
        paths: Paths,
        random: SetRandomness,
    ) -> None:
        self.params = params
        self.name = name
        self.slots = slots
        self._digest = name.digest()
        self._random = random
        self._blocks_left = -(-slots // RATCHET_BLOCK)
        self._lock = threading.Lock()
        self._writers: dict[Recipient, MaterialWriter] = {}
        try:
            for role in RECIPIENTS:
                content_key = random.content_keys[role == "p1"].reveal()
                seeds = (
                    random.seeds.camera() if role == "camera" else random.seeds.party(role == "p1")
                )
                signed = seal_header(dealer, keys[role], params, name, slots, seeds, content_key)
                self._writers[role] = MaterialWriter(paths[role], signed, content_key)
        except BaseException:
            self.close()
            raise

    def blocks(self) -> Iterator[Block]:
        """All blocks, in order; the ratchets are walked as the caller goes on."""
        walkers = self._random.seeds.ratchets()
        try:
            for first in range(0, self.slots, RATCHET_BLOCK):
                for walker in walkers:
                    walker.keys([first])
                at = tuple(Ratchet(walker.state(), walker.block) for walker in walkers)
                count = min(RATCHET_BLOCK, self.slots - first)
                yield Block(first, count, (at[0], at[1]))
        finally:
            for walker in walkers:
                walker.close()

    def mint(self, block: Block, buffers: MintBuffers) -> bool:
        """Mints and writes one block; whether it was the last of the set."""
        for group in range(0, block.count, buffers.group):
            count = min(buffers.group, block.count - group)
            for at in range(0, count, buffers.step):
                size = min(buffers.step, count - at)
                first = block.first + group + at
                mint_slots(
                    self.params,
                    self._digest,
                    self._random.seeds,
                    block.ratchets,
                    first,
                    buffers.scratch,
                    buffers.match[:size],
                    buffers.prepare[at : at + size],
                )
                for role in PARTIES:
                    self._write(role, ChunkKind.MATCH, first, buffers.match[:size])
            self._write("p1", ChunkKind.PREPARE, block.first + group, buffers.prepare[:count])
        for ratchet in block.ratchets:
            ratchet.close()
        with self._lock:
            self._blocks_left -= 1
            return self._blocks_left == 0

    def commit(self) -> None:
        """All three files durable, then in place. Raises DiskFull, ResourceError."""
        for writer in self._writers.values():
            writer.finish()
        for writer in self._writers.values():
            writer.commit()
        for writer in self._writers.values():
            writer.file.sync()

    def close(self) -> None:
        """Destroys the seeds; removes files that were not committed."""
        self._random.destroy()
        for writer in self._writers.values():
            writer.abandon()

    def _write(self, role: Recipient, kind: ChunkKind, first: int, rows: NDArray[np.uint8]) -> None:
        writer = self._writers[role]
        per_chunk = writer.signed.header.chunk_slots(kind)
        for at in range(0, len(rows), per_chunk):
            writer.write_chunk(kind, (first + at) // per_chunk, rows[at : at + per_chunk])
