"""The folder into which cameras' masked faces are put, while a session runs."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from party.private.accept import Session, check_masked
from shared.errors import SlotReused, TwokeyError
from shared.intervals import Intervals
from shared.masked_file import SUFFIX, MaskedFile, read_masked
from shared.messages import Run
from shared.sets import SetName
from shared.trust import TrustedIdentities

log = logging.getLogger(__name__)
_SETTLED_SECONDS = 2.0  # a file that nobody has written to for so long is there as a whole


@dataclass(slots=True)
class FaceFile:
    """Masked faces of one camera. done: rows that are matched, from the first one on."""

    file: MaskedFile
    camera: str
    digest: bytes
    done: int = 0

    @property
    def open(self) -> int:
        """Faces that are not matched yet."""
        return self.file.header.rows - self.done

    @property
    def order(self) -> tuple[int, int]:
        """Which comes first, the same at both parties."""
        return self.file.header.client, self.file.header.first

    def part(self, faces: int) -> FacePart:
        """The next faces."""
        return FacePart(self, self.done, min(faces, self.open))


@dataclass(frozen=True, slots=True)
class FacePart:
    """Consecutive faces of one file: rows first .. first + count - 1."""

    source: FaceFile
    first: int
    count: int

    @property
    def elements(self) -> NDArray[np.uint64]:
        """Their masked numbers, (count columns, 2)."""
        columns = self.source.file.header.columns
        rows = self.source.file.elements
        return rows[self.first * columns : (self.first + self.count) * columns]

    @property
    def mask(self) -> int:
        """The client's mask that the first number took."""
        header = self.source.file.header
        return (header.first + self.first) * header.columns

    @property
    def times(self) -> NDArray[np.uint64]:
        """When they were captured, unix ms."""
        times = self.source.file.header.times[self.first : self.first + self.count]
        return np.array(times, dtype=np.uint64)

    def run(self, name: SetName) -> Run:
        """The faces as slots, by the masks that they took."""
        return Run(name.set_id(), self.source.file.header.first + self.first, self.count)


class Inbox:
    """The acceptable files of one session, found once each. Files of others are left alone.

    One that is not acceptable is reported in one line, and looked at again when it changes.
    """

    def __init__(self, folder: Path, session: Session, trusted: TrustedIdentities) -> None:
        self.files: dict[bytes, FaceFile] = {}
        self._folder = folder
        self._session = session
        self._trusted = trusted
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._first = True
        self._rows: dict[int, Intervals] = defaultdict(Intervals)

    def scan(self) -> None:
        """Looks for new files."""
        for path in sorted(self._folder.rglob(f"*{SUFFIX}")):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._seen.get(path) == stamp:
                continue
            try:
                self._take(read_masked(path))
            except TwokeyError as error:
                if not self._first and time.time() - found.st_mtime < _SETTLED_SECONDS:
                    continue  # perhaps it is still being written
                log.error("%s", error)
            self._seen[path] = stamp
        self._first = False

    def open(self) -> list[FaceFile]:
        """Files with faces that are not matched yet, in their order."""
        return sorted((f for f in self.files.values() if f.open), key=lambda file: file.order)

    def _take(self, file: MaskedFile) -> None:
        header = file.header
        if header.mint_id != self._session.header.mint_id or header.labels:
            return
        issuer = check_masked(file, self._session, self._trusted)
        digest = file.digest()
        if digest in self.files:
            return
        if self._rows[header.client].intersects(header.first, header.rows):
            raise SlotReused(f"masked file {file.path}: its masks were used for other faces")
        self._rows[header.client].add(header.first, header.rows)
        self.files[digest] = FaceFile(file, issuer.name, digest)
