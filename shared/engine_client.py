"""An outside client of an engine session: its numbers reach both parties masked (docs/engine.md).

A camera, or an authority, which supplies watchlist entries that no party may see.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared import ring
from shared.engine_file import EngineFile
from shared.engine_header import EngineHeader
from shared.engine_journal import MaskJournal
from shared.errors import InputError, MaterialExhausted

U64 = NDArray[np.uint64]


class ClientMasks:
    """A client's masks, each used once, also across restarts. Use as a context manager.

    What `mask` returns goes to both parties, the same to each; it is one-time-padded.
    """

    def __init__(self, file: EngineFile, state: Path) -> None:
        """Opens the journal in `state`, which knows the masks that were used before.

        Raises InputError for a party's file, Locked (another process uses the masks of this
        folder), ResourceError.
        """
        header = file.header
        if header.recipient != "client" or not header.streams():
            raise InputError(f"engine file {file.path}: is a party's, expected a client's")
        self._file = file
        (self._stream,) = header.streams()
        self._journal = MaskJournal(state)
        try:
            self._used = self._journal.used(header)
        except BaseException:
            self._journal.close()
            raise

    @property
    def header(self) -> EngineHeader:
        """The header of the client's file."""
        return self._file.header

    @property
    def position(self) -> int:
        """Masks that were used so far: the number of the next one."""
        return self._used

    @property
    def remaining(self) -> int:
        """Masks that are left."""
        return self._stream.count - self._used

    def mask(self, numbers: NDArray[np.int64]) -> U64:
        """e = x - r mod 2^128 for each number, flattened: (count, 2) uint64.

        The masks are marked as used durably before this returns: two uses of one mask would show
        the difference of what they hide. Raises MaterialExhausted, InputError (other than int64),
        DiskFull, ResourceError.
        """
        if numbers.dtype != np.int64:
            raise InputError(f"client: found {numbers.dtype}, expected int64")
        flat = np.ascontiguousarray(numbers).reshape(-1)
        if flat.size > self.remaining:
            raise MaterialExhausted(f"client masks: found {self.remaining}, expected {flat.size}")
        first = self._used
        masks = self._masks(first, flat.size)
        self._journal.advance(self._file.header, first + flat.size)
        self._used = first + flat.size
        words = np.stack([flat.view(np.uint64), (flat >> np.int64(63)).view(np.uint64)], axis=-1)
        return ring.sub(words, masks)

    def close(self) -> None:
        """Destroys the keys; no mask can be used any more."""
        self._used = self._stream.count
        self._journal.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _masks(self, first: int, count: int) -> U64:
        stream = self._stream
        buffer = np.empty(stream.step * stream.item_bytes, dtype=np.uint8)
        out = np.empty((count, 2), dtype=np.uint64)
        done = 0
        while done < count:
            chunk, inside = divmod(first + done, stream.step)
            found = self._file.read_chunk(stream, chunk, buffer).view(np.uint64).reshape(-1, 2)
            part = found[inside : inside + count - done]
            out[done : done + len(part)] = part
            done += len(part)
        return out
