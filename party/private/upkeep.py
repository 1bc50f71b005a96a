"""What is removed when a window of private matching is over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from party.materialfolder import remove
from party.private.lists import SharedLists
from shared import engine_header, masked_file
from shared.engine_header import read_engine_header
from shared.errors import TwokeyError
from shared.masked_file import read_masked
from shared.windowkeys import Window, destroy_ended_window_keys

log = logging.getLogger(__name__)


def forget_ended(state: Path, folders: Iterable[Path], lists: SharedLists, wall_ms: int) -> None:
    """Destroys the keys of windows that are over; removes their sessions, lists and faces.

    folders: where files of the dealer and of cameras are. Raises what keys that are not readable
    raise; files that are not are left.
    """
    for window in destroy_ended_window_keys(state, wall_ms):
        log.info("window %s has ended; its key is destroyed", window)
    lists.forget_ended(wall_ms)
    for folder in folders:
        for suffix, window_of in _KINDS:
            for path in sorted(folder.rglob(f"*{suffix}")):
                try:
                    over = window_of(path).end_ms <= wall_ms
                except TwokeyError:
                    continue
                if over and remove([path]):
                    log.info("%s: its window has ended, it is removed", path)


_KINDS: tuple[tuple[str, Callable[[Path], Window]], ...] = (
    (engine_header.SUFFIX, lambda path: read_engine_header(path).header.window),
    (masked_file.SUFFIX, lambda path: read_masked(path).header.window),
)
