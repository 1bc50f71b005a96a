"""A file that takes one input after the other."""

from __future__ import annotations

import os
from pathlib import Path


class Scratch:
    """A file that is written anew for each input, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes, size: int | None = None) -> Path:
        """The file holds these bytes, and zeros up to `size`."""
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, data, 0)
        os.ftruncate(self._handle, max(len(data), size or 0))
        return self.path
