"""The kernels of wider machines than this one, with their AES put together from single blocks.

LLVM splits the other operations on wide vectors where the host has none, so that everything about
these kernels runs here but the instruction `vaesenc` itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from numpy.typing import NDArray

from shared import aes_ir, dcf_ir, engine_fss, engine_fss_ir, kernels, prg, ring
from shared.aes_ir import Lanes, Target
from shared.engine_fss import KEY_TILE, KeyShape
from shared.engine_tags import TagShape
from tests.shared.test_dcf import generated, near, parameters
from tests.shared.test_engine_fss import Dealt, words
from tests.shared.test_engine_tags import DealtTags
from tests.shared.test_kernel_code import optimised

KEY = bytes(range(32))

pytestmark = pytest.mark.skipif(
    "aesni" not in kernels.available(), reason="needs AES instructions of x86"
)


@pytest.fixture(params=[2, 4])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target of 2 or 4 blocks whose AES instruction takes one of them after the other."""
    one_block = Lanes._x86

    def apart(lanes: Lanes, operation: str, state: Any, key: Any) -> Any:
        if lanes.blocks == 1:
            return one_block(lanes, operation, state, key)
        single = Lanes(lanes.builder, Target("x86", 1))
        result: Any = ir.Constant(lanes.type, ir.Undefined)
        for i in range(lanes.blocks):
            pick = [2 * i, 2 * i + 1]
            part = one_block(
                single, operation, lanes.shuffle(state, state, pick), lanes.shuffle(key, key, pick)
            )
            for half in (0, 1):
                lane = ir.Constant(aes_ir.I32, half)
                word = lanes.builder.extract_element(part, lane)
                place = ir.Constant(aes_ir.I32, 2 * i + half)
                result = lanes.builder.insert_element(result, word, place)
        return result

    monkeypatch.setattr(Lanes, "_x86", apart)
    # Vectors of four blocks do not fit a register of this host.
    monkeypatch.setattr(Lanes, "abreast", lambda _, values: list(values))
    return Target("x86", request.param)


@contextmanager
def compiled(emit: Callable[[ir.Module], ir.Function]) -> Iterator[Callable[..., None]]:
    """The function as one that takes integers and arrays."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = ir.Module("kernels")
    module.triple = llvm.get_process_triple()
    function = emit(module)
    function.linkage = "external"
    features = llvm.get_host_cpu_features().flatten()
    host = llvm.Target.from_default_triple()
    with host.create_target_machine(llvm.get_host_cpu_name(), features, opt=2) as machine:
        engine = llvm.create_mcjit_compiler(optimised(module, machine), machine)
        with engine:
            engine.finalize_object()
            place = engine.get_function_address(function.name)
            prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(function.args))(place)

            def run(*arguments: int | NDArray[Any]) -> None:
                prototype(*(a if isinstance(a, int) else a.ctypes.data for a in arguments))

            yield run


def schedule(key: bytes) -> NDArray[np.uint8]:
    """The expanded AES key."""
    rounds = len(key) // 4 + 6
    found = np.zeros(16 * (rounds + 1), dtype=np.uint8)
    emit = lambda module: aes_ir.schedule(module, Target("x86", 1), rounds)  # noqa: E731
    with compiled(emit) as run:
        run(np.frombuffer(key, dtype=np.uint8), found)
    return found


@pytest.mark.parametrize("count", [4, 5, 31, 32, 33, 70])
def test_wide_blocks_are_the_same(target: Target, count: int) -> None:
    out = np.zeros((count, 2), dtype=np.uint64)
    with compiled(lambda module: aes_ir.expand(module, target)) as run:
        run(schedule(KEY), 5, 7, 0, 1 << 32, count, out)
    assert np.array_equal(out, prg.expand(KEY, [5], 7, count)[0])


@pytest.mark.parametrize("places", [4, 7, 16])
@pytest.mark.parametrize("low_bits", [6, 28])
def test_wide_generation_and_evaluation_give_the_same(
    target: Target, low_bits: int, places: int
) -> None:
    params = parameters(low_bits, places)
    keys = generated(params, 1, seed=places)
    x = near(keys, places, seed=places)
    rounds, last, levels = schedule(keys.slot_keys.tobytes()), places - target.blocks, params.levels
    made = np.zeros_like(keys.words)
    secrets = keys.points, keys.beta_lt, keys.beta_ge
    with compiled(lambda module: dcf_ir.generate(module, target, 2)) as run:
        for at in range(0, places, 2 * target.blocks):
            run(rounds, *keys.roots, made, places, at, last, *secrets, levels)
    assert np.array_equal(made, keys.words)
    with compiled(lambda module: dcf_ir.evaluate(module, target, 4)) as run:
        for party in (0, 1):
            out = np.zeros((1, places), dtype=np.uint64)
            for at in range(0, places, 4 * target.blocks):
                run(rounds, keys.roots[party], made, places, at, last, x, party, levels, out)
            assert np.array_equal(out, keys.shares(party, x))


@pytest.mark.parametrize("count", [4, 9, KEY_TILE])
def test_wide_generation_and_evaluation_of_tag_keys_give_the_same(
    target: Target, count: int
) -> None:
    dealt = DealtTags(TagShape(63), words(np.random.default_rng(count), count) >> np.uint64(1))
    x = dealt.points ^ np.uint64(1)
    rounds, last, levels = schedule(dealt.tile_keys.tobytes()), count - target.blocks, 61
    made = np.zeros_like(dealt.words)
    secrets = dealt.points, dealt.below, dealt.from_
    with compiled(lambda module: dcf_ir.generate(module, target, 2, wide=True)) as run:
        for at in range(0, count, 2 * target.blocks):
            run(rounds, *dealt.roots, made, count, at, last, *secrets, levels)
    assert np.array_equal(made, dealt.words)
    with compiled(lambda module: dcf_ir.evaluate(module, target, 4, wide=True)) as run:
        for party in (0, 1):
            out = np.zeros(count, dtype=np.uint64)
            for at in range(0, count, 4 * target.blocks):
                run(rounds, dealt.roots[party], made, count, at, last, x, party, levels, out)
            assert np.array_equal(out, dealt.shares(x)[party])


@pytest.mark.parametrize("comparison", [True, False])
@pytest.mark.parametrize("count", [4, 9, KEY_TILE])
def test_wide_evaluation_of_engine_keys_gives_the_same(
    target: Target, count: int, comparison: bool
) -> None:
    rng = np.random.default_rng(count)
    shape = KeyShape(63, comparison)
    domain = np.uint64((1 << 63) - 1)
    dealt = Dealt(shape, words(rng, count) & domain)
    x = words(rng, count) & domain
    levels = shape.domain - 1
    leaves = dealt.words[count * levels * shape.level_bytes :]
    found, expected = np.zeros((2, 2, 2, count, 2), dtype=np.uint64)
    vectors = 4 if comparison else 8
    emit = lambda module: engine_fss_ir.evaluate(  # noqa: E731
        module, target, vectors, comparison=comparison
    )
    rounds = schedule(dealt.tile_keys.tobytes())
    with compiled(emit) as run:
        for party in (0, 1):
            for at in range(0, count, vectors * target.blocks):
                run(
                    *(rounds, dealt.roots[party], dealt.words, leaves, count, at),
                    *(count - target.blocks, x, -party, levels, *found[party]),
                )
            engine_fss.evaluate(
                shape,
                party,
                dealt.tile_keys,
                dealt.roots[party],
                dealt.words,
                0,
                x,
                *expected[party],
            )
    # The caller of the kernel negates P1's.
    assert np.array_equal(found[0], expected[0])
    assert np.array_equal(ring.neg(found[1]), expected[1])
