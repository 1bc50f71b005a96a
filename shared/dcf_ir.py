"""DCF evaluation and key generation for places side by side, as LLVM IR (encodings E4, E5).

Secret bits act as masks of whole lanes: no branch and no address depends on a seed, a control
bit, a secret point or a payload. Only z, which is public, picks a child and a leaf word.

`vectors` vectors of the target's width cover the places start, start + b, ... of a tile, none
beginning after `last`: places computed twice give the same values, and nothing is read or written
beyond the places asked for.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from shared.aes_ir import I64, ROUNDS_128, Lanes, Target, begin, count_loop
from shared.params import LEAF_BITS

_ONES = (1 << 64) - 1
_CLEAR = _ONES ^ 3  # a seed's two low bits are zero


def evaluate(module: ir.Module, target: Target, vectors: int, *, wide: bool = False) -> ir.Function:
    """`void (keys, roots, words, width, start, last, z, party, levels, out)`.

    keys: the slot's expanded AES-128 key. roots: 16 bytes a place, words: of a tile of `width`
    places, z: u32 a place, u64 if `wide`, out: u64 a place; all addresses are those of the tile's
    first place.
    """
    name = f"twokey_dcf_evaluate_{target.isa}_{target.blocks}_{vectors}_{_size(wide)}"
    function, new = begin(module, name, 10)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = Lanes(builder, target)
    keys_at, roots, words, width, start, last, z, party, levels, out = function.args
    keys = lanes.round_keys(keys_at, ROUNDS_128)
    starts = lanes.starts(start, last, vectors)
    clear = lanes.constant(_CLEAR, _ONES)
    left = lanes.constant(1, 0)  # xor of these makes the inputs of E4's blocks
    payload = lanes.constant(2, 0)
    zero = lanes.constant(0, 0)

    seeds = [builder.and_(lanes.load(lanes.offset(roots, s, 16)), clear) for s in starts]
    control = lanes.splat(builder.sub(ir.Constant(I64, 0), party))
    # The low half's bits inverted: a sign is that of the half whose payload is wanted.
    turned = lanes.constant(_ONES, 0)
    points = [builder.xor(_top_bit_first(lanes, z, s, levels, wide), turned) for s in starts]

    def step(level: Any, state: list[Any]) -> list[Any]:
        seeds, controls = state[:vectors], state[vectors : 2 * vectors]
        sums, points = state[2 * vectors : 3 * vectors], state[3 * vectors :]
        base = builder.add(words, builder.mul(level, builder.mul(width, ir.Constant(I64, 24))))
        payloads_at = lanes.offset(base, width, 16)
        halves = [lanes.sign(point) for point in points]
        sides = [lanes.unless(half, left) for half in halves]
        inputs = []
        for seed, side in zip(seeds, sides, strict=True):
            inputs += [builder.xor(seed, side), builder.xor(seed, payload)]
        blocks = lanes.encrypt(inputs, keys, feed=True)
        next_seeds, next_controls, next_sums = [], [], []
        for v, place in enumerate(starts):
            child, value, mask = blocks[2 * v], blocks[2 * v + 1], controls[v]
            correction = builder.and_(lanes.load(lanes.offset(base, place, 16)), mask)
            next_seeds.append(builder.and_(builder.xor(child, correction), clear))
            # Bit 0 corrects the control bit on the left side, bit 1 on the right one.
            bit = builder.xor(child, builder.lshr(correction, sides[v]))
            next_controls.append(lanes.bit_mask(bit))
            total = builder.xor(sums[v], builder.and_(value, halves[v]))
            word = lanes.words(lanes.offset(payloads_at, place, 8))
            next_sums.append(builder.xor(total, lanes.one_half(word, mask)))
        return [*next_seeds, *next_controls, *next_sums, *map(lanes.doubled, points)]

    state = count_loop(
        builder,
        ir.Constant(I64, 0),
        levels,
        ir.Constant(I64, 1),
        step,
        [*seeds, *[control] * vectors, *[zero] * vectors, *points],
    )
    seeds, controls = state[:vectors], state[vectors : 2 * vectors]
    sums, points = state[2 * vectors : 3 * vectors], state[3 * vectors :]
    inputs = [
        builder.xor(builder.xor(seed, payload), lanes.unless(lanes.sign(point), left))
        for seed, point in zip(seeds, points, strict=True)
    ]
    blocks = lanes.encrypt(inputs, keys, feed=True)
    leaves = builder.add(words, builder.mul(levels, builder.mul(width, ir.Constant(I64, 24))))
    for v, place in enumerate(starts):
        half = lanes.sign(lanes.doubled(points[v]))
        total = builder.xor(sums[v], builder.and_(blocks[v], half))
        leaf = _leaf_words(lanes, leaves, z, place, wide)
        total = builder.xor(total, builder.and_(leaf, controls[v]))
        folded = builder.xor(total, lanes.swapped(total))
        lanes.store(lanes.lows(folded), lanes.offset(out, place, 8))
    builder.ret_void()
    return function


def generate(module: ir.Module, target: Target, vectors: int, *, wide: bool = False) -> ir.Function:
    """`void (keys, roots0, roots1, words, width, start, last, points, below, from_, levels)`.

    points: u32 a place, u64 if `wide`. below, from_: u64 a place, the payloads beta_lt and
    beta_ge. words is written; the rest as in `evaluate`.
    """
    name = f"twokey_dcf_generate_{target.isa}_{target.blocks}_{vectors}_{_size(wide)}"
    function, new = begin(module, name, 11)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = Lanes(builder, target)
    keys_at, roots0, roots1, words, width, start, last, points_at, below, from_, levels = (
        function.args
    )
    keys = lanes.round_keys(keys_at, ROUNDS_128)
    starts = lanes.starts(start, last, vectors)
    clear = lanes.constant(_CLEAR, _ONES)
    one = lanes.constant(1, 0)
    two = lanes.constant(2, 0)
    three = lanes.constant(3, 0)
    zero = lanes.constant(0, 0)
    ones = lanes.constant(_ONES, _ONES)

    def invert(a: Any) -> Any:
        return builder.xor(a, ones)

    below_words = [lanes.both(lanes.words(lanes.offset(below, s, 8))) for s in starts]
    from_words = [lanes.both(lanes.words(lanes.offset(from_, s, 8))) for s in starts]

    def step(level: Any, state: list[Any]) -> list[Any]:
        seeds = [state[:vectors], state[vectors : 2 * vectors]]
        masks, totals, points = (state[i * vectors : (i + 1) * vectors] for i in (2, 3, 4))
        base = builder.add(words, builder.mul(level, builder.mul(width, ir.Constant(I64, 24))))
        payloads_at = lanes.offset(base, width, 16)
        inputs = []
        for v in range(vectors):
            for party in (0, 1):
                seed = seeds[party][v]
                inputs += [seed, builder.xor(seed, one), builder.xor(seed, two)]
        blocks = lanes.encrypt(inputs, keys, feed=True)
        next_state: list[list[Any]] = [[], [], [], [], []]
        for v, place in enumerate(starts):
            a0, b0, p0, a1, b1, p1 = blocks[6 * v : 6 * v + 6]
            bit = lanes.sign(points[v])
            # t_0 xor t_1 = 1 all along the path to the point, so one mask serves both.
            mask0 = masks[v]
            mask1 = invert(mask0)
            a, b, p = builder.xor(a0, a1), builder.xor(b0, b1), builder.xor(p0, p1)
            lose = lanes.select(bit, a, b)
            control_left = builder.and_(builder.xor(a, invert(bit)), one)
            control_right = builder.and_(builder.xor(b, bit), one)
            correction = builder.and_(lose, clear)
            correction = builder.or_(correction, control_left)
            correction = builder.or_(correction, lanes.doubled(control_right))
            lanes.store(correction, lanes.offset(base, place, 16))
            keep0, keep1 = lanes.select(bit, b0, a0), lanes.select(bit, b1, a1)
            for party, keep, mask in ((0, keep0, mask0), (1, keep1, mask1)):
                child = builder.xor(keep, builder.and_(correction, mask))
                next_state[party].append(builder.and_(child, clear))
            control_keep = lanes.select(bit, control_right, control_left)
            control0 = builder.xor(keep0, builder.and_(control_keep, mask0))
            next_state[2].append(lanes.bit_mask(control0))
            swapped = lanes.swapped(p)
            lost = lanes.select(bit, p, swapped)  # low half: the payload of the lost side
            beta = lanes.select(bit, below_words[v], from_words[v])
            payload = builder.xor(builder.xor(lost, totals[v]), beta)
            lanes.store(lanes.lows(payload), lanes.offset(payloads_at, place, 8))
            # V xor v_keep xor payload correction, in which V and the lost side cancel.
            next_state[3].append(builder.xor(builder.xor(p, swapped), beta))
            next_state[4].append(lanes.doubled(points[v]))
        return [value for part in next_state for value in part]

    roots = [
        builder.and_(lanes.load(lanes.offset(at, s, 16)), clear)
        for at in (roots0, roots1)
        for s in starts
    ]
    points = [_top_bit_first(lanes, points_at, s, levels, wide) for s in starts]
    first = [*roots, *[zero] * vectors, *[zero] * vectors, *points]
    state = count_loop(builder, ir.Constant(I64, 0), levels, ir.Constant(I64, 1), step, first)
    seeds = [state[:vectors], state[vectors : 2 * vectors]]
    totals, points = state[3 * vectors : 4 * vectors], state[4 * vectors :]
    inputs = [
        builder.xor(seeds[party][v], constant)
        for v in range(vectors)
        for party in (0, 1)
        for constant in (two, three)
    ]
    blocks = lanes.encrypt(inputs, keys, feed=True)
    leaves = builder.add(words, builder.mul(levels, builder.mul(width, ir.Constant(I64, 24))))
    low_half = lanes.constant(_ONES, 0)
    for v, place in enumerate(starts):
        q0, r0, q1, r1 = blocks[4 * v : 4 * v + 4]
        upper = lanes.sign(points[v])
        lower = lanes.sign(lanes.doubled(points[v]))
        # Words q of the leaf with q < a mod 4 get beta_lt: 0 and 1 here, then 2 and never 3.
        first_mask = builder.or_(upper, builder.and_(lower, low_half))
        second_mask = builder.and_(builder.and_(upper, lower), low_half)
        pair = []
        for block, mask in ((builder.xor(q0, q1), first_mask), (builder.xor(r0, r1), second_mask)):
            beta = lanes.select(mask, below_words[v], from_words[v])
            pair.append(builder.xor(builder.xor(block, totals[v]), beta))
        _store_leaf(lanes, pair[0], pair[1], lanes.offset(leaves, place, 32))
    builder.ret_void()
    return function


def _size(wide: bool) -> int:
    """Bytes of a point in memory."""
    return 8 if wide else 4


def _top_bit_first(lanes: Lanes, points: Any, place: Any, levels: Any, wide: bool) -> Any:
    """Points, one a block, in both halves and shifted so that bit m - 1 is the sign."""
    builder = lanes.builder
    shift = builder.sub(ir.Constant(I64, 64 - LEAF_BITS), levels)
    at = lanes.offset(points, place, _size(wide))
    words = lanes.words(at) if wide else lanes.small_words(at)
    return builder.shl(lanes.both(words), lanes.splat(shift))


def _leaf_words(lanes: Lanes, leaves: Any, z: Any, place: Any, wide: bool) -> Any:
    """Leaf correction z mod 4 of each place, in the low half of its block."""
    builder = lanes.builder
    result: Any = lanes.constant(0, 0)
    for i in range(lanes.blocks):
        here = builder.add(place, ir.Constant(I64, i))
        point = lanes.load(lanes.offset(z, here, _size(wide)), ir.IntType(8 * _size(wide)))
        if not wide:
            point = builder.zext(point, I64)
        number = builder.and_(point, ir.Constant(I64, 3))
        word = lanes.load(lanes.offset(lanes.offset(leaves, here, 32), number, 8), I64)
        result = builder.insert_element(result, word, ir.Constant(ir.IntType(32), 2 * i))
    return result


def _store_leaf(lanes: Lanes, first: Any, second: Any, place: Any) -> None:
    """Writes for each block 16 bytes of `first`, then 16 of `second`."""
    order: list[int] = []
    for i in range(lanes.blocks):
        order += [2 * i, 2 * i + 1, 2 * lanes.blocks + 2 * i, 2 * lanes.blocks + 2 * i + 1]
    half = 2 * lanes.blocks
    lanes.store(lanes.shuffle(first, second, order[:half]), place)
    lanes.store(
        lanes.shuffle(first, second, order[half:]),
        lanes.builder.add(place, ir.Constant(I64, 16 * lanes.blocks)),
    )
