"""Names of sets: one minting attempt for one camera in one window (encodings E1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import InputError
from shared.hashing import digest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class SetName:
    """A set's full name: mint id (16 bytes), window, camera."""

    mint_id: bytes
    window: str
    camera: str

    def digest(self) -> bytes:
        """32 bytes that name the set."""
        return digest("set", self.mint_id, self.window, self.camera)

    def set_id(self) -> bytes:
        """8 bytes, for use where both sides know the full name."""
        return self.digest()[:8]


def check_name(kind: str, name: str) -> str:
    """The name itself if it is fit for a window or camera; else InputError."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{kind} {name!r:.80}: expected 1 to 64 letters, digits, '.', '_' or '-', "
            "beginning with a letter or digit"
        )
    return name
