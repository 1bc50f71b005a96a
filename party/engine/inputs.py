"""How numbers come into a session: from a party, from an outside client, from everybody."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from party.engine.arrays import MacKey, SharedArray, to_ring, to_signed_numbers
from party.engine.operation import Agreement, Context, Cost, Operation, Sending, Steps
from shared import engine_ring, ring
from shared.engine_plan import INPUTS, RANDOM_BIT, client
from shared.errors import InputError
from shared.hashing import digest

U64 = NDArray[np.uint64]


def public(key: MacKey, values: ArrayLike) -> SharedArray:
    """Shares of integers that both parties know: P0 has the value, both the MAC. No round."""
    numbers = to_ring(values)
    value = numbers if key.party == 0 else np.zeros_like(numbers)
    return SharedArray(key, value, engine_ring.scale(numbers, key.alpha))


def input_of(
    party: int, owner: int, shape: tuple[int, ...], values: ArrayLike | None
) -> Operation[SharedArray]:
    """The owner sends e = x - r for a mask r that it alone knows; [x] = [r] + e.

    One round, 16 bytes an element, one INPUT each. Raises InputError, RangeError.
    """
    if owner not in (0, 1):
        raise InputError(f"input: found owner {owner}, expected 0 or 1")
    count = int(np.prod(shape, dtype=np.int64))
    numbers: U64 | None = None
    if (values is None) == (party == owner):
        raise InputError("input: values are given at their owner, and nowhere else")
    if values is not None:
        found = to_signed_numbers(values)
        if found.shape != tuple(shape):
            raise InputError(f"input: found shape {found.shape}, expected {tuple(shape)}")
        numbers = to_ring(found).reshape(-1, 2)
    kind = INPUTS[owner]

    def steps(context: Context) -> Steps[SharedArray]:
        mask = context.take(kind, count).element(0)
        data = None if numbers is None else ring.sub(numbers, mask.value)
        (masked,) = yield (Sending(owner, count, data),)
        return _unmasked(mask, masked, shape)

    return Operation(Cost(1, 16 * count, {kind: count}), steps)


def input_of_client(
    number: int, shape: tuple[int, ...], masked: U64, first: int | None = None
) -> Operation[SharedArray]:
    """An outside client's numbers, from the e = x - r mod 2^128 that it sent to both parties.

    number: of the client. masked: (count, 2) uint64, in the order of its masks. first: the mask of
    the first one; without it, the next. One round without elements, in which the parties compare
    what they got; one CLIENT each. Raises InputError.
    """
    count = int(np.prod(shape, dtype=np.int64))
    if masked.shape != (count, 2) or masked.dtype != np.uint64:
        raise InputError(f"client input: found shape {masked.shape}, expected {(count, 2)}")
    kind = client(number)
    elements = np.ascontiguousarray(masked)

    def steps(context: Context) -> Steps[SharedArray]:
        items = context.take(kind, count, first)
        seen = digest("engine client", number, items.first, elements.tobytes())
        yield (Agreement(seen),)
        return _unmasked(items.element(0), elements, shape)

    return Operation(Cost(1, 0, {kind: count}), steps)


def random_bits(shape: tuple[int, ...]) -> Operation[SharedArray]:
    """Uniform bits that nobody knows. No round; one BITS(1) each."""
    count = int(np.prod(shape, dtype=np.int64))

    def steps(context: Context) -> Steps[SharedArray]:
        yield from ()
        return context.take(RANDOM_BIT, count).block(0, 1).reshape(*shape)

    return Operation(Cost(0, 0, {RANDOM_BIT: count}), steps)


def _unmasked(mask: SharedArray, masked: U64, shape: tuple[int, ...]) -> SharedArray:
    return mask.add_public(masked).reshape(*shape)
