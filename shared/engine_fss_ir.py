"""Evaluation of the engine's keys side by side, as LLVM IR (docs/engine.md, "Keys").

As `dcf_ir`: secret bits act as masks of whole lanes, only the public points pick a side. `vectors`
vectors of the target's width cover the keys start, start + 1, ..., none beginning after `last`:
keys computed twice give the same values.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from shared.aes_ir import I64, ROUNDS_128, Lanes, Target, begin, count_loop

_ONES = (1 << 64) - 1
_CLEAR = _ONES ^ 7  # a seed's three low bits are zero
_LEAST = 1 << 63


def evaluate(module: ir.Module, target: Target, vectors: int, *, comparison: bool) -> ir.Function:
    """`void (keys, roots, words, leaves, width, start, last, points, control, levels, value, mac)`.

    keys: the tile's expanded AES-128 key. roots: 16 bytes a key, points: u64 a key; words, leaves:
    corrections of the first key asked for in a tile of `width`. control: all ones for P1, else
    zero. value, mac: 16 bytes a key, written, before P1's are negated.
    """
    kind = "comparison" if comparison else "point"
    name = f"twokey_fss_{kind}_{target.isa}_{target.blocks}_{vectors}"
    function, new = begin(module, name, 12)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = Lanes(builder, target)
    (
        keys_at,
        roots,
        words,
        leaves,
        width,
        start,
        last,
        points_at,
        control,
        levels,
        value_at,
        mac_at,
    ) = function.args
    keys = lanes.round_keys(keys_at, ROUNDS_128)
    starts = lanes.starts(start, last, vectors)
    clear = lanes.constant(_CLEAR, _ONES)
    sixteen = builder.mul(width, ir.Constant(I64, 16))
    stride = builder.mul(sixteen, ir.Constant(I64, 3 if comparison else 1))
    shift = lanes.splat(builder.sub(ir.Constant(I64, 63), levels))
    zero = lanes.constant(0, 0)
    least = lanes.constant(_LEAST, _LEAST)

    def payload_inputs(seed: Any, side: Any) -> list[Any]:
        turned = builder.xor(seed, builder.and_(side, lanes.constant(6, 0)))
        return [builder.xor(turned, lanes.constant(part, 0)) for part in (2, 3)]

    def add(total: Any, carries: Any, term: Any) -> tuple[Any, Any]:
        """Lane by lane; what a low lane carries is counted, and added at the end.

        A total is 2^63 too large, so that signed numbers compare as the unsigned ones would.
        """
        larger = builder.add(total, term)
        over = builder.icmp_signed("<", larger, total)
        return larger, builder.sub(carries, builder.sext(over, lanes.type))

    def step(level: Any, state: list[Any]) -> list[Any]:
        base = builder.add(words, builder.mul(level, stride))
        inputs: list[Any] = []
        for v in range(vectors):
            seed, side = state[7 * v], lanes.sign(state[7 * v + 2])
            inputs.append(builder.xor(seed, builder.and_(side, lanes.constant(1, 0))))
            if comparison:
                inputs += payload_inputs(seed, side)
        blocks = lanes.encrypt(inputs, keys, feed=True)
        many = len(blocks) // vectors
        result: list[Any] = []
        for v, place in enumerate(starts):
            _, mask, point, *sums = state[7 * v : 7 * v + 7]
            child, *payloads = blocks[many * v : many * (v + 1)]
            at = lanes.offset(base, place, 16)
            correction = builder.and_(lanes.load(at), mask)
            seed = builder.and_(builder.xor(child, correction), clear)
            # Bit 0 corrects the control bit on the left side, bit 1 on the right one.
            side = builder.and_(lanes.sign(point), lanes.constant(1, 0))
            next_mask = lanes.bit_mask(builder.xor(child, builder.lshr(correction, side)))
            for part, payload in enumerate(payloads):
                at = builder.add(at, sixteen)
                total, carries = add(sums[2 * part], sums[2 * part + 1], payload)
                term = builder.and_(lanes.load(at), mask)
                sums[2 * part : 2 * part + 2] = add(total, carries, term)
            result += [seed, next_mask, lanes.doubled(point), *sums]
        return result

    first: list[Any] = []
    for place in starts:
        seed = builder.and_(lanes.load(lanes.offset(roots, place, 16)), clear)
        point = lanes.both(lanes.words(lanes.offset(points_at, place, 8)))
        first += [seed, lanes.splat(control), builder.shl(point, shift), least, zero, least, zero]
    state = count_loop(builder, ir.Constant(I64, 0), levels, ir.Constant(I64, 1), step, first)
    inputs = []
    for v in range(vectors):
        inputs += payload_inputs(state[7 * v], lanes.sign(state[7 * v + 2]))
    blocks = lanes.encrypt(inputs, keys, feed=True)
    for v, place in enumerate(starts):
        _, mask, _, *sums = state[7 * v : 7 * v + 7]
        found = _leaves(lanes, leaves, points_at, place)
        for part, out in enumerate((value_at, mac_at)):
            total, carries = add(sums[2 * part], sums[2 * part + 1], blocks[2 * v + part])
            total, carries = add(total, carries, builder.and_(found[part], mask))
            upper = builder.and_(lanes.swapped(carries), lanes.constant(0, _ONES))
            total = builder.add(builder.xor(total, least), upper)
            lanes.store(total, lanes.offset(out, place, 16))
    builder.ret_void()
    return function


def _leaves(lanes: Lanes, leaves: Any, points: Any, place: Any) -> list[Any]:
    """Value and MAC of leaf word x mod 2 of each key."""
    builder = lanes.builder
    result: list[Any] = [lanes.constant(0, 0), lanes.constant(0, 0)]
    for i in range(lanes.blocks):
        here = builder.add(place, ir.Constant(I64, i))
        side = builder.and_(lanes.load(lanes.offset(points, here, 8), I64), ir.Constant(I64, 1))
        word = lanes.offset(lanes.offset(leaves, here, 64), side, 32)
        for part in range(2):
            for half in range(2):
                at = builder.add(word, ir.Constant(I64, 16 * part + 8 * half))
                lane = ir.Constant(ir.IntType(32), 2 * i + half)
                result[part] = builder.insert_element(result[part], lanes.load(at, I64), lane)
    return result
