"""One job at a time in a window's folder of material."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self

from shared.atomicfile import file_error, make_folder
from shared.errors import Locked


class FolderLock:
    """Holds a folder, which is made where it is missing, until `close` or the end of a context.

    Raises Locked when another job works there, ConfigError.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder, "material folder", mode=0o755)
        path = folder / ".lock"
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise file_error(error, "material folder", path) from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise Locked(f"{folder}: another job is minting there") from None
        except OSError as error:
            self.close()
            raise file_error(error, "material folder", path) from None

    def close(self) -> None:
        """Lets go of the folder."""
        os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
