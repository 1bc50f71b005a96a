"""Mutations of valid encodings: of their bytes, and of the tree that they stand for."""

from __future__ import annotations

import json
import math
import random
import tomllib
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

import msgpack

from shared.config import to_toml
from shared.errors import ConfigError

_INTEGERS: Final = (
    *(0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, -1, -2, -(2**63)),
    *(value + step for value in (2**16, 2**31, 2**32, 2**63, 2**64) for step in (-1, 0)),
)
_TEXTS: Final = ("", "a", "p0", "camera", "\n", "\0", "é", "e\u0301", "\u202e", "9" * 40, "00" * 32)
_ODD: Final[tuple[Any, ...]] = (None, True, False, 0.0, 1.0, -1.5, math.nan, math.inf, [], {}, b"")
_WIDTHS: Final = (1, 2, 4, 8)
_MOST_BYTES: Final = 1 << 16
_DEEP: Final = 2_000


class Syntax(Enum):
    """What the bytes of an input are, for mutations that leave them well formed."""

    RAW = "raw"
    FRAMES = "frames"  # as `join` puts them, the first one msgpack
    MSGPACK = "msgpack"
    ROWS = "rows"  # msgpack that stays so
    JSON = "json"
    JSON_LINES = "json lines"
    TOML = "toml"


def join(frames: Sequence[bytes | memoryview]) -> bytes:
    """Frames as one input: each one a u32 of its length, and itself."""
    return b"".join(len(bytes(f)).to_bytes(4, "little") + bytes(f) for f in frames)


def split(data: bytes) -> list[bytes]:
    """The frames of any input; a length that reaches beyond the end is cut."""
    frames = []
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        frames.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return frames


def mutated(rng: random.Random, syntax: Syntax, data: bytes, others: Sequence[bytes]) -> bytes:
    """One to four mutations. others: valid inputs to take pieces from."""
    limit = max(_MOST_BYTES, 2 * len(data))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        chance = {Syntax.RAW: 0.0, Syntax.ROWS: 1.0}.get(syntax, 0.6)
        whole = rng.random() < chance
        data = of_tree(rng, syntax, data) if whole else _of_bytes(rng, data, others)
    return data[:limit]


# -- bytes -----------------------------------------------------------------------------


def _of_bytes(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    operation = rng.choice(_OPERATIONS)
    start = rng.randrange(len(data) + 1)
    stop = min(len(data), start + int(2 ** rng.uniform(0, 7)))
    return operation(rng, data, start, stop, others)


def _flip(rng: random.Random, data: bytes, start: int, _: int, __: Sequence[bytes]) -> bytes:
    if start == len(data):
        return data + bytes([rng.randrange(256)])
    return data[:start] + bytes([data[start] ^ 1 << rng.randrange(8)]) + data[start + 1 :]


def _put(rng: random.Random, data: bytes, start: int, _: int, __: Sequence[bytes]) -> bytes:
    width = rng.choice(_WIDTHS)
    value = rng.choice(_INTEGERS) % (1 << 8 * width)
    order = rng.choice(("little", "big"))
    content = value.to_bytes(width, "little" if order == "little" else "big")
    return data[:start] + content + data[start + width :]


def _drop(_: random.Random, data: bytes, start: int, stop: int, __: Sequence[bytes]) -> bytes:
    return data[:start] + data[stop:]


def _repeat(rng: random.Random, data: bytes, start: int, stop: int, _: Sequence[bytes]) -> bytes:
    return data[:stop] + data[start:stop] * rng.choice((1, 1, 2, 20)) + data[stop:]


def _cut(_: random.Random, data: bytes, start: int, __: int, ___: Sequence[bytes]) -> bytes:
    return data[:start]


def _insert(rng: random.Random, data: bytes, start: int, _: int, __: Sequence[bytes]) -> bytes:
    return data[:start] + rng.randbytes(rng.randrange(1, 9)) + data[start:]


def _splice(
    rng: random.Random, data: bytes, start: int, stop: int, others: Sequence[bytes]
) -> bytes:
    other = rng.choice(others)
    at = rng.randrange(len(other) + 1)
    return data[:start] + other[at : at + stop - start] + data[stop:]


def _swap(rng: random.Random, data: bytes, start: int, stop: int, _: Sequence[bytes]) -> bytes:
    size = stop - start
    at = rng.randrange(len(data) + 1)
    low, high = sorted((start, at))
    if high + size > len(data) or low + size > high:
        return data[::-1]
    middle = data[low + size : high]
    return (
        data[:low]
        + data[high : high + size]
        + middle
        + data[low : low + size]
        + data[high + size :]
    )


def _cross(rng: random.Random, data: bytes, start: int, _: int, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return data[:start] + other[min(start, len(other)) :]


_Operation = Callable[[random.Random, bytes, int, int, Sequence[bytes]], bytes]
_OPERATIONS: Final[tuple[_Operation, ...]] = (
    _flip,
    _flip,
    _put,
    _drop,
    _repeat,
    _cut,
    _insert,
    _splice,
    _swap,
    _cross,
)


# -- trees -----------------------------------------------------------------------------


def of_tree(rng: random.Random, syntax: Syntax, data: bytes) -> bytes:
    """The input with one node of its tree changed; as it is where it has no tree."""
    try:
        if syntax is Syntax.FRAMES:
            return _of_frames(rng, data)
        if syntax in (Syntax.MSGPACK, Syntax.ROWS):
            return _packed(changed(rng, _unpacked(data)))
        if syntax is Syntax.JSON:
            return _json(changed(rng, json.loads(data)))
        if syntax is Syntax.JSON_LINES:
            lines = data.split(b"\n")
            at = rng.randrange(len(lines))
            lines[at] = _json(changed(rng, json.loads(lines[at])))
            return b"\n".join(lines)
        return _toml(changed(rng, tomllib.loads(data.decode())))
    except (ValueError, TypeError, OverflowError, RecursionError, ConfigError):
        return data


def _of_frames(rng: random.Random, data: bytes) -> bytes:
    frames = split(data)
    at = rng.randrange(len(frames) + 1)
    if at == len(frames):
        return join([*frames, rng.choice([*frames, b""])])
    if at == 0:
        frames[0] = _packed(changed(rng, _unpacked(frames[0])))
    elif rng.random() < 0.2:
        del frames[at]
    else:
        frames[at] = _of_bytes(rng, frames[at], frames)
    return join(frames)


def changed(rng: random.Random, tree: Any) -> Any:
    """The tree with one node replaced, dropped, doubled, moved, or its key renamed."""
    if not isinstance(tree, list | dict) or not tree or rng.random() < 0.1:
        return _other(rng, tree)
    if isinstance(tree, dict):
        return _changed_map(rng, tree)
    items = list(tree)
    at = rng.randrange(len(items))
    choice = rng.random()
    if choice < 0.7:
        items[at] = changed(rng, items[at])
    elif choice < 0.8:
        del items[at]
    elif choice < 0.9:
        items.insert(at, rng.choice(items))
    else:
        rng.shuffle(items)
    return items


def _changed_map(rng: random.Random, tree: dict[Any, Any]) -> dict[Any, Any]:
    pairs = list(tree.items())
    at = rng.randrange(len(pairs))
    name, value = pairs[at]
    choice = rng.random()
    if choice < 0.7:
        pairs[at] = (name, changed(rng, value))
    elif choice < 0.8:
        del pairs[at]
    elif choice < 0.9:
        pairs[at] = (rng.choice(_TEXTS), value)
    else:
        rng.shuffle(pairs)
    return dict(pairs)


def _other(rng: random.Random, value: Any) -> Any:
    """Another value, most often of the same type."""
    if rng.random() < 0.25:
        if rng.random() < 0.02:
            return _deep(value)
        return rng.choice((*_ODD, *_INTEGERS, *_TEXTS, [value], {"": value}))
    if isinstance(value, bool) or value is None:
        return rng.choice(_ODD)
    if isinstance(value, int):
        return rng.choice((*_INTEGERS, value + 1, value - 1, value ^ 1 << rng.randrange(64)))
    if isinstance(value, float):
        return rng.choice((0.0, -value, value * 1e300, math.nan, 5e-324, float(int(value))))
    if isinstance(value, bytes):
        return _of_bytes(rng, value, [value])
    if isinstance(value, str):
        content = _of_bytes(rng, value.encode(), [text.encode() for text in _TEXTS])
        return rng.choice((*_TEXTS, content.decode(errors="replace"), value.upper(), value + " "))
    return rng.choice(_ODD)


def _deep(value: Any) -> Any:
    for _ in range(_DEEP):
        value = [value]
    return value


def _unpacked(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False, strict_map_key=False)


def _packed(tree: Any) -> bytes:
    return bytes(msgpack.packb(tree, use_bin_type=True))


def _json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def _toml(tree: Any) -> bytes:
    if not isinstance(tree, dict):
        raise ConfigError("a TOML file is a table")
    return "".join(f"{json.dumps(str(key))} = {to_toml(tree[key])}\n" for key in tree).encode()
