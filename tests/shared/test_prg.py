"""Pseudorandom blocks against the standard's AES, on every kernel of this machine."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import kernels, prg
from shared.errors import ConfigError, FormatError
from shared.secret import Secret

KEY = bytes(range(32))
SLOTS = np.array([0, 1, 2, 7, 63, 64, (1 << 63) + 5, (1 << 64) - 1], dtype=np.uint64)


def standard(key: bytes, slots: list[int], domain: int, first: int, count: int) -> bytes:
    """The blocks by the `cryptography` package."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - single blocks
    points = [
        slot.to_bytes(8, "little") + domain.to_bytes(4, "little") + index.to_bytes(4, "little")
        for slot in slots
        for index in range(first, first + count)
    ]
    return cipher.update(b"".join(points))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 7, 31, 32, 33, 36, 67, 150])
def test_blocks_are_aes_256_of_slot_domain_and_index(kernel: str, count: int) -> None:
    assert prg.kernel_name() == kernel
    found = prg.expand(KEY, SLOTS, prg.RHO, count)
    assert found.shape == (len(SLOTS), count, 2)
    assert found.tobytes() == standard(KEY, SLOTS.tolist(), prg.RHO, 0, count)


@settings(max_examples=30)
@given(
    key=st.binary(min_size=32, max_size=32),
    slots=st.lists(st.integers(0, (1 << 64) - 1), max_size=6),
    domain=st.integers(0, (1 << 32) - 1),
    first=st.integers(0, (1 << 32) - 100),
    count=st.integers(0, 40),
)
def test_any_key_slot_domain_and_index_gives_the_standard_block(
    key: bytes, slots: list[int], domain: int, first: int, count: int
) -> None:
    array = np.array(slots, dtype=np.uint64)
    found = prg.expand(key, array, domain, count, first=first)
    assert found.tobytes() == standard(key, slots, domain, first, count)


def test_runs_of_slots_with_one_block_each_are_the_same_blocks(kernel: str) -> None:
    slots = [5, 6, 7, 8, 9, 10, 12, 13, 3, 2, 1, (1 << 64) - 1, 0, 1, *range(100, 145)]
    found = prg.expand(KEY, np.array(slots, dtype=np.uint64), prg.ALPHA, 1)
    assert found.tobytes() == standard(KEY, slots, prg.ALPHA, 0, 1)


def test_the_known_answer_of_the_standard_comes_out(kernel: str) -> None:
    # FIPS 197, appendix C.3: the block is 00112233445566778899aabbccddeeff.
    slot = np.array([0x7766554433221100], dtype=np.uint64)
    found = prg.expand(KEY, slot, 0xBBAA9988, 1, first=0xFFEEDDCC)
    assert found.tobytes().hex() == "8ea2b7ca516745bfeafc49904b496089"


def test_blocks_go_where_the_caller_wants_them() -> None:
    out = np.zeros((3, 5, 2), dtype=np.uint64)
    assert prg.expand(Secret(KEY), [1, 2, 3], prg.RHO, 5, out) is out
    assert out.tobytes() == standard(KEY, [1, 2, 3], prg.RHO, 0, 5)


def test_slot_keys_are_known(kernel: str) -> None:
    # AES-256 under digest("dcf", 32 bytes 0..31), feed-forward of the slot; made with openssl.
    keys = prg.slot_keys(bytes(range(32)), np.array([0, 1, 12345], dtype=np.uint64))
    assert [key.tobytes().hex() for key in keys] == [
        "de465e39ed78811b4ce385bda11b8ebb",
        "6b6991a779d2e55932bede28a9141cf3",
        "6c187eca40c5258b78df0159e6b058f2",
    ]


def test_coefficients_are_blocks_of_the_coin(kernel: str) -> None:
    found = prg.coefficients(KEY, 77)
    assert found.tobytes() == standard(KEY, list(range(77)), prg.CHI, 0, 1)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(FormatError, match=f"found {length} bytes, expected 32"):
        prg.expand(bytes(length), SLOTS, prg.RHO, 1)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((8, 3, 2), dtype=np.uint64),
        np.zeros((8, 2, 2), dtype=np.int64),
        np.zeros((8, 2, 4), dtype=np.uint64)[:, :, ::2],
    ],
)
def test_memory_that_does_not_fit_is_refused(out: np.ndarray) -> None:
    with pytest.raises(FormatError):
        prg.expand(KEY, SLOTS, prg.RHO, 2, out)


@pytest.mark.parametrize(
    ("domain", "first", "count"), [(-1, 0, 1), (1 << 32, 0, 1), (1, -1, 2), (1, 1 << 32, 1)]
)
def test_an_index_or_domain_out_of_range_is_refused(domain: int, first: int, count: int) -> None:
    with pytest.raises(FormatError):
        prg.expand(KEY, SLOTS, domain, count, first=first)


def test_an_unknown_kernel_is_refused(choose: pytest.MonkeyPatch) -> None:
    choose.setenv("TWOKEY_KERNEL", "abacus")
    with pytest.raises(ConfigError, match=r"found 'abacus', expected one of .*portable"):
        prg.kernel_name()


def test_the_portable_kernel_warns_once(
    choose: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    choose.setenv("TWOKEY_KERNEL", "portable")
    with caplog.at_level(logging.WARNING):
        prg.expand(KEY, SLOTS, prg.RHO, 1)
        prg.expand(KEY, SLOTS, prg.RHO, 1)
    assert [record.message for record in caplog.records] == [
        "portable kernel in use: slow, and its table look-ups depend on secrets"
    ]


def test_another_process_finds_the_kernels_compiled() -> None:
    prg.expand(KEY, SLOTS, prg.RHO, 2)
    script = (
        "import numpy as np; from shared import prg;"
        "prg.expand(bytes(32), [1], 5, 2);"
        "stats = prg.expand_blocks.stats;"
        "print(sum(stats.cache_hits.values()), len(stats.cache_misses))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["1", "0"]


def test_kernels_work_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])

    def twice(x: int) -> int:
        return 2 * x

    with caplog.at_level(logging.WARNING):
        double = kernels.compiled(twice)
    assert double(21) == 42
    assert "NUMBA_CACHE_DIR" in caplog.text


@pytest.mark.parametrize("count", [0, 1, 2, 3, 16, 100])
def test_a_run_of_slots_is_what_a_list_of_them_gives(count: int, kernel: str) -> None:
    slots = np.arange(2**40, 2**40 + count, dtype=np.uint64)
    found = prg.expand_run(bytes(32), 2**40, count, 5, 3, np.zeros((count, 2), dtype=np.uint64))
    assert np.array_equal(found, prg.expand(bytes(32), slots, 5, 1, first=3)[:, 0])


@pytest.mark.parametrize(("slot", "index"), [(-1, 0), (0, -1), (0, 1 << 32), (1 << 62, 0)])
def test_a_run_out_of_range_is_refused(slot: int, index: int) -> None:
    with pytest.raises(FormatError, match="found slot"):
        prg.expand_run(bytes(32), slot, 1, 5, index, np.zeros((1, 2), dtype=np.uint64))
