"""Fixed inputs of the vectors: parameters, sets, entries, faces."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from tests.reference.mint import MaterialSet, Params

WINDOW = "2031-04-05"
SMALL = Params(
    dim=3,
    fraction_bits=3,
    headroom_bits=3,
    places=5,
    threshold=20,
    face_bound=8,
    entry_bound=7,
    model="vectors-3",
)
TWO_TILES = Params(
    dim=3,
    fraction_bits=12,
    headroom_bits=5,
    places=18,
    threshold=6039798,
    face_bound=9420,
    entry_bound=6922,
    model="vectors-3",
)
ENTRIES = {0: [3, -4, 0], 1: [0, 0, 0], 2: [-5, 1, 2], 3: [1, 1, 1], 4: [-2, 6, 3]}
# Distances to entry 0: 0, T - 1 = 19, T = 20, T + 1 = 21, far; and one more of the second camera.
FACES = [[3, -4, 0], [6, -1, 1], [5, 0, 0], [7, -3, 2], [-4, 5, -3], [-2, 6, 2]]


def drawn(label: str, size: int) -> bytes:
    """Fixed bytes that look random."""
    return hashlib.shake_256(f"twokey vectors 1: {label}".encode()).digest(size)


def material_set(camera: str) -> MaterialSet:
    """A set of the window of the vectors."""
    return MaterialSet(
        mint_id=drawn(f"{camera} mint id", 16),
        window=WINDOW,
        camera=camera,
        keys=(drawn(f"{camera} key 0", 32), drawn(f"{camera} key 1", 32)),
        states=(drawn(f"{camera} state 0", 32), drawn(f"{camera} state 1", 32)),
    )


def params_map(params: Params) -> dict[str, Any]:
    """Parameters as a map, in their order."""
    return asdict(params)


def plain(value: Any) -> Any:
    """Bytes as hex, lists and maps item by item, everything else as it is."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def typed(value: Any) -> Any:
    """As `plain`, but bytes can be told from text."""
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def altered(value: Any) -> Any:
    """Another value of the same kind: the lowest bit, or the first character, is changed."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    if isinstance(value, int):
        return value ^ 1
    raise TypeError(f"cannot alter {type(value).__name__}")
