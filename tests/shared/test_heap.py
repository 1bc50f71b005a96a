"""The allocator's settings, seen by the page faults of a process."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from shared.heap import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
for round in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(1 << 18) for _ in range(8)]
        del arrays
    found = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
sys.stdout.write(str(found))
"""


def faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_arrays_are_reused_without_page_faults() -> None:
    pages = 20 * 8 * (1 << 21) // 4096
    assert faults("keep") < pages // 50
