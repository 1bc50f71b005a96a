"""Reading the published vectors."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "vectors" / "v1"
U64Array = NDArray[np.uint64]


@cache
def load(name: str) -> Any:
    """The content of one file."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def elements(texts: list[str], *shape: int) -> U64Array:
    """Ring elements from hex, (shape, 2) uint64."""
    flat = np.frombuffer(bytes.fromhex("".join(texts)), dtype="<u8").astype(np.uint64)
    return flat.reshape(*(shape or (len(texts),)), 2)


def words64(texts: list[str]) -> U64Array:
    """64-bit words from hex."""
    return np.frombuffer(bytes.fromhex("".join(texts)), dtype="<u8").astype(np.uint64)


def hex_all(texts: list[str]) -> list[bytes]:
    """Bytes from hex."""
    return [bytes.fromhex(text) for text in texts]
