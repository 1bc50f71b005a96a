"""One loaded set: what this party expands, reads and keeps for its slots (protocol section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from party.chunks import ChunkBuffers
from party.matching import TagPart
from party.places import PlaceNumbers
from party.prepare import OpeningShares
from shared import dcf, ring, shares
from shared.errors import AuthenticationFailed, FormatError, MaterialDamaged, ResourceError
from shared.matchinputs import dcf_key, match_inputs
from shared.materialfile import ChunkKind, MaterialFile
from shared.params import Parameters
from shared.secret import Secret
from shared.sets import SetName

KAPPA_BLOCK = 64


@dataclass(slots=True)
class _KappaBlock:
    """Stored kappas mod 2^32 of some consecutive slots; open: those not yet finished."""

    kappa: NDArray[np.uint32]
    open: NDArray[np.bool_]


class PartySet:
    """A set's material on one party's side. Not thread-safe; one owner calls it.

    Reads are sequential in practice: a chunk is decrypted once into a reused buffer.
    """

    def __init__(
        self,
        name: SetName,
        params: Parameters,
        party: int,
        file: MaterialFile,
        buffers: ChunkBuffers,
    ) -> None:
        self.name = name
        self.set_id = name.set_id()
        self.params = params
        self.party = party
        self.slots = file.header.slots
        self.dcf_key = dcf_key(name.digest())
        self._file = file
        seeds = file.party_seeds()
        self.key: Secret = seeds.key
        self._ratchet = shares.RatchetTable(seeds.ratchet)
        self.buffers = buffers
        self._kappa: dict[int, _KappaBlock] = {}
        self._scratch = ring.Scratch()

    # -- prepare -----------------------------------------------------------------------

    def opening_shares(
        self, first: int, length: int, places: tuple[int, ...], numbers: PlaceNumbers
    ) -> OpeningShares:
        """Shares of kappa = ch.r + rho and of its MAC, for these slots and places.

        Raises MaterialDamaged.
        """
        params = self.params
        slots = np.arange(first, first + length, dtype=np.uint64)
        chosen = np.asarray(places, dtype=np.intp)
        matrix = numbers.chosen(places)
        used = int(chosen[-1]) + 1
        key = self.key
        inputs = shares.input_shares(key, self._ratchet, slots, params.coordinates)
        rho = shares.rho_shares(key, slots, used)
        if self.party == 0:
            input_macs = shares.input_macs_p0(key, slots, params.coordinates)
            rho_macs = shares.rho_macs_p0(key, slots, used)
        else:
            corrections = self._corrections(first, length)
            input_macs = np.ascontiguousarray(corrections[:, : params.coordinates])
            rho_macs = corrections[:, params.coordinates :]
        kappa = ring.add(
            ring.public_matrix_product(matrix, inputs, scratch=self._scratch),
            np.take(rho, chosen, axis=1),
        )
        mac = ring.add(
            ring.public_matrix_product(matrix, input_macs, scratch=self._scratch),
            np.take(rho_macs, chosen, axis=1),
        )
        return OpeningShares(kappa.reshape(-1, 2), mac.reshape(-1, 2), shares.alphas(key, slots))

    def _corrections(self, first: int, length: int) -> NDArray[np.uint64]:
        """P1's MAC corrections, (length, d + 1 + N, 2)."""
        params = self.params
        size = params.slot_prepare_bytes
        per_chunk = self._file.header.prepare_chunk_slots
        result = np.empty((length, params.coordinates + params.places, 2), dtype=np.uint64)
        flat = result.view(np.uint8).reshape(length, size)
        done = 0
        while done < length:
            chunk, offset = divmod(first + done, per_chunk)
            rows = self._read(ChunkKind.PREPARE, chunk, 1, self.buffers.prepare)
            part = np.frombuffer(rows, dtype=np.uint8).reshape(-1, size)[offset:]
            part = part[: length - done]
            flat[done : done + len(part)] = part
            done += len(part)
        return result

    def keep_kappa(self, first: int, places: tuple[int, ...], kappa: NDArray[np.uint32]) -> None:
        """Stores opened kappas of slots first..; kappa: (slots, places)."""
        chosen = np.asarray(places, dtype=np.intp)
        done = 0
        while done < len(kappa):
            block, offset = divmod(first + done, KAPPA_BLOCK)
            stored = self._kappa.get(block)
            if stored is None:
                size = min(KAPPA_BLOCK, self.slots - block * KAPPA_BLOCK)
                zeros = np.zeros((size, self.params.places), dtype=np.uint32)
                stored = _KappaBlock(zeros, np.zeros(size, dtype=np.bool_))
                self._kappa[block] = stored
            part = kappa[done : done + KAPPA_BLOCK - offset]
            stored.kappa[offset : offset + len(part), chosen] = part
            stored.open[offset : offset + len(part)] = True
            done += len(part)

    def finish(self, first: int, length: int) -> None:
        """Forgets the kappas of slots that are verified or burned; again is no error."""
        slot = first
        while slot < first + length:
            block, offset = divmod(slot, KAPPA_BLOCK)
            here = min(first + length - slot, KAPPA_BLOCK - offset)
            stored = self._kappa.get(block)
            if stored is not None:
                stored.open[offset : offset + here] = False
                if not stored.open.any():
                    del self._kappa[block]
            slot += here

    # -- match -------------------------------------------------------------------------

    def tags(self, first: int, masked: NDArray[np.uint32], numbers: PlaceNumbers) -> TagPart:
        """Authenticated bit shares, (faces, used), and Delta^j, for e: (faces, d + 1) uint32.

        Places that are not live give meaningless tags. The slots must be prepared. Raises
        MaterialDamaged.
        """
        params, faces = self.params, len(masked)
        z = ring.public_product_mod32(numbers.product, masked)
        z += numbers.constants
        self._add_kappa(first, z)
        expanded = match_inputs(self.key, self.party, self.dcf_key, first, faces, numbers.used)
        low = low_part(z, params)
        result = np.empty(z.shape, dtype=np.uint64)
        done = 0
        while done < faces:
            words = self.buffers.words(self, first + done, faces - done)
            part = slice(done, done + len(words))
            dcf.evaluate(
                params,
                self.party,
                expanded.slot_keys[part],
                expanded.roots[part],
                words,
                low[part],
                result[part],
            )
            done += len(words)
        return with_top(result, z, expanded.deltas, params)

    def kappa_row(self, slot: int, used: int) -> NDArray[np.uint32]:
        """The stored kappas mod 2^32 of a prepared slot, places 0..used-1."""
        block, offset = divmod(slot, KAPPA_BLOCK)
        return self._kappa[block].kappa[offset, :used]

    def _add_kappa(self, first: int, z: NDArray[np.uint32]) -> None:
        done = 0
        while done < len(z):
            block, offset = divmod(first + done, KAPPA_BLOCK)
            part = z[done : done + KAPPA_BLOCK - offset]
            part += self._kappa[block].kappa[offset : offset + len(part), : z.shape[1]]
            done += len(part)

    def read_words(self, chunk: int, count: int, out: memoryview) -> NDArray[np.uint8]:
        """Decrypts match chunks into `out`; (slots, slot_match_bytes) uint8.

        Raises MaterialDamaged for the first of them that can not be read.
        """
        data = self._read(ChunkKind.MATCH, chunk, count, out)
        return np.frombuffer(data, dtype=np.uint8).reshape(-1, self.params.slot_match_bytes)

    def _read(self, kind: ChunkKind, chunk: int, count: int, out: memoryview) -> memoryview:
        try:
            return self._file.read_chunks(kind, chunk, count, out)
        except (AuthenticationFailed, FormatError, ResourceError) as error:
            if count > 1:  # which of them it is
                for number in range(chunk, chunk + count):
                    self._read(kind, number, 1, out)
            size = self._file.header.chunk_slots(kind)
            first = chunk * size
            length = min(size, self.slots - first)
            raise MaterialDamaged(
                f"camera {self.name.camera} slots {first} to {first + length - 1}: {error}",
                self.set_id,
                first,
                length,
            ) from error

    @property
    def match_chunk_slots(self) -> int:
        """Slots in a match chunk (the last one may have fewer)."""
        return self._file.header.match_chunk_slots

    def close(self) -> None:
        """Drops keys and kappas and closes the file."""
        self._file.close()
        self._kappa.clear()
        self._ratchet.close()


def low_part(z: NDArray[np.uint32], params: Parameters) -> NDArray[np.uint32]:
    """z mod 2^(n-1): where the DCF is evaluated."""
    return z & np.uint32((1 << params.low_bits) - 1)


def with_top(
    shares_of_low: NDArray[np.uint64],
    z: NDArray[np.uint32],
    deltas: NDArray[np.uint64],
    params: Parameters,
) -> TagPart:
    """t^j: the DCF share, xor Delta^j where bit n-1 of the public z is set (encodings E6)."""
    top = ((z >> np.uint32(params.low_bits)) & np.uint32(1)).astype(np.uint64)
    shares_of_low ^= (np.uint64(0) - top) & deltas[:, None]
    return TagPart(shares_of_low, deltas)
