"""What a camera or an authority supplies to private matching, masked (docs/engine.md)."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np

from camera.pipeline import Captured, in_range
from shared import watchlist
from shared.engine_client import ClientMasks
from shared.engine_file import EngineFile
from shared.engine_header import read_engine_header
from shared.errors import AuthenticationFailed, FormatError, InputError, ResourceError, SlotReused
from shared.keys import Role
from shared.masked_file import write_masked
from shared.params import Parameters
from shared.private_plan import AUTHORITY, PrivateShape
from shared.roles import RoleFolder
from shared.windowkeys import destroy_ended_window_keys, load_private_window_key


class Sharer:
    """A client's folder with one session's masks. Use as a context manager.

    Raises ConfigError, AuthenticationFailed, FormatError, HeaderMismatch, InputError (a file that
    is not for private matching, or not for this role), ResourceError (its window has ended).
    """

    def __init__(self, folder: Path, masks: Path, role: Role) -> None:
        own = RoleFolder(folder)
        self._identity = own.identity(role)
        self._masks: ClientMasks | None = None
        now_ms = time.time_ns() // 1_000_000
        destroy_ended_window_keys(own.state, now_ms)
        dealer = own.trusted().the("dealer")
        where = f"engine file {masks}"
        header = read_engine_header(masks).verify(dealer, where)
        if header.window.end_ms <= now_ms:
            raise ResourceError(f"{where}: its window {header.window} has ended")
        key = load_private_window_key(own.state, header.window.id, role, self._identity.name)
        try:
            file = EngineFile.open(masks, dealer=dealer, window_key=key)
        finally:
            key.destroy()
        try:
            self.shape = PrivateShape.of(file.header, where)
            number = file.header.client
            if file.header.clients[number] != self._identity.public.digest():
                raise AuthenticationFailed(f"{where}: not made for {self._identity.name}")
            if (number == AUTHORITY) != (role == "authority"):
                raise InputError(f"{where}: its client {number} is not of the role {role}")
            self._masks = ClientMasks(file, own.state)
        except BaseException:
            file.close()
            raise

    @property
    def params(self) -> Parameters:
        """The public parameters of the session."""
        return self.shape.params

    def entries(self, path: Path, out: Path) -> Path:
        """The masked entries of a watchlist file; each name is an alias that both parties read.

        Room that the list leaves is filled with entries that no face can match. Raises InputError,
        ModelMismatch, RangeError, SlotReused (the masks are used).
        """
        masks = self._open()
        if masks.position:
            raise SlotReused(
                f"session {masks.header.name}: its entries were shared before; a list goes with a "
                "session of its own"
            )
        found = watchlist.load(path).entries(self.params)
        room = self.shape.entries
        if not 0 < len(found) <= room:
            raise InputError(f"{path}: found {len(found)} entries, expected 1 to {room}")
        rows = np.zeros((room, self.params.dim), dtype=np.int64)
        rows[:, 0] = _out_of_reach(self.params)
        rows[: len(found)] = [entry.coordinates for entry in found]
        labels = tuple(entry.name for entry in found)
        return write_masked(out, self._identity, masks, self.params, rows, labels=labels)

    def faces(self, captured: list[Captured], out: Path) -> Path | None:
        """The masked faces, with their squared norms and capture times; None without a face.

        Raises MaterialExhausted.
        """
        faces = np.concatenate(
            [np.empty((0, self.params.dim), np.int64), *(one.faces for one in captured)]
        )
        times = tuple(one.capture_ms for one in captured for _ in one.faces)
        if not times:
            return None
        rows = np.concatenate([faces, (faces * faces).sum(axis=1, keepdims=True)], axis=1)
        return write_masked(out, self._identity, self._open(), self.params, rows, times=times)

    def close(self) -> None:
        """Destroys the keys."""
        if self._masks is not None:
            self._masks.close()
            self._masks = None

    def __enter__(self) -> Sharer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> ClientMasks:
        if self._masks is None:
            raise ValueError("masks were asked for after they were closed")
        return self._masks


def embedded(path: Path, params: Parameters, capture_ms: int) -> Captured:
    """Faces that were embedded elsewhere: a .npy file, float32 or float64 (F, d).

    Raises FormatError, InputError.
    """
    try:
        found: object = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        raise FormatError(f"{path}: not a NumPy array in a file of its own") from None
    if not isinstance(found, np.ndarray) or found.shape[1:] != (params.dim,):
        shape = found.shape if isinstance(found, np.ndarray) else "several arrays"
        raise FormatError(f"{path}: found {shape}, expected (F, {params.dim})")
    if found.dtype not in (np.float32, np.float64):
        raise FormatError(f"{path}: found {found.dtype}, expected float32 or float64")
    faces, dropped = in_range(found.astype(np.float64), params)
    return Captured(capture_ms, faces, dropped)


def _out_of_reach(params: Parameters) -> int:
    """A first coordinate so large that D >= T for every face that is in range."""
    return params.face_bound + math.isqrt(params.threshold) + 1
