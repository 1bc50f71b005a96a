"""The machine code of the kernels, compiled for machines that are not this one too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

from shared import aes_ir, dcf_ir, engine_fss_ir
from shared.aes_ir import Target

MACHINES = {
    "arm64": ("aarch64-unknown-linux-gnu", "generic", "+aes,+neon"),
    "aesni": ("x86_64-unknown-linux-gnu", "westmere", "+aes"),
    "vaes256": ("x86_64-unknown-linux-gnu", "znver3", ""),
    "vaes512": ("x86_64-unknown-linux-gnu", "znver4", ""),
}
TARGETS = {
    "arm64": Target("arm64", 1),
    "aesni": Target("x86", 1),
    "vaes256": Target("x86", 2),
    "vaes512": Target("x86", 4),
}
FUNCTIONS: dict[str, Callable[[ir.Module, Target], ir.Function]] = {
    "evaluate": lambda module, target: dcf_ir.evaluate(module, target, 4),
    "generate": lambda module, target: dcf_ir.generate(module, target, 2),
    "expand": aes_ir.expand,
    "engine comparison": lambda module, target: engine_fss_ir.evaluate(
        module, target, 4, comparison=True
    ),
    "engine point": lambda module, target: engine_fss_ir.evaluate(
        module, target, 8, comparison=False
    ),
    "engine tags": lambda module, target: dcf_ir.evaluate(module, target, 4, wide=True),
    "engine tag keys": lambda module, target: dcf_ir.generate(module, target, 2, wide=True),
    "schedule": lambda module, target: aes_ir.schedule(module, target, aes_ir.ROUNDS_256),
}


@contextmanager
def machine(name: str) -> Iterator[llvm.TargetMachine]:
    """LLVM's code generator for that machine."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, cpu, features = MACHINES[name]
    target = llvm.Target.from_triple(triple)
    with target.create_target_machine(cpu=cpu, features=features, opt=3) as found:
        yield found


def optimised(module: ir.Module, target: llvm.TargetMachine) -> llvm.ModuleRef:
    """The module after LLVM's optimisation for that machine."""
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(parsed, builder)
    return parsed


def assembly(name: str, function: str) -> str:
    """The optimised assembly text of one kernel function for one machine."""
    module = ir.Module("kernels")
    module.triple = MACHINES[name][0]
    emitted = FUNCTIONS[function](module, TARGETS[name])
    emitted.linkage = "external"
    with machine(name) as target:
        return str(target.emit_assembly(optimised(module, target)))


def count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.MULTILINE))


# AES runs of 10 rounds, vectors times blocks: in the loop and in the leaf block.
RUNS = {
    "evaluate": 4 * 2 + 4 * 1,
    "generate": 2 * 6 + 2 * 4,
    "engine tags": 4 * 2 + 4 * 1,
    "engine tag keys": 2 * 6 + 2 * 4,
    "engine comparison": 4 * 3 + 4 * 2,
    "engine point": 8 * 1 + 8 * 2,
}


@pytest.mark.parametrize("function", RUNS)
def test_arm64_code_uses_the_cryptographic_extension(function: str) -> None:
    text = assembly("arm64", function)
    assert count(r"^\s+aese\s", text) == 10 * RUNS[function]
    assert count(r"^\s+aesmc\s", text) == 9 * RUNS[function]


@pytest.mark.parametrize("function", RUNS)
def test_x86_code_uses_aes_instructions_of_one_block(function: str) -> None:
    text = assembly("aesni", function)
    assert count(r"^\s+aesenc\s.*%xmm", text) == 9 * RUNS[function]
    assert count(r"^\s+aesenclast\s.*%xmm", text) == RUNS[function]


@pytest.mark.parametrize("function", RUNS)
def test_x86_code_without_avx_512_uses_aes_instructions_of_two_blocks(function: str) -> None:
    text = assembly("vaes256", function)
    assert count(r"^\s+vaesenc\s.*%ymm", text) == 9 * RUNS[function]
    assert count(r"^\s+vaesenclast\s.*%ymm", text) == RUNS[function]
    assert count(r"%zmm", text) == 0


@pytest.mark.parametrize("function", RUNS)
def test_wide_x86_code_uses_aes_instructions_of_four_blocks(function: str) -> None:
    text = assembly("vaes512", function)
    assert count(r"^\s+vaesenc\s.*%zmm", text) == 9 * RUNS[function]
    assert count(r"^\s+vaesenclast\s.*%zmm", text) == RUNS[function]


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("function", [*RUNS, "expand"])
def test_rounds_of_several_vectors_take_turns(name: str, function: str) -> None:
    rounds = re.findall(r"^\s+(?:v?aesenc|aese)\s+(.+)$", assembly(name, function), re.MULTILINE)
    registers = [re.findall(r"\b[xyz]mm\d+|v\d+", operands) for operands in rounds]
    # x86 names the result last, arm64 first; either reads what it is made of.
    result = 0 if name == "arm64" else -1
    waits = sum(a[result] in b for a, b in pairwise(registers))
    # Where a round of all vectors ends the next may begin with the same one; and the tail of
    # `expand` encrypts one vector at a time.
    assert 6 * waits < len(rounds)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_code_branches_on_loop_counters_only(name: str, function: str) -> None:
    text = assembly(name, function)
    x86 = count(r"^\s+j(?!mp)[a-z]+\s", text)
    arm = count(r"^\s+(b\.[a-z]+|cbn?z|tbn?z)\s", text)
    # Before and at the end of each loop: one loop over levels, or two over blocks.
    loops = {"expand": 2, "schedule": 0}.get(function, 1)
    assert x86 + arm <= 2 * loops
    assert count(r"^\s+(call|bl|div|idiv|udiv)\s", text) == 0


@pytest.mark.parametrize("name", MACHINES)
def test_a_key_schedule_substitutes_by_instruction(name: str) -> None:
    text = assembly(name, "schedule")
    assert count(r"^\s+(v?aesenclast|aese)\s", text) == 13
