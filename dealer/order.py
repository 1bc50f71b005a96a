"""What is to be minted: one window, its parameters, the cameras and everybody's window keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import AuthenticationFailed, InputError
from shared.materialheader import (
    RECIPIENTS,
    SLOTS_LIMIT,
    ChunkKind,
    Recipient,
    chunk_slots,
)
from shared.params import Parameters
from shared.sets import check_name
from shared.trust import TrustedIdentities
from shared.windowkeys import (
    TAG_BYTES,
    Window,
    WindowKey,
    load_window_key,
    public_file_name,
)

MATERIAL_SUFFIX = ".tkm"
# Header, signature, and what a file system rounds up.
_FILE_OVERHEAD = 8 << 10


@dataclass(frozen=True, slots=True)
class CameraOrder:
    """Slots for one camera, and the key that its file is sealed to."""

    name: str
    slots: int
    key: WindowKey


@dataclass(frozen=True, slots=True)
class MintOrder:
    """One window's material. Raises InputError when its parts do not fit together."""

    params: Parameters
    window: Window
    p0: WindowKey
    p1: WindowKey
    cameras: tuple[CameraOrder, ...]

    def __post_init__(self) -> None:
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise InputError("cameras: a name is there twice")
        for camera in self.cameras:
            check_name("camera", camera.name)
            if not 1 <= camera.slots <= SLOTS_LIMIT:
                raise InputError(
                    f"camera {camera.name}: found {camera.slots} slots, expected 1 to {SLOTS_LIMIT}"
                )
        for key, role in (
            (self.p0, "p0"),
            (self.p1, "p1"),
            *((c.key, "camera") for c in self.cameras),
        ):
            if key.owner.role != role:
                raise AuthenticationFailed(
                    f"window key of {key.owner.role} {key.owner.name}, expected one of a {role}"
                )
            if key.window != self.window:
                raise InputError(
                    f"window key of {role} {key.owner.name} is for {key.window}, "
                    f"expected {self.window}"
                )

    def keys(self, camera: CameraOrder) -> dict[Recipient, WindowKey]:
        """The recipients of a camera's set."""
        return {"p0": self.p0, "p1": self.p1, "camera": camera.key}

    def file_bytes(self, camera: CameraOrder) -> int:
        """Disk space of a camera's three files, rounded up."""
        total = len(RECIPIENTS) * _FILE_OVERHEAD
        sizes = {
            ChunkKind.PREPARE: self.params.slot_prepare_bytes,
            ChunkKind.MATCH: self.params.slot_match_bytes,
        }
        for role in RECIPIENTS:
            for kind, size in sizes.items():
                per_chunk = chunk_slots(self.params, role, kind)
                if per_chunk:
                    total += camera.slots * size + -(-camera.slots // per_chunk) * TAG_BYTES
        return total


def material_path(out: Path, window: str, recipient: Recipient, camera: str) -> Path:
    """Where a file goes: one folder for each recipient."""
    return out / window / recipient / f"{camera}{MATERIAL_SUFFIX}"


def read_order(
    params: Parameters,
    window_id: str,
    cameras: Iterable[tuple[str, int]],
    trusted: TrustedIdentities,
    keys: Path,
) -> MintOrder:
    """An order for the window that the recipients' published keys agree on.

    cameras: names and slots. keys: the folder of published window keys. Raises ConfigError
    (somebody not trusted, a key missing), AuthenticationFailed, FormatError, InputError.
    """
    check_name("window", window_id)

    def key(role: Recipient, camera: str | None = None) -> WindowKey:
        owner = trusted.the(role) if camera is None else trusted.camera(camera)
        path = keys / public_file_name(role, owner.name, window_id)
        return load_window_key(path, owner, window_id)

    p0, p1 = key("p0"), key("p1")
    chosen = tuple(CameraOrder(name, slots, key("camera", name)) for name, slots in cameras)
    if not chosen:
        raise InputError("no camera is listed, expected at least one")
    return MintOrder(params, p0.window, p0, p1, chosen)
