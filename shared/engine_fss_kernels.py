"""The kernels of `engine_fss`: generation and evaluation of keys over addresses of arrays.

The IR of `engine_fss_ir` evaluates where the host has AES instructions; generation, and evaluation
elsewhere, goes block by block. Secret bits act as masks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types
from numba.extending import intrinsic

from shared import aes_ir, aes_portable, engine_fss_ir, kernels
from shared.aes_ir import Lanes
from shared.aes_schedule import expand_key_128
from shared.kernels import FOUR_BLOCKS, PORTABLE, TWO_BLOCKS, compiled, helper, load64, store64
from shared.wide import add as _add
from shared.wide import sub as _sub

KEY_TILE: Final = 16  # keys lie, and are evaluated, side by side in tiles of this many

_ONE: Final = np.uint64(1)
_CLEAR: Final = np.uint64((1 << 64) - 8)  # a seed's three low bits are zero
_ZERO: Final = np.uint64(0)


@intrinsic(prefer_literal=True)
def _fixed_key(typing_context: Any, blocks: Any, keys: Any, low: Any, high: Any) -> Any:
    """G of encodings E3 on one block of two u64; zero where the host lacks the instructions."""
    pair = types.UniTuple(types.uint64, 2)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = kernels.target(signature.args[0])
        if target is None:
            zero = context.get_constant(types.uint64, 0)
            return context.make_tuple(builder, signature.return_type, [zero, zero])
        lanes = Lanes(builder, target)
        rounds = lanes.round_keys(args[1], aes_ir.ROUNDS_128)
        (block,) = lanes.encrypt([lanes.pair(args[2], args[3])], rounds, feed=True)
        words = [
            builder.extract_element(block, context.get_constant(types.int32, i)) for i in (0, 1)
        ]
        return context.make_tuple(builder, signature.return_type, words)

    return pair(blocks, types.int64, types.uint64, types.uint64), emit


@helper
def _portable_block(keys: Any, low: Any, high: Any) -> Any:
    p, q = aes_portable.encrypt(keys, 10, low, high)
    return p ^ low, q ^ high


@helper
def _block(kernel: Any, keys: Any, low: Any, high: Any) -> Any:
    if kernel == PORTABLE:
        return _portable_block(keys, low, high)
    return _fixed_key(1, keys, low, high)


@intrinsic(prefer_literal=True)
def _evaluate_keys(
    typing_context: Any,
    blocks: Any,
    vectors: Any,
    comparison: Any,
    keys: Any,
    roots: Any,
    words: Any,
    leaves: Any,
    width: Any,
    start: Any,
    last: Any,
    points: Any,
    control: Any,
    levels: Any,
    value: Any,
    mac: Any,
) -> Any:
    """`engine_fss_ir.evaluate`; nothing where the host lacks the instructions."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = kernels.target(signature.args[0])
        if target is not None:
            vectors, comparison = (argument.literal_value for argument in signature.args[1:3])
            function = engine_fss_ir.evaluate(
                builder.module, target, vectors, comparison=bool(comparison)
            )
            builder.call(function, args[3:])
        return context.get_dummy_value()

    return types.void(blocks, vectors, comparison, *[types.int64] * 12), emit


@helper
def _mask(bit: Any) -> Any:
    """All ones for bit 0 of a word set, else zero."""
    return _ZERO - (bit & _ONE)


@helper
def _select(mask: Any, a: Any, b: Any) -> Any:
    return b ^ (mask & (a ^ b))


@helper
def _signed(low: Any, high: Any, minus: Any) -> Any:
    """The number, or its negative where `minus` is all ones."""
    return _sub(low ^ minus, high ^ minus, minus, minus)


@compiled
def evaluate(
    kernel: int,
    comparison: int,
    party: int,
    domain: int,
    keys: int,
    first: int,
    count: int,
    tile_keys: int,
    roots: int,
    words: int,
    points: int,
    value: int,
    mac: int,
) -> None:
    levels = domain - 1
    level_bytes = 48 if comparison else 16
    memory = np.empty(44, dtype=np.uint32)
    rounds = memory.ctypes.data
    state = np.empty((KEY_TILE, 8), dtype=np.uint64)
    minus = _mask(np.uint64(party))
    done = 0
    while done < count:
        tile = (first + done) // KEY_TILE
        begin = first + done - tile * KEY_TILE
        width = min(KEY_TILE, keys - tile * KEY_TILE)
        number = min(width - begin, count - done)
        expand_key_128(kernel, tile_keys + 16 * tile, rounds)
        base = words + tile * KEY_TILE * (levels * level_bytes + 64)
        own, at = roots + 16 * done, points + 8 * done
        out_value, out_mac = value + 16 * done, mac + 16 * done
        leaves = base + levels * width * level_bytes + 64 * begin
        if kernel == PORTABLE:
            _evaluate_portable(
                comparison,
                rounds,
                own,
                base,
                begin,
                width,
                number,
                at,
                minus,
                levels,
                state,
                out_value,
                out_mac,
            )
        else:
            _evaluate_tile(
                kernel,
                comparison,
                rounds,
                own,
                base + 16 * begin,
                leaves,
                width,
                number,
                at,
                -np.int64(party),
                levels,
                out_value,
                out_mac,
            )
        for i in range(2 * number):
            place = (out_mac if i >= number else out_value) + 16 * (i % number)
            p, q = _signed(load64(place), load64(place + 8), minus)
            store64(place, p)
            store64(place + 8, q)
        done += number


@helper
def _evaluate_tile(
    kernel: Any,
    comparison: Any,
    rounds: Any,
    roots: Any,
    words: Any,
    leaves: Any,
    width: Any,
    count: Any,
    points: Any,
    control: Any,
    levels: Any,
    value: Any,
    mac: Any,
) -> None:
    at = 0
    if kernel == FOUR_BLOCKS and count >= 4:
        last = count - 4
        if comparison:
            _evaluate_keys(
                4,
                4,
                1,
                rounds,
                roots,
                words,
                leaves,
                width,
                at,
                last,
                points,
                control,
                levels,
                value,
                mac,
            )
        else:
            _evaluate_keys(
                4,
                4,
                0,
                rounds,
                roots,
                words,
                leaves,
                width,
                at,
                last,
                points,
                control,
                levels,
                value,
                mac,
            )
    elif kernel >= TWO_BLOCKS and count >= 2:
        last = count - 2
        while comparison and at < count:
            _evaluate_keys(
                2,
                4,
                1,
                rounds,
                roots,
                words,
                leaves,
                width,
                at,
                last,
                points,
                control,
                levels,
                value,
                mac,
            )
            at += 8
        while at < count:
            _evaluate_keys(
                2,
                8,
                0,
                rounds,
                roots,
                words,
                leaves,
                width,
                at,
                last,
                points,
                control,
                levels,
                value,
                mac,
            )
            at += 16
    else:
        last = count - 1
        while comparison and at < count:
            _evaluate_keys(
                1,
                4,
                1,
                rounds,
                roots,
                words,
                leaves,
                width,
                at,
                last,
                points,
                control,
                levels,
                value,
                mac,
            )
            at += 4
        while at < count:
            _evaluate_keys(
                1,
                8,
                0,
                rounds,
                roots,
                words,
                leaves,
                width,
                at,
                last,
                points,
                control,
                levels,
                value,
                mac,
            )
            at += 8


@helper
def _evaluate_portable(
    comparison: Any,
    rounds: Any,
    roots: Any,
    base: Any,
    begin: Any,
    width: Any,
    number: Any,
    points: Any,
    minus: Any,
    levels: Any,
    state: Any,
    value: Any,
    mac: Any,
) -> None:
    """Keys begin to begin + number - 1 of a tile, block by block; the signs are left alone."""
    level_bytes = 48 if comparison else 16
    for i in range(number):
        state[i, 0] = load64(roots + 16 * i) & _CLEAR
        state[i, 1] = load64(roots + 16 * i + 8)
        state[i, 2] = minus
        for j in range(4):
            state[i, 4 + j] = _ZERO
    for level in range(levels):
        shift = np.uint64(levels - level)
        at = base + level * width * level_bytes
        for i in range(number):
            side = (load64(points + 8 * i) >> shift) & _ONE
            low, high, control = state[i, 0], state[i, 1], state[i, 2]
            place = begin + i
            correction = load64(at + 16 * place)
            if comparison:
                constant = np.uint64(2) + (side << _ONE)
                for part in range(2):
                    payload = at + 16 * (width * (1 + part) + place)
                    p, q = _portable_block(rounds, low ^ (constant + np.uint64(part)), high)
                    p, q = _add(state[i, 4 + 2 * part], state[i, 5 + 2 * part], p, q)
                    p, q = _add(p, q, load64(payload) & control, load64(payload + 8) & control)
                    state[i, 4 + 2 * part], state[i, 5 + 2 * part] = p, q
            p, q = _portable_block(rounds, low ^ side, high)
            state[i, 0] = (p ^ (correction & control)) & _CLEAR
            state[i, 1] = q ^ (load64(at + 16 * place + 8) & control)
            state[i, 2] = _mask(p ^ ((correction >> side) & control))
    leaves = base + levels * width * level_bytes
    for i in range(number):
        side = load64(points + 8 * i) & _ONE
        low, high, control = state[i, 0], state[i, 1], state[i, 2]
        leaf = leaves + 64 * (begin + i) + 32 * np.int64(side)
        constant = np.uint64(2) + (side << _ONE)
        for part in range(2):
            p, q = _portable_block(rounds, low ^ (constant + np.uint64(part)), high)
            p, q = _add(state[i, 4 + 2 * part], state[i, 5 + 2 * part], p, q)
            word = leaf + 16 * part
            p, q = _add(p, q, load64(word) & control, load64(word + 8) & control)
            out = (mac if part else value) + 16 * i
            store64(out, p)
            store64(out + 8, q)


@helper
def _difference(kernel: Any, rounds: Any, low0: Any, high0: Any, low1: Any, high1: Any) -> Any:
    """P0's block minus P1's as a number mod 2^128."""
    p, q = _block(kernel, rounds, low0, high0)
    r, s = _block(kernel, rounds, low1, high1)
    return _sub(p, q, r, s)


@compiled
def generate(
    kernel: int,
    comparison: int,
    domain: int,
    count: int,
    tile_keys: int,
    roots0: int,
    roots1: int,
    points: int,
    below: int,
    from_: int,
    words: int,
) -> None:
    levels = domain - 1
    level_bytes = 48 if comparison else 16
    memory = np.empty(44, dtype=np.uint32)
    rounds = memory.ctypes.data
    total = np.empty(4, dtype=np.uint64)
    for item in range(count):
        tile = item // KEY_TILE
        place = item - tile * KEY_TILE
        width = min(KEY_TILE, count - tile * KEY_TILE)
        if place == 0:
            expand_key_128(kernel, tile_keys + 16 * tile, rounds)
        base = words + tile * KEY_TILE * (levels * level_bytes + 64)
        low0, high0 = load64(roots0 + 16 * item) & _CLEAR, load64(roots0 + 16 * item + 8)
        low1, high1 = load64(roots1 + 16 * item) & _CLEAR, load64(roots1 + 16 * item + 8)
        control0 = _ZERO
        point = load64(points + 8 * item)
        total[:] = _ZERO
        for level in range(levels):
            bit = _mask(point >> np.uint64(levels - level))
            at = base + level * width * level_bytes
            # t_0 xor t_1 = 1 all along the path to the point; the sign of t_0 - t_1 follows.
            control1 = ~control0
            if comparison:
                for part in range(2):
                    left = np.uint64(2 + part)
                    right = np.uint64(4 + part)
                    p, q = _difference(kernel, rounds, low0 ^ left, high0, low1 ^ left, high1)
                    r, s = _difference(kernel, rounds, low0 ^ right, high0, low1 ^ right, high1)
                    lose_low, lose_high = _select(bit, p, r), _select(bit, q, s)
                    keep_low, keep_high = _select(bit, r, p), _select(bit, s, q)
                    source = 32 * item + 16 * part
                    beta_low = _select(bit, load64(below + source), load64(from_ + source))
                    beta_high = _select(bit, load64(below + source + 8), load64(from_ + source + 8))
                    p, q = _sub(beta_low, beta_high, total[2 * part], total[2 * part + 1])
                    p, q = _sub(p, q, lose_low, lose_high)
                    # V + v_keep + (what the correction adds) = target - v_lose + v_keep.
                    r, s = _sub(beta_low, beta_high, lose_low, lose_high)
                    r, s = _add(r, s, keep_low, keep_high)
                    total[2 * part], total[2 * part + 1] = r, s
                    p, q = _signed(p, q, control1)
                    payload = at + 16 * width * (1 + part) + 16 * place
                    store64(payload, p)
                    store64(payload + 8, q)
            a0, c0 = _block(kernel, rounds, low0, high0)
            a1, c1 = _block(kernel, rounds, low1, high1)
            b0, d0 = _block(kernel, rounds, low0 ^ _ONE, high0)
            b1, d1 = _block(kernel, rounds, low1 ^ _ONE, high1)
            control_left = (a0 ^ a1 ^ bit ^ _ONE) & _ONE
            control_right = (b0 ^ b1 ^ bit) & _ONE
            seed_low = _select(bit, a0 ^ a1, b0 ^ b1) & _CLEAR
            seed_high = _select(bit, c0 ^ c1, d0 ^ d1)
            store64(at + 16 * place, seed_low | control_left | control_right << _ONE)
            store64(at + 16 * place + 8, seed_high)
            keep = _select(bit, control_right, control_left)
            keep0, keep1 = _select(bit, b0, a0), _select(bit, b1, a1)
            low0 = (keep0 & _CLEAR) ^ (seed_low & control0)
            high0 = _select(bit, d0, c0) ^ (seed_high & control0)
            low1 = (keep1 & _CLEAR) ^ (seed_low & control1)
            high1 = _select(bit, d1, c1) ^ (seed_high & control1)
            control0 = _mask(keep0 ^ (keep & control0))
        leaf = base + levels * width * level_bytes + 64 * place
        control1 = ~control0
        last = _mask(point)
        for side in range(2):
            for part in range(2):
                constant = np.uint64(2 + 2 * side + part)
                source = 32 * item + 16 * part
                here = last if side else ~last  # the point's own word
                if comparison:
                    # Word 0 lies below a when a is odd; the point itself never does.
                    lower = last if side == 0 else _ZERO
                    low = _select(lower, load64(below + source), load64(from_ + source))
                    high = _select(lower, load64(below + source + 8), load64(from_ + source + 8))
                else:
                    low, high = load64(from_ + source) & here, load64(from_ + source + 8) & here
                p, q = _difference(kernel, rounds, low0 ^ constant, high0, low1 ^ constant, high1)
                r, s = _sub(low, high, total[2 * part], total[2 * part + 1])
                r, s = _sub(r, s, p, q)
                r, s = _signed(r, s, control1)
                store64(leaf + 32 * side + 16 * part, r)
                store64(leaf + 32 * side + 16 * part + 8, s)
