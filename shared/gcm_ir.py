"""AES-256-GCM on vectors of two blocks, as LLVM IR (NIST SP 800-38D).

GHASH works on blocks with their bytes reversed, where GCM's reflected bits are those of an
ordinary number, multiplied as POLYVAL does (RFC 8452, appendix A): a b x^-128, so that the hash key
is taken times x once and no product is shifted. Products of a step are added before they are
reduced, by Karatsuba's three multiplications each.

No branch and no address depends on a key or on data.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir

from shared.aes_ir import I8, I32, I64, ROUNDS_256, Lanes, Target, begin, count_loop, declare

_VECTORS: Final = 8
_BLOCKS: Final = 2
STEP_BLOCKS: Final = _VECTORS * _BLOCKS
_POLYNOMIAL: Final = 0xC2 << 56  # x^127 + x^126 + x^121, upper half
_ONE: Final = ir.VectorType(I64, 2)
_REVERSED: Final = list(range(15, -1, -1))
_BIG_ENDIAN_COUNTER: Final = [*range(12), 15, 14, 13, 12]


class _Field(Lanes):
    """Lanes that also multiply in GHASH's field."""

    def picked(self, value: Any, order: list[int]) -> Any:
        """Bytes of each block in another order."""
        count = 16 * self.blocks
        content = self.builder.bitcast(value, ir.VectorType(I8, count))
        lanes = [16 * block + i for block in range(self.blocks) for i in order]
        mask = ir.Constant(ir.VectorType(I32, count), lanes)
        return self.builder.bitcast(self.builder.shuffle_vector(content, content, mask), self.type)

    def carryless(self, a: Any, b: Any, halves: int) -> Any:
        """a b without carries, 64 by 64 bits in each block: 0x00 low halves, 0x11 high ones."""
        suffix = {1: "", 2: ".256"}[self.blocks]
        kind = ir.FunctionType(self.type, [self.type, self.type, I8])
        function = declare(self.builder.module, f"llvm.x86.pclmulqdq{suffix}", kind)
        return self.builder.call(function, [a, b, ir.Constant(I8, halves)])

    def products(self, sums: list[Any], data: Any, power: Any, halves: Any) -> list[Any]:
        """Adds data times power to low, middle and high sums. halves: power's, added."""
        low, middle, high = sums
        both = self.builder.xor(data, self.swapped(data))
        return [
            self.builder.xor(low, self.carryless(data, power, 0x00)),
            self.builder.xor(middle, self.carryless(both, halves, 0x00)),
            self.builder.xor(high, self.carryless(data, power, 0x11)),
        ]

    def added(self, value: Any) -> Any:
        """The blocks of a vector, added to one."""
        parts = [self.shuffle(value, value, [2 * i, 2 * i + 1]) for i in range(self.blocks)]
        total = parts[0]
        for part in parts[1:]:
            total = self.builder.xor(total, part)
        return total

    def reduced(self, sums: list[Any]) -> Any:
        """A block from the sums of `products` (one block wide)."""
        builder = self.builder
        low, middle, high = sums
        middle = builder.xor(middle, builder.xor(low, high))
        zero = self.constant(0, 0)
        low = builder.xor(low, self.shuffle(zero, middle, [0, 2]))
        high = builder.xor(high, self.shuffle(middle, zero, [1, 2]))
        polynomial = self.constant(_POLYNOMIAL, 0)
        for _ in range(2):
            folded = self.carryless(low, polynomial, 0x00)
            low = builder.xor(self.swapped(low), folded)
        return builder.xor(high, low)

    def counted(self, counter: Any, numbers: list[int]) -> Any:
        """Counter blocks, the last word of each in this machine's order, with numbers added."""
        kind = ir.VectorType(I32, 4 * self.blocks)
        step = ir.Constant(kind, [word for number in numbers for word in (0, 0, 0, number)])
        return self.builder.bitcast(
            self.builder.add(self.builder.bitcast(counter, kind), step), self.type
        )

    def counters(self, counter: Any) -> list[Any]:
        """The counter blocks of a step, in vectors, as they are encrypted."""
        lanes = [i & 1 for i in range(2 * self.blocks)]
        first = self.counted(self.shuffle(counter, counter, lanes), list(range(self.blocks)))
        return [
            self.picked(self.counted(first, [v * self.blocks] * self.blocks), _BIG_ENDIAN_COUNTER)
            for v in range(_VECTORS)
        ]


def absorb(module: ir.Module) -> ir.Function:
    """`void (power, halves, state, source, blocks)`: GHASH, block after block.

    power: the hash key, 16 bytes. halves: its halves added. state: 16 bytes, changed.
    """
    function, new = begin(module, "twokey_gcm_absorb", 5)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    field = _Field(builder, Target("x86", 1))
    power_at, halves_at, state_at, source, blocks = function.args
    power, halves = field.load(power_at), field.load(halves_at)

    def step(i: Any, state: list[Any]) -> list[Any]:
        data = field.picked(field.load(field.offset(source, i, 16)), _REVERSED)
        zeros = [field.constant(0, 0)] * 3
        return [field.reduced(field.products(zeros, builder.xor(data, state[0]), power, halves))]

    zero, one = ir.Constant(I64, 0), ir.Constant(I64, 1)
    state = count_loop(builder, zero, blocks, one, step, [field.load(state_at)])
    field.store(state[0], state_at)
    builder.ret_void()
    return function


def keystream(module: ir.Module) -> ir.Function:
    """`void (keys, counter, out)`: the blocks of one step, 256 bytes; the counter moves on.

    keys: an expanded key. counter: 12 bytes of nonce, then a u32 of this machine.
    """
    function, new = begin(module, "twokey_gcm_keystream", 3)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    field = _Field(builder, Target("x86", _BLOCKS))
    single = _Field(builder, Target("x86", 1))
    keys_at, counter_at, out = function.args
    counter = single.load(counter_at)
    keys = field.round_keys(keys_at, ROUNDS_256)
    for v, block in enumerate(field.encrypt(field.counters(counter), keys, feed=False)):
        field.store(block, builder.add(out, ir.Constant(I64, 16 * _BLOCKS * v)))
    single.store(single.counted(counter, [STEP_BLOCKS]), counter_at)
    builder.ret_void()
    return function


def crypt(module: ir.Module) -> ir.Function:
    """`void (keys, powers, halves, counter, state, source, target, hashed, steps)`.

    Steps of 256 bytes: source xor keystream goes to target, and `hashed`, which is ciphertext, into
    the state of GHASH. powers: the hash key to the 16th, 15th, ... power; halves: the halves of
    each added, in the low half of 16 bytes. counter, state: changed.
    """
    function, new = begin(module, "twokey_gcm_crypt", 9)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    field = _Field(builder, Target("x86", _BLOCKS))
    single = _Field(builder, Target("x86", 1))
    keys_at, powers, halves, counter_at, state_at, source, target, hashed, steps = function.args
    keys = field.round_keys(keys_at, ROUNDS_256)
    size = 16 * _BLOCKS

    def at(base: Any, vector: int) -> Any:
        return builder.add(base, ir.Constant(I64, size * vector))

    def step(i: Any, carried: list[Any]) -> list[Any]:
        counter, state = carried
        begins = [field.offset(place, i, size * _VECTORS) for place in (source, target, hashed)]
        states = [builder.xor(block, keys[0]) for block in field.counters(counter)]
        sums: list[Any] = [field.constant(0, 0)] * 3
        # One vector is hashed after each round of all, the first one last: it waits for the state.
        waiting = list(range(_VECTORS))
        for key in keys[1:-1]:
            states = [field.aesenc(block, key) for block in states]
            if waiting:
                v = waiting.pop()
                data = field.picked(field.load(at(begins[2], v)), _REVERSED)
                if v == 0:
                    zero = single.constant(0, 0)
                    data = builder.xor(data, single.shuffle(state, zero, [0, 1, 2, 3]))
                power, half = field.load(at(powers, v)), field.load(at(halves, v))
                sums = field.products(sums, data, power, half)
            held = field.abreast([*states, *sums])
            states, sums = held[:_VECTORS], held[_VECTORS:]
        for v, block in enumerate(states):
            last = builder.xor(keys[-1], field.load(at(begins[0], v)))
            field.store(field.aesenclast(block, last), at(begins[1], v))
        state = single.reduced([field.added(part) for part in sums])
        return [single.counted(counter, [STEP_BLOCKS]), state]

    carried = count_loop(
        builder,
        ir.Constant(I64, 0),
        steps,
        ir.Constant(I64, 1),
        step,
        [single.load(counter_at), single.load(state_at)],
    )
    single.store(carried[0], counter_at)
    single.store(carried[1], state_at)
    builder.ret_void()
    return function
