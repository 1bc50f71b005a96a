"""Arrays of authenticated shares, and what a party does to them alone (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared import engine_ring, ring
from shared.errors import InputError, RangeError

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_LARGEST: Final = np.uint64((1 << 63) - 1)


class MacKey:
    """A party's shares of a session's MAC key and of the key of bits' tags.

    Arrays of different keys never mix.
    """

    __slots__ = ("alpha", "delta", "party")

    def __init__(self, party: int, alpha: U64, delta: U64) -> None:
        """alpha: (2,) uint64. delta: (1,) uint64."""
        self.party = party
        self.alpha = alpha
        self.delta = delta

    def destroy(self) -> None:
        """Overwrites the shares."""
        self.alpha[:] = 0
        self.delta[:] = 0

    def __repr__(self) -> str:
        return f"MacKey(party={self.party})"


class SharedArray:
    """This party's shares of numbers mod 2^64 and of their MACs; any shape.

    value, mac: (*shape, 2) uint64, elements of Z_{2^128}. `+`, `-` and unary `-` work on two such
    arrays or with public integers, `*` with public integers only (a product of two shared arrays
    takes a round, see `multiply`); all broadcast as NumPy does. Never true or false, never equal.
    """

    __slots__ = ("key", "mac", "value")
    __array_ufunc__ = None  # so that public + shared comes here

    def __init__(self, key: MacKey, value: U64, mac: U64) -> None:
        if value.shape != mac.shape or value.shape[-1:] != (2,):
            raise InputError(f"shares: found shapes {value.shape} and {mac.shape}")
        self.key = key
        self.value = value
        self.mac = mac

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape, without the axis of words."""
        return self.value.shape[:-1]

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.value.size // 2

    def __len__(self) -> int:
        return len(self.value) if self.shape else 0

    def __add__(self, other: SharedArray | ArrayLike) -> SharedArray:
        if isinstance(other, SharedArray):
            return self._combined(other, minus=False)
        return self.add_public(to_ring(other))

    __radd__ = __add__

    def __sub__(self, other: SharedArray | ArrayLike) -> SharedArray:
        if isinstance(other, SharedArray):
            return self._combined(other, minus=True)
        return self.add_public(ring.neg(to_ring(other)))

    def __rsub__(self, other: ArrayLike) -> SharedArray:
        return (-self) + other

    def __neg__(self) -> SharedArray:
        return SharedArray(self.key, ring.neg(self.value), ring.neg(self.mac))

    def __mul__(self, other: ArrayLike) -> SharedArray:
        if isinstance(other, SharedArray):
            raise InputError("two shared arrays are multiplied by `multiply`, which takes a round")
        return self.scale(to_ring(other))

    __rmul__ = __mul__

    def add_public(self, numbers: U64) -> SharedArray:
        """Plus public ring elements, (..., 2) uint64."""
        shape = _common(self.shape, numbers.shape[:-1])
        value = (
            engine_ring.add_broadcast(self.value, numbers, shape)
            if self.key.party == 0
            else np.broadcast_to(self.value, (*shape, 2))
        )
        known = engine_ring.scale(numbers, self.key.alpha)
        return SharedArray(self.key, value, engine_ring.add_broadcast(self.mac, known, shape))

    def _combined(self, other: SharedArray, *, minus: bool) -> SharedArray:
        same_session(self, other)
        shape = _common(self.shape, other.shape)
        return SharedArray(
            self.key,
            engine_ring.add_broadcast(self.value, other.value, shape, minus=minus),
            engine_ring.add_broadcast(self.mac, other.mac, shape, minus=minus),
        )

    def scale(self, numbers: U64) -> SharedArray:
        """Times public ring elements, (..., 2) uint64."""
        shape = _common(self.shape, numbers.shape[:-1])
        mine = self.broadcast_to(shape)
        if numbers.size == 2:
            factor = numbers.reshape(2)
            return SharedArray(
                self.key,
                engine_ring.scale(mine.value, factor),
                engine_ring.scale(mine.mac, factor),
            )
        public = np.ascontiguousarray(np.broadcast_to(numbers, (*shape, 2)))
        return SharedArray(self.key, ring.mul(mine.value, public), ring.mul(mine.mac, public))

    def sum(self, axis: int | None = None) -> SharedArray:
        """The sum along one axis, or of everything. Raises InputError for another axis."""
        if axis is None:
            return self.reshape(self.size).sum(0)
        count = len(self.shape)
        if not -count <= axis < count:
            raise InputError(f"sum: found axis {axis}, expected one of {count}")
        number = axis % count
        return SharedArray(
            self.key, engine_ring.total(self.value, number), engine_ring.total(self.mac, number)
        )

    def reshape(self, *shape: int) -> SharedArray:
        """The same elements in another shape. Raises InputError."""
        try:
            return SharedArray(self.key, self.value.reshape(*shape, 2), self.mac.reshape(*shape, 2))
        except ValueError:
            raise InputError(f"reshape: found shape {self.shape}, expected {shape}") from None

    def transpose(self) -> SharedArray:
        """The last two axes exchanged. Raises InputError for fewer axes."""
        if len(self.shape) < 2:
            raise InputError(f"transpose: found shape {self.shape}, expected two axes or more")
        return SharedArray(self.key, self.value.swapaxes(-2, -3), self.mac.swapaxes(-2, -3))

    def broadcast_to(self, shape: tuple[int, ...]) -> SharedArray:
        """Broadcast as NumPy does. Raises InputError."""
        if shape == self.shape:
            return self
        try:
            return SharedArray(
                self.key,
                np.broadcast_to(self.value, (*shape, 2)),
                np.broadcast_to(self.mac, (*shape, 2)),
            )
        except ValueError:
            raise InputError(f"broadcast: found shape {self.shape}, expected {shape}") from None

    def __getitem__(self, index: object) -> SharedArray:
        """Part of the array, by public indices as NumPy takes them. Raises InputError."""
        where = (*index, slice(None)) if isinstance(index, tuple) else (index, ...)
        if isinstance(index, tuple) and Ellipsis not in index:
            where = (*index, ...)
        try:
            value, mac = self.value[where], self.mac[where]
        except IndexError as error:
            raise InputError(f"index: {error}") from None
        return SharedArray(self.key, value, mac)

    def flat(self) -> tuple[U64, U64]:
        """Value and MAC shares as contiguous (size, 2) uint64."""
        return (
            np.ascontiguousarray(self.value).reshape(-1, 2),
            np.ascontiguousarray(self.mac).reshape(-1, 2),
        )

    def __bool__(self) -> NoReturn:
        raise TypeError("a shared array has no truth value")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("a shared array is not compared; use `equal`")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SharedArray(shape={self.shape})"


def broadcast(*arrays: SharedArray) -> tuple[SharedArray, ...]:
    """Arrays of one session in their common shape. Raises InputError."""
    same_session(*arrays)
    shape = _common(*(array.shape for array in arrays))
    return tuple(array.broadcast_to(shape) for array in arrays)


def same_session(*arrays: SharedArray) -> None:
    """Raises InputError unless all arrays are of one session."""
    if any(array.key is not arrays[0].key for array in arrays):
        raise InputError("shared arrays: found two sessions, expected one")


def stack(arrays: Sequence[SharedArray]) -> SharedArray:
    """Arrays of one shape along a new first axis. Raises InputError."""
    same_session(*arrays)
    if len({array.shape for array in arrays}) != 1:
        raise InputError(f"stack: found shapes {[array.shape for array in arrays]}, expected one")
    return SharedArray(
        arrays[0].key,
        np.stack([array.value for array in arrays]),
        np.stack([array.mac for array in arrays]),
    )


def concatenate(arrays: Sequence[SharedArray], axis: int = 0) -> SharedArray:
    """Arrays joined along an axis. Raises InputError."""
    same_session(*arrays)
    try:
        return SharedArray(
            arrays[0].key,
            np.concatenate([array.value for array in arrays], axis),
            np.concatenate([array.mac for array in arrays], axis),
        )
    except ValueError as error:
        raise InputError(f"concatenate: {error}") from None


def to_signed_numbers(values: ArrayLike) -> I64:
    """Integers as int64. Raises RangeError outside -2^63 .. 2^63 - 1, InputError for others."""
    try:
        array = np.asarray(values)
    except (OverflowError, ValueError) as error:
        raise InputError(f"numbers: {error}") from None
    if array.dtype == np.bool_:
        return array.astype(np.int64)
    if array.dtype == np.uint64 and array.size and array.max() > _LARGEST:
        raise RangeError("numbers: found one above 2^63 - 1, expected 64 bits with sign")
    if array.dtype == np.object_:
        if not all(type(value) is int for value in array.ravel()):
            raise InputError("numbers: expected integers")
        raise RangeError("numbers: found one outside -2^63 .. 2^63 - 1")
    if array.dtype.kind not in "iu":
        raise InputError(f"numbers: found {array.dtype}, expected integers")
    return array.astype(np.int64)


def to_ring(values: ArrayLike) -> U64:
    """Ring elements of integers, sign extended: (*shape, 2) uint64. Raises as above."""
    numbers = to_signed_numbers(values)
    out = np.empty((*numbers.shape, 2), dtype=np.uint64)
    out[..., 0] = numbers.view(np.uint64)
    out[..., 1] = (numbers >> np.int64(63)).view(np.uint64)
    return out


def low_word(words: U64) -> U64:
    """Ring elements mod 2^64: (...) uint64 of (..., 2)."""
    return np.ascontiguousarray(words[..., 0])


def ring_of_words(words: U64) -> U64:
    """Ring elements from numbers 0 .. 2^64 - 1: (..., 2) of (...)."""
    out = np.zeros((*words.shape, 2), dtype=np.uint64)
    out[..., 0] = words
    return out


def _common(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        found = " and ".join(map(str, shapes))
        raise InputError(f"shapes: found {found}, which do not fit together") from None
