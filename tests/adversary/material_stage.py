"""A small window's files as the programs write them, and what a thief reads from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camera.masking import Masker
from camera.ratchetfile import RatchetState
from shared.keys import Identity, create_identity
from shared.materialfile import CameraSeeds, MaterialFile
from shared.materialheader import SignedHeader
from shared.materialwriter import MaterialWriter, seal_header
from shared.params import Parameters
from shared.secret import Secret
from shared.sets import SetName
from shared.windowkeys import (
    Window,
    load_private_window_key,
    load_window_key,
    publish_window_key,
)
from tests.reference.blocks import M32, low_limb, ratchet_key, ratchet_state
from tests.reference.samples import SMALL, drawn, params_map

PARAMS = Parameters(**params_map(SMALL))
WINDOW = Window("2031-04-05", 1_932_940_800_000, 1_933_027_200_000)
CAMERA = "north"
NAME = SetName(drawn("north mint id", 16), WINDOW.id, CAMERA)
SLOTS = 256
STATES = (drawn("stage state 0", 32), drawn("stage state 1", 32))


@dataclass(frozen=True)
class Stage:
    """A dealer, and a camera with its state folder and the file that was made for it."""

    dealer: Identity
    camera: Identity
    state: Path
    published: Path
    file: Path


def set_up(folder: Path) -> Stage:
    """Identities, a window key, and the camera's material file."""
    dealer, camera = create_identity("dealer", "dealer"), create_identity("camera", CAMERA)
    state = folder / "state"
    state.mkdir(mode=0o700)
    published = publish_window_key(camera, state, folder / "published", WINDOW)
    stage = Stage(dealer, camera, state, published, folder / "north.tkm")
    write(stage.file, sealed_for_camera(stage, STATES), b"")
    return stage


def sealed_for_camera(stage: Stage, states: tuple[bytes, bytes]) -> SignedHeader:
    """A header signed by the dealer, with these ratchet states sealed for the camera."""
    recipient = load_window_key(stage.published, stage.camera.public, WINDOW.id)
    seeds = CameraSeeds(Secret(states[0]), Secret(states[1]))
    return seal_header(stage.dealer, recipient, PARAMS, NAME, SLOTS, seeds, bytes(32))


def write(path: Path, signed: SignedHeader, content_key: bytes) -> None:
    """A camera's file: it has no chunks."""
    with MaterialWriter(path, signed, content_key or bytes(32)) as writer:
        writer.finish()
        writer.commit()


def states_in(stage: Stage, path: Path) -> tuple[bytes, bytes]:
    """The ratchet states that a file holds, for who has the camera's window key."""
    key = load_private_window_key(stage.state, WINDOW.id, "camera", CAMERA)
    with MaterialFile.open(
        path, dealer=stage.dealer.public, window_key=key, params=PARAMS, camera=CAMERA
    ) as opened:
        seeds = opened.camera_seeds()
        return seeds.ratchet0.reveal(), seeds.ratchet1.reveal()


def masked(states: tuple[bytes, bytes], slot: int, x: list[int]) -> list[int]:
    """e as the camera sends it."""
    masker = Masker(PARAMS, RatchetState(0, states[0] + states[1]))
    faces: NDArray[np.int64] = np.array([x], dtype=np.int64)
    result: list[int] = masker.mask(slot, faces)[0].tolist()
    return result


def unmasked(states: tuple[bytes, bytes], slot: int, e: list[int], block: int = 0) -> list[int]:
    """The face behind e, for who has both states of a ratchet block at or before the slot's."""
    walked = [ratchet_state(state, slot // 64 - block) for state in states]
    lows = [ratchet_key(state, slot % 64) for state in walked]
    total = [
        (value + low_limb(lows[0], slot, i) + low_limb(lows[1], slot, i)) & M32
        for i, value in enumerate(e)
    ]
    return [v - (1 << 32) if v >> 31 else v for v in total[: SMALL.dim]]


def stolen_states(folder: Path) -> Iterator[tuple[bytes, bytes]]:
    """Every pair of neighbouring 32 bytes in every file of a stolen folder, but for blank ones.

    Also what is there as hex text.
    """
    for path in sorted(folder.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        for start in range(len(content) - 63):
            pair = content[start : start + 64]
            if pair.count(0) < 8:
                yield pair[:32], pair[32:]
            if start < len(content) - 127:
                text = content[start : start + 128]
                if text.isalnum():
                    try:
                        decoded = bytes.fromhex(text.decode())
                    except ValueError:
                        continue
                    yield decoded[:32], decoded[32:]
