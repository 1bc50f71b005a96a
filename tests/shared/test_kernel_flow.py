"""No kernel lets a secret decide: data flow through the code that the compiler makes of it.

Whatever a kernel reads is taken for secret, but for what KERNELS and EMITTED name as public. None
of it may reach a branch, a choice between values (which the code generator may turn into a branch),
a division, or an address; only the portable kernel's AES looks it up in its tables.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from numba import njit, types
from numba.core.registry import CPUDispatcher

from shared import ring_ir
from shared.aes_ir import Target
from shared.kernels import PORTABLE, available, opaque
from tests.shared.test_kernel_code import FUNCTIONS, MACHINES, TARGETS, machine, optimised
from tests.support.dataflow import decisions
from tests.test_structure import MODULES, module_name

I64, U64 = types.int64, types.uint64


def array(kind: Any, axes: int, layout: str = "C") -> Any:
    return types.Array(kind, axes, layout)


WORDS = (array(U64, 1), array(U64, 2), array(U64, 3))

# Every compiled kernel: its types where not all are addresses or sizes, and the arguments at whose
# addresses public numbers lie. Slots are numbers on the wire, z and the engine's points are opened,
# `listed` are addresses.
KERNELS: dict[str, tuple[tuple[Any, ...] | None, tuple[str, ...]]] = {
    "shared.prg.expand_blocks": (None, ("slots",)),
    "shared.prg._expand_run": (None, ()),
    "shared.engine_flip._flip": (None, ("bits",)),
    "shared.engine_sigma._add": (None, ()),
    "shared.dcf._evaluate": (None, ("z", "listed")),
    "shared.dcf._generate": (None, ()),
    "shared.matchinputs._match_inputs": (
        (*[I64] * 6, WORDS[1], WORDS[2], WORDS[1], U64),
        ("slots",),
    ),
    "shared.matchinputs._match_inputs_each": (
        (*[I64] * 6, WORDS[1], WORDS[2], WORDS[1], U64),
        ("slots",),
    ),
    "shared.ring._combine": (None, ()),
    "shared.ring._check_value": (None, ()),
    "shared.ring._split": (None, ()),
    "shared.ring._join": (None, ()),
    "shared.ring._product32": (None, ()),
    "shared.engine_fss_kernels.evaluate": (None, ("points",)),
    "shared.engine_fss_kernels.generate": (None, ()),
    "shared.engine_tags._evaluate": (None, ("points",)),
    "shared.engine_tags._generate": (None, ()),
    "shared.engine_ring._multiply": (None, ()),
    "shared.engine_ring._square": (None, ()),
    "shared.engine_ring._matmul": (None, ()),
    "shared.engine_ring._add_strided": (None, ()),
    "shared.engine_ring._total": (None, ()),
    "shared.engine_ring._scale": (None, ()),
    "shared.engine_ring._subtract_scaled": (None, ()),
    "party.bitkernels._pack": ((WORDS[1], array(types.uint8, 2)), ()),
    "party.bitkernels._unmask": ((WORDS[1], array(types.uint8, 2), WORDS[0], WORDS[1]), ()),
    "dealer.mint._correct": ((*WORDS[1:2] * 2, *WORDS[2:] * 3, array(U64, 3, "A")), ()),
    "dealer.mint._payloads": (
        (WORDS[0], WORDS[2], WORDS[2], I64, array(types.uint32, 2), WORDS[1], WORDS[1]),
        (),
    ),
}
# Code that is emitted without Numba: numbers of the arguments at whose addresses z or points lie.
EMITTED: dict[str, tuple[int, ...]] = {
    "evaluate": (6,),
    "generate": (),
    "expand": (),
    "engine tags": (6,),
    "engine tag keys": (),
    "engine comparison": (7,),
    "engine point": (7,),
    "schedule": (),
}
PORTABLE_ONLY = {"look-up"}


def code_of(function: Callable[..., Any], signature: tuple[Any, ...] | None) -> llvm.ModuleRef:
    """LLVM's code of a function, compiled for this machine as kernels are."""
    count = len(inspect.signature(function).parameters)
    fresh = njit(nogil=True)(function)
    fresh.compile(signature or (I64,) * count)
    return llvm.parse_assembly(fresh.inspect_llvm(fresh.signatures[0]))


def test_the_table_names_every_compiled_kernel() -> None:
    found = set()
    for path in MODULES:
        if "@compiled" in path.read_text(encoding="utf-8"):
            name = module_name(path)
            module = importlib.import_module(name)
            found |= {
                f"{name}.{key}"
                for key, value in vars(module).items()
                if isinstance(value, CPUDispatcher)
                and value.py_func.__module__ == name
                and value.targetoptions.get("inline") != "never"
            }
    found.discard("shared.kernels.address")  # of an array: it reads no element
    assert found == set(KERNELS)


@pytest.mark.parametrize("name", KERNELS)
def test_no_secret_decides_in_a_compiled_kernel(name: str) -> None:
    module, _, function = name.rpartition(".")
    signature, public = KERNELS[name]
    kernel = getattr(importlib.import_module(module), function)
    found = decisions(code_of(kernel.py_func, signature), public)
    assert [one for one in found if one.kind not in PORTABLE_ONLY] == []


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_secret_decides_in_emitted_code_for_any_machine(name: str, function: str) -> None:
    module = ir.Module("kernels")
    module.triple = MACHINES[name][0]
    emitted = FUNCTIONS[function](module, TARGETS[name])
    emitted.linkage = "external"
    with machine(name) as target:
        assert decisions(optimised(module, target), EMITTED[function]) == []


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize(("faces", "lanes"), [(4, 16), (1, 16), (1, 1)])
def test_no_secret_decides_in_a_product_for_any_machine(name: str, faces: int, lanes: int) -> None:
    module = ir.Module("kernels")
    module.triple = MACHINES[name][0]
    ring_ir.dot32(module, faces, lanes).linkage = "external"
    with machine(name) as target:
        assert decisions(optimised(module, target)) == []


def test_the_kernels_of_this_machine_are_among_those_that_are_checked() -> None:
    assert set(FUNCTIONS) == set(EMITTED)
    assert all(isinstance(target, Target) for target in TARGETS.values())
    assert available()["portable"] == PORTABLE


# -- what the check finds ----------------------------------------------------------------


def branches(a: Any, out: Any) -> None:
    for i in range(a.size):
        if a[i] & np.uint64(1):
            out[i] = a[i] * a[i] + out[i]
            out[0] += np.uint64(3)


def chooses(a: Any, out: Any) -> None:
    for i in range(a.size - 1):
        bit = (a[i] >> (a[i + 1] & np.uint64(63))) & np.uint64(1)
        out[a.size - 1 - i] ^= (~bit + np.uint64(1)) & out[0]


def divides(a: Any, out: Any) -> None:
    for i in range(a.size):
        out[i] = np.uint64(1 << 40) // (a[i] | np.uint64(1))


def indexes(a: Any, out: Any) -> None:
    for i in range(a.size):
        out[i] = out[np.int64(a[i] & np.uint64(7))]


TABLE = np.arange(256, dtype=np.uint64)[::-1].copy()


def looks_up(a: Any, out: Any) -> None:
    for i in range(a.size):
        out[i] = TABLE[np.int64(a[i] & np.uint64(255))]


def stops_early(a: Any, out: Any) -> None:
    for i in range(a.size):
        if a[i] != out[i]:
            break
        out[i] = np.uint64(0)


LEAKS: dict[str, tuple[Callable[..., Any], set[str]]] = {
    "a branch": (branches, {"branch", "choice"}),
    "an early end": (stops_early, {"branch"}),
    "a division": (divides, {"division"}),
    "an index": (indexes, {"address"}),
    "a table": (looks_up, {"look-up"}),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_found(leak: str) -> None:
    function, expected = LEAKS[leak]
    found = {one.kind for one in decisions(code_of(function, (WORDS[0], WORDS[0])))}
    assert found
    assert found <= expected


@pytest.mark.parametrize("leak", ["a branch", "an early end", "an index"])
def test_what_is_public_may_decide(leak: str) -> None:
    function, _ = LEAKS[leak]
    assert decisions(code_of(function, (WORDS[0], WORDS[0])), ("a", "out")) == []


def masks(a: Any, out: Any) -> None:
    one = opaque(np.uint64(1))
    for i in range(a.size):
        out[i] = out[i] ^ ((~(a[i] & one) + one) & out[0])


def test_a_mask_of_an_opaque_bit_stays_a_mask() -> None:
    assert decisions(code_of(masks, (WORDS[0], WORDS[0]))) == []


def test_a_mask_of_a_bit_that_the_optimiser_knows_becomes_a_choice() -> None:
    found = decisions(code_of(chooses, (WORDS[0], WORDS[0])))
    assert {one.kind for one in found} == {"choice"}
