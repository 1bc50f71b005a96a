"""What is left of keys in the memory that was given back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# The key is handed over masked, and looked for masked: the search itself holds no copy of it.
CHILD = """
import sys
import numpy as np
from shared import prg
from shared.matchinputs import dcf_key, match_inputs, match_inputs_each
from shared.secret import Secret

mask, masked = np.uint64(int(sys.argv[1], 16)), [int(word, 16) for word in sys.argv[2:]]

def in_heap():
    found = 0
    spans = [line.split()[0].split("-") for line in open("/proc/self/maps") if "[heap]" in line]
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for first, last in spans:
            memory.seek(int(first, 16))
            words = np.frombuffer(memory.read(int(last, 16) - int(first, 16)), dtype=np.uint64)
            words = words ^ mask
            found += int((words[:-1] == masked[0]) [words[1:] == masked[1]].sum())
    return found

key = Secret(b"".join((word ^ int(mask)).to_bytes(8, "little") for word in masked))
public, slots = dcf_key(bytes(32)), np.arange(40, dtype=np.uint64)
prg.expand(key, slots, prg.RHO, 3)
match_inputs(key, 0, public, 0, 3, 2)
match_inputs_each([key] * 40, 0, [public] * 40, slots, 2)
key.destroy()
print(in_heap())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/mem")
def test_no_expanded_or_joined_key_stays_in_the_memory_that_kernels_gave_back() -> None:
    words = ["5a6b7c8d9e0f1a2b", "13579bdf02468ace", "0123456789abcdef", "fedcba9876543210"]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "a5a5a5a5c3c3c3c3", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout == "0\n", done.stderr
