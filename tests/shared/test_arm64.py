"""The arm64 kernels, run under emulation where an emulator and a cross compiler are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from llvmlite import ir

from shared import aes_ir, dcf_ir, prg
from tests.shared.test_dcf import Keys, generated, near, parameters
from tests.shared.test_kernel_code import MACHINES, TARGETS, machine, optimised

TOOLS = ("aarch64-linux-gnu-gcc", "qemu-aarch64")
BLOCKS = 37
PLACES = 7

# Reads what the kernels take, in the order of `arguments`, and writes what they make.
DRIVER = """
#include <stdint.h>
#include <stdio.h>
#define A(x) ((uint64_t)(x))
typedef uint64_t u;
extern void schedule10(u, u), schedule14(u, u), expand(u, u, u, u, u, u, u);
extern void evaluate4(u, u, u, u, u, u, u, u, u, u), evaluate1(u, u, u, u, u, u, u, u, u, u);
extern void generate2(u, u, u, u, u, u, u, u, u, u, u), generate1(u, u, u, u, u, u, u, u, u, u, u);

static uint8_t key[32], slot_key[16], roots[2][16 * N], words[N * (24 * L + 32)], keys[240];
static uint8_t points[4 * N], lt[8 * N], ge[8 * N], x[4 * N], out[8 * N], blocks[16 * BLOCKS];

static void get(void *to, size_t n) { if (fread(to, n, 1, stdin) != 1) __builtin_trap(); }
static void put(void *from, size_t n) { if (fwrite(from, n, 1, stdout) != 1) __builtin_trap(); }

int main(void) {
  get(key, 32); get(slot_key, 16); get(roots, sizeof roots); get(points, sizeof points);
  get(lt, sizeof lt); get(ge, sizeof ge); get(x, sizeof x);
  schedule14(A(key), A(keys));
  expand(A(keys), 5, 7, 0, 1ull << 32, BLOCKS, A(blocks));
  put(blocks, sizeof blocks);
  schedule10(A(slot_key), A(keys));
  int at = 0;
  for (; at + 2 <= N; at += 2)
    generate2(A(keys), A(roots[0]), A(roots[1]), A(words), N, at, at + 1,
              A(points), A(lt), A(ge), L);
  for (; at < N; at++)
    generate1(A(keys), A(roots[0]), A(roots[1]), A(words), N, at, at,
              A(points), A(lt), A(ge), L);
  put(words, sizeof words);
  for (u party = 0; party < 2; party++) {
    for (at = 0; at + 4 <= N; at += 4)
      evaluate4(A(keys), A(roots[party]), A(words), N, at, at + 3, A(x), party, L, A(out));
    for (; at < N; at++)
      evaluate1(A(keys), A(roots[party]), A(words), N, at, at, A(x), party, L, A(out));
    put(out, sizeof out);
  }
  return 0;
}
"""


def built(folder: Path, levels: int) -> Path:
    """An arm64 program of the driver and the kernels."""
    module = ir.Module("kernels")
    module.triple = MACHINES["arm64"][0]
    target = TARGETS["arm64"]
    for name, function in {
        "schedule10": aes_ir.schedule(module, target, aes_ir.ROUNDS_128),
        "schedule14": aes_ir.schedule(module, target, aes_ir.ROUNDS_256),
        "expand": aes_ir.expand(module, target),
        "evaluate1": dcf_ir.evaluate(module, target, 1),
        "evaluate4": dcf_ir.evaluate(module, target, 4),
        "generate1": dcf_ir.generate(module, target, 1),
        "generate2": dcf_ir.generate(module, target, 2),
    }.items():
        function.linkage = "external"
        function.name = name
    with machine("arm64") as code:
        (folder / "kernels.o").write_bytes(code.emit_object(optimised(module, code)))
    (folder / "driver.c").write_text(DRIVER)
    program = folder / "program"
    sizes = [f"-DN={PLACES}", f"-DL={levels}", f"-DBLOCKS={BLOCKS}"]
    sources = [str(folder / "driver.c"), str(folder / "kernels.o")]
    subprocess.run([TOOLS[0], "-static", "-O1", *sizes, *sources, "-o", str(program)], check=True)
    return program


def arguments(key: bytes, keys: Keys, x: np.ndarray) -> bytes:
    arrays = (
        keys.slot_keys,
        keys.roots,
        keys.points,
        keys.beta_lt,
        keys.beta_ge,
        x,
    )
    return key + b"".join(array.tobytes() for array in arrays)


@pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"needs {' and '.join(TOOLS)} to run arm64 code"
)
@pytest.mark.parametrize("low_bits", [6, 28])
def test_arm64_kernels_make_the_same_bytes(tmp_path: Path, low_bits: int) -> None:
    params = parameters(low_bits, PLACES)
    keys = generated(params, 1, seed=low_bits)
    x = near(keys, PLACES, seed=low_bits)
    key = bytes(range(32))
    program = built(tmp_path, params.levels)
    found = subprocess.run(
        [TOOLS[1], str(program)], input=arguments(key, keys, x), capture_output=True, check=True
    ).stdout
    expected = prg.expand(key, [5], 7, BLOCKS).tobytes() + keys.words.tobytes()
    assert found == expected + keys.shares(0, x).tobytes() + keys.shares(1, x).tobytes()
