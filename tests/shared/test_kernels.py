"""Which kernel is chosen on which machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared import kernels
from shared.errors import ConfigError

X86, ARM64, OTHER = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "riscv64-linux-gnu"


@pytest.fixture
def host(choose: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A patch under which the host's kernels are looked for anew, and afterwards again."""
    kernels.available.cache_clear()
    yield choose
    kernels.available.cache_clear()


@pytest.mark.parametrize(
    ("triple", "features", "expected"),
    [
        (X86, "aes sse4.2 avx2 vaes avx512f", ["vaes512", "vaes256", "aesni", "portable"]),
        (X86, "aes sse4.2 avx2 vaes", ["vaes256", "aesni", "portable"]),
        (X86, "aes sse4.2 avx2 avx512f", ["aesni", "portable"]),
        (X86, "aes sse4.2 vaes", ["aesni", "portable"]),
        (X86, "aes", ["portable"]),
        (X86, "sse4.2 avx2", ["portable"]),
        (ARM64, "aes neon", ["armv8", "portable"]),
        (ARM64, "neon", ["portable"]),
        (OTHER, "aes vaes", ["portable"]),
    ],
)
def test_the_kernels_of_a_machine_are_found_by_its_features_widest_first(
    host: pytest.MonkeyPatch, triple: str, features: str, expected: list[str]
) -> None:
    host.setattr(kernels, "_triple", lambda: triple)
    host.setattr(kernels, "features", lambda: dict.fromkeys(features.split(), True))
    host.delenv("TWOKEY_KERNEL", raising=False)
    assert list(kernels.available()) == expected
    assert kernels.kernel_name() == expected[0]


def test_a_narrower_kernel_can_be_named_and_one_that_the_machine_lacks_is_refused(
    host: pytest.MonkeyPatch,
) -> None:
    host.setattr(kernels, "_triple", lambda: X86)
    host.setattr(kernels, "features", lambda: dict.fromkeys(("aes", "sse4.2", "avx2", "vaes"), 1))
    host.setenv("TWOKEY_KERNEL", "aesni")
    assert kernels.kernel_number() == kernels.ONE_BLOCK
    kernels.kernel_name.cache_clear()
    host.setenv("TWOKEY_KERNEL", "vaes512")
    with pytest.raises(ConfigError, match="expected one of vaes256, aesni, portable"):
        kernels.kernel_name()
