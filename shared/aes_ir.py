"""AES on vectors of 128-bit blocks, as LLVM IR, for machines with AES instructions.

One generator for every width and instruction set. A vector of b blocks is <2b x i64>, low half of
each block first. Several vectors are encrypted side by side so that the instructions' latencies
overlap; `Lanes.abreast` keeps LLVM from putting them in a row. No branch, no address and no table
index depends on a key or a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llvmlite import ir

I8: Final = ir.IntType(8)
I32: Final = ir.IntType(32)
I64: Final = ir.IntType(64)
VOID: Final = ir.VoidType()
ROUNDS_128: Final = 10
ROUNDS_256: Final = 14
_UNROLL: Final = 8  # vectors encrypted side by side by `expand`
_TAIL: Final = 4  # and what is left over
_ABREAST: Final = 12  # vectors encrypted side by side at most: x86 without AVX-512 holds 16


@dataclass(frozen=True, slots=True)
class Target:
    """isa: "x86" or "arm64". blocks: 128-bit blocks in a vector.

    2 need VAES and AVX2, 4 VAES and AVX-512.
    """

    isa: str
    blocks: int


class Lanes:
    """Emits operations on vectors of `blocks` blocks of 128 bits."""

    def __init__(self, builder: ir.IRBuilder, target: Target) -> None:
        self.builder = builder
        self.target = target
        self.blocks = target.blocks
        self.type = ir.VectorType(I64, 2 * self.blocks)
        self.half = ir.VectorType(I64, self.blocks)

    def constant(self, low: int, high: int) -> ir.Constant:
        """The same block in every place."""
        return ir.Constant(self.type, [low, high] * self.blocks)

    def shuffle(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """Lanes picked out of a, then b."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, mask)

    def low_twice(self, a: Any) -> Any:
        """Each block's low half in both of its halves."""
        return self.shuffle(a, a, [i & ~1 for i in range(2 * self.blocks)])

    def swapped(self, a: Any) -> Any:
        """Each block with its halves exchanged."""
        return self.shuffle(a, a, [i ^ 1 for i in range(2 * self.blocks)])

    def both(self, a: Any) -> Any:
        """From one word per block: that word in both halves of the block."""
        return self.shuffle(a, a, [i // 2 for i in range(2 * self.blocks)])

    def low_only(self, a: Any) -> Any:
        """From one word per block: that word in the low half, zero in the high half."""
        zero = ir.Constant(self.half, [0] * self.blocks)
        lanes = [i // 2 if i % 2 == 0 else self.blocks for i in range(2 * self.blocks)]
        return self.shuffle(a, zero, lanes)

    def one_half(self, a: Any, mask: Any) -> Any:
        """From one word per block: where the mask has ones, that word in a half of the block.

        Zero elsewhere. Which half is of no matter where both are added up in the end, and on AVX2
        a word that stays in its half costs less.
        """
        builder = self.builder
        if self.blocks != 2:
            return builder.and_(self.low_only(a), mask)
        ones = (1 << 64) - 1
        twice = builder.and_(self.shuffle(a, a, [0, 1, 0, 1]), mask)
        return builder.and_(twice, ir.Constant(self.type, [ones, 0, 0, ones]))

    def lows(self, a: Any) -> Any:
        """One word per block: the low halves."""
        return self.shuffle(a, a, [2 * i for i in range(self.blocks)])

    def splat(self, word: Any) -> Any:
        """An i64 in every lane."""
        return self.pair(word, word)

    def pair(self, low: Any, high: Any) -> Any:
        """Two i64 as the block in every place."""
        value = ir.Constant(self.type, ir.Undefined)
        value = self.builder.insert_element(value, low, ir.Constant(I32, 0))
        value = self.builder.insert_element(value, high, ir.Constant(I32, 1))
        return self.shuffle(value, value, [i & 1 for i in range(2 * self.blocks)])

    def pointer(self, place: Any) -> Any:
        """An i64 address as a pointer."""
        return self.builder.inttoptr(place, ir.PointerType())

    def load(self, place: Any, kind: Any = None) -> Any:
        """A value (a vector of blocks unless told) from an address, however aligned."""
        return self.builder.load(self.pointer(place), align=1, typ=kind or self.type)

    def store(self, value: Any, place: Any) -> None:
        """Writes a value at an address, however aligned."""
        self.builder.store(value, self.pointer(place), align=1)

    def words(self, place: Any) -> Any:
        """One u64 per block from consecutive memory."""
        return self.load(place, self.half)

    def small_words(self, place: Any) -> Any:
        """One u32 per block from consecutive memory, as u64."""
        small = self.load(place, ir.VectorType(I32, self.blocks))
        return self.builder.zext(small, self.half)

    def starts(self, first: Any, last: Any, vectors: int) -> list[Any]:
        """Where so many vectors begin, one after the other from `first`, none after `last`."""
        builder = self.builder
        found = []
        for v in range(vectors):
            place = builder.add(first, ir.Constant(I64, v * self.blocks))
            if last is not None:
                place = builder.select(builder.icmp_signed(">", place, last), last, place)
            found.append(place)
        return found

    def offset(self, base: Any, count: Any, size: int) -> Any:
        """base + count * size, for i64 addresses."""
        return self.builder.add(base, self.builder.mul(count, ir.Constant(I64, size)))

    def sign(self, a: Any) -> Any:
        """All ones in lanes whose top bit is set, else zero."""
        return self.builder.ashr(a, ir.Constant(self.type, [63] * 2 * self.blocks))

    def doubled(self, a: Any) -> Any:
        """Every lane shifted left by one."""
        return self.builder.shl(a, ir.Constant(self.type, [1] * 2 * self.blocks))

    def select(self, mask: Any, a: Any, b: Any) -> Any:
        """a where the mask has ones, else b."""
        builder = self.builder
        return builder.xor(b, builder.and_(mask, builder.xor(a, b)))

    def bit_mask(self, a: Any) -> Any:
        """From each block's bit 0: all ones in both halves, or zero."""
        builder = self.builder
        bit = builder.and_(self.low_twice(a), self.constant(1, 1))
        return builder.sub(self.constant(0, 0), bit)

    def unless(self, mask: Any, a: Any) -> Any:
        """a where the mask has zeros, else zero."""
        ones = self.constant((1 << 64) - 1, (1 << 64) - 1)
        return self.builder.and_(self.builder.xor(mask, ones), a)

    def abreast(self, values: Sequence[Any]) -> list[Any]:
        """The same values, all of them computed before anything is that is made of one of them.

        LLVM would rather encrypt one vector to the end before it begins the next, to spare
        registers, and the processor cannot look far enough ahead to overlap them. An assembly
        statement of no instructions, which takes and gives all values in registers, forbids it.
        """
        if len(values) == 1:
            return list(values)
        kind = ir.LiteralStructType([self.type] * len(values))
        register = {"x86": "x", "arm64": "w"}[self.target.isa]
        places = [f"={register}"] * len(values) + [str(i) for i in range(len(values))]
        function = ir.FunctionType(kind, [self.type] * len(values))
        held = self.builder.asm(function, "", ",".join(places), values, side_effect=False)
        return [self.builder.extract_value(held, i) for i in range(len(values))]

    def round_keys(self, place: Any, rounds: int) -> list[Any]:
        """An expanded key from memory, each round key in every place."""
        one = ir.VectorType(I64, 2)
        keys = [
            self.load(self.builder.add(place, ir.Constant(I64, 16 * i)), one)
            for i in range(rounds + 1)
        ]
        lanes = [i & 1 for i in range(2 * self.blocks)]
        return [self.shuffle(key, key, lanes) for key in keys]

    def encrypt(self, inputs: Sequence[Any], keys: Sequence[Any], *, feed: bool) -> list[Any]:
        """AES of every input, side by side; with `feed`, AES(x) xor x (encodings E3)."""
        if len(inputs) > _ABREAST:
            half = len(inputs) // 2
            parts = (inputs[:half], inputs[half:])
            return [block for part in parts for block in self.encrypt(part, keys, feed=feed)]
        builder = self.builder
        last = [builder.xor(keys[-1], x) if feed else keys[-1] for x in inputs]
        if self.target.isa == "x86":
            states = self.abreast([builder.xor(x, keys[0]) for x in inputs])
            for key in keys[1:-1]:
                states = self.abreast([self._x86("aesenc", state, key) for state in states])
            pairs = zip(states, last, strict=True)
            return [self._x86("aesenclast", state, key) for state, key in pairs]
        states = list(inputs)
        for key in keys[:-2]:
            states = self.abreast(
                [self._arm("aesmc", self._arm("aese", state, key)) for state in states]
            )
        states = [self._arm("aese", state, keys[-2]) for state in states]
        return [builder.xor(state, key) for state, key in zip(states, last, strict=True)]

    def substitute(self, word: Any) -> Any:
        """The S-box on each byte of an i32, by the AES instruction (one block only)."""
        builder = self.builder
        words = ir.VectorType(I32, 4)
        value = builder.insert_element(ir.Constant(words, ir.Undefined), word, ir.Constant(I32, 0))
        # Four equal columns: ShiftRows moves nothing.
        value = builder.bitcast(self.shuffle(value, value, [0] * 4), self.type)
        zero = self.constant(0, 0)
        if self.target.isa == "x86":
            value = self._x86("aesenclast", value, zero)
        else:
            value = self._arm("aese", value, zero)
        return builder.extract_element(builder.bitcast(value, words), ir.Constant(I32, 0))

    def _x86(self, operation: str, state: Any, key: Any) -> Any:
        suffix = {1: "", 2: ".256", 4: ".512"}[self.blocks]
        kind = ir.FunctionType(self.type, [self.type, self.type])
        name = f"llvm.x86.aesni.{operation}{suffix}"
        return self.builder.call(declare(self.builder.module, name, kind), [state, key])

    def _arm(self, operation: str, *operands: Any) -> Any:
        block = ir.VectorType(I8, 16)
        kind = ir.FunctionType(block, [block] * len(operands))
        function = declare(self.builder.module, f"llvm.aarch64.crypto.{operation}", kind)
        cast = [self.builder.bitcast(operand, block) for operand in operands]
        return self.builder.bitcast(self.builder.call(function, cast), self.type)


def declare(module: ir.Module, name: str, kind: ir.FunctionType) -> ir.Function:
    """The module's function of this name, declared if it is not there yet."""
    found = module.globals.get(name)
    return ir.Function(module, kind, name) if found is None else found


def begin(module: ir.Module, name: str, arguments: int) -> tuple[ir.Function, bool]:
    """A function of i64 arguments, local to the module; True when it is new and has no body."""
    found = module.globals.get(name)
    if found is not None:
        return found, False
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function, True


def schedule(module: ir.Module, target: Target, rounds: int) -> ir.Function:
    """`void (key, out)`: expands a key of 16 (10 rounds) or 32 bytes (14) to rounds + 1 blocks."""
    function, new = begin(module, f"twokey_schedule_{target.isa}_{rounds}", 2)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = Lanes(builder, Target(target.isa, 1))
    source, out = function.args
    size = rounds - 6
    words: list[Any] = []
    constant = 1
    for i in range(4 * (rounds + 1)):
        place = ir.Constant(I64, 4 * i)
        if i < size:
            word = lanes.load(builder.add(source, place), I32)
        else:
            word = words[-1]
            if i % size == 0:
                left = builder.shl(word, ir.Constant(I32, 24))
                word = builder.or_(builder.lshr(word, ir.Constant(I32, 8)), left)
                word = builder.xor(lanes.substitute(word), ir.Constant(I32, constant))
                constant = (constant << 1) ^ (0x11B if constant & 0x80 else 0)
            elif size == 8 and i % size == 4:
                word = lanes.substitute(word)
            word = builder.xor(words[i - size], word)
        words.append(word)
        lanes.store(word, builder.add(out, place))
    builder.ret_void()
    return function


def expand(module: ir.Module, target: Target) -> ir.Function:
    """`void (keys, low, high, low_step, high_step, count, out)`: AES-256 in counter mode.

    Block i of `count` is the encryption of (low + i low_step, high + i high_step).
    count must be at least the target's blocks in a vector.
    """
    function, new = begin(module, f"twokey_expand_{target.isa}_{target.blocks}", 7)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = Lanes(builder, target)
    keys_at, low, high, low_step, high_step, count, out = function.args
    keys = lanes.round_keys(keys_at, ROUNDS_256)
    numbers = [i // 2 for i in range(2 * target.blocks)]
    step = lanes.pair(low_step, high_step)
    start = lanes.pair(low, high)
    stride = builder.mul(step, ir.Constant(lanes.type, [target.blocks] * 2 * target.blocks))
    start = builder.add(start, builder.mul(step, ir.Constant(lanes.type, numbers)))

    def put(places: list[Any], inputs: list[Any]) -> None:
        for place, value in zip(places, lanes.encrypt(inputs, keys, feed=False), strict=True):
            lanes.store(value, lanes.offset(out, place, 16))

    wide = ir.Constant(I64, _UNROLL * target.blocks)
    done = builder.sub(count, builder.urem(count, wide))
    last = builder.sub(count, ir.Constant(I64, target.blocks))

    def body(i: Any, points: list[Any]) -> list[Any]:
        inputs = [points[0]]
        for _ in range(_UNROLL - 1):
            inputs.append(builder.add(inputs[-1], stride))
        put(lanes.starts(i, None, _UNROLL), inputs)
        return [builder.add(inputs[-1], stride)]

    count_loop(builder, ir.Constant(I64, 0), done, wide, body, [start])

    def tail(i: Any, _: list[Any]) -> list[Any]:
        # Vectors that would end late begin early: they repeat blocks already written.
        places = lanes.starts(i, last, _TAIL)
        put(places, [builder.add(start, builder.mul(step, lanes.splat(i))) for i in places])
        return []

    count_loop(builder, done, count, ir.Constant(I64, _TAIL * target.blocks), tail)
    builder.ret_void()
    return function


def count_loop(
    builder: ir.IRBuilder,
    first: Any,
    stop: Any,
    step: Any,
    body: Callable[[Any, list[Any]], list[Any]],
    carried: Sequence[Any] = (),
) -> list[Any]:
    """`for i in range(first, stop, step): carried = body(i, carried)`; the final values."""
    function = builder.function
    before = builder.block
    head = function.append_basic_block("head")
    inside = function.append_basic_block("inside")
    after = function.append_basic_block("after")
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(I64)
    i.add_incoming(first, before)
    values = [builder.phi(value.type) for value in carried]
    for phi, value in zip(values, carried, strict=True):
        phi.add_incoming(value, before)
    builder.cbranch(builder.icmp_unsigned("<", i, stop), inside, after)
    builder.position_at_end(inside)
    results = body(i, values)
    i.add_incoming(builder.add(i, step), builder.block)
    for phi, result in zip(values, results, strict=True):
        phi.add_incoming(result, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return values
