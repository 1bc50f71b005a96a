"""Which compiled kernel this machine runs, and how kernels are compiled and called.

A kernel is a function compiled by Numba, without the interpreter lock, kept on disk for the next
start. Kernels take addresses and integers only: one specialisation serves every array layout.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from shared.aes_ir import Target
from shared.errors import ConfigError, FormatError

# Kernel numbers: the 128-bit blocks in a vector.
PORTABLE: Final = 0
ONE_BLOCK: Final = 1  # AES-NI or the Armv8 cryptographic extension
TWO_BLOCKS: Final = 2  # VAES on 256-bit vectors
FOUR_BLOCKS: Final = 4  # VAES on 512-bit vectors

_Function = TypeVar("_Function", bound=Callable[..., Any])
_HERE = Path(__file__).parent
_SOURCES = (
    "kernels",
    "aes_ir",
    "aes_portable",
    "aes_schedule",
    "prg",
    "matchinputs",
    "dcf",
    "dcf_ir",
    "dcf_portable",
    "ring",
    "ring_ir",
    "wide",
    "engine_fss_kernels",
    "engine_fss_ir",
    "engine_flip",
    "engine_ring",
    "engine_sigma",
    "engine_tags",
)


@cache
def _stamp() -> str:
    """Names the sources of all kernels: a compiled one is not reused when any of them changes."""
    state = sha256()
    for name in _SOURCES:
        state.update((_HERE / f"{name}.py").read_bytes())
    return state.hexdigest()[:12]


def compiled(function: _Function) -> _Function:
    """Decorator: Numba, nopython, no interpreter lock, cached on disk.

    Numba looks only at the file of the function itself when it judges its cache, so the stamp of
    all sources becomes part of the name under which the result is kept.
    """
    function.__qualname__ = f"{function.__qualname__}_{_stamp()}"
    try:
        result: _Function = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither beside the source nor in the user's cache folder may anything be written.
        logging.getLogger(__name__).warning(
            "kernels are compiled anew at every start: set NUMBA_CACHE_DIR to a writable folder"
        )
        result = njit(nogil=True)(function)
    return result


def helper(function: _Function) -> _Function:
    """Decorator: compiled into the kernels that call it."""
    result: _Function = njit(nogil=True, inline="never")(function)
    return result


@cache
def available() -> dict[str, int]:
    """Kernel names that this host can run, widest first, with their numbers."""
    found: dict[str, int] = {}
    host = features()
    if host.get("aes", False):
        if _is_x86():
            if host.get("vaes", False) and host.get("avx512f", False):
                found["vaes512"] = FOUR_BLOCKS
            if host.get("vaes", False) and host.get("avx2", False):
                found["vaes256"] = TWO_BLOCKS
            if host.get("sse4.2", False):
                found["aesni"] = ONE_BLOCK
        elif _is_arm64():
            found["armv8"] = ONE_BLOCK
    found["portable"] = PORTABLE
    return found


@cache
def kernel_name() -> str:
    """The kernel in use: "vaes512", "vaes256", "aesni", "armv8" or "portable".

    The widest one that the host has; the environment variable TWOKEY_KERNEL, read once, may name
    another. Raises ConfigError when that one is unknown or not available here.
    """
    wanted = os.environ.get("TWOKEY_KERNEL", "")
    names = list(available())
    if wanted and wanted not in names:
        raise ConfigError(
            f"TWOKEY_KERNEL: found {wanted!r:.40}, expected one of {', '.join(names)} on this host"
        )
    name = wanted or names[0]
    if name == "portable":
        logging.getLogger(__name__).warning(
            "portable kernel in use: slow, and its table look-ups depend on secrets"
        )
    return name


@cache
def kernel_number() -> int:
    """The number of the kernel in use: PORTABLE, ONE_BLOCK, TWO_BLOCKS or FOUR_BLOCKS."""
    return available()[kernel_name()]


def target(blocks: Any) -> Target | None:
    """What IR is emitted for, for vectors of so many blocks; None where the host lacks them.

    blocks: the Numba literal 1, 2 or 4. Numba keeps its cache apart by CPU, so a kernel compiled
    without some instructions never meets a host that has them.
    """
    if blocks.literal_value not in available().values():
        return None
    return Target("x86" if _is_x86() else "arm64", blocks.literal_value)


def _triple() -> str:
    return str(llvm.get_process_triple())


def _is_x86() -> bool:
    return _triple().startswith("x86_64")


def _is_arm64() -> bool:
    return _triple().startswith(("aarch64", "arm64"))


def features() -> dict[str, bool]:
    """CPU features that Numba compiles for; its own settings may hide some of the host's."""
    if config.CPU_NAME is not None or config.CPU_FEATURES is not None:
        listed = (config.CPU_FEATURES or "").split(",")
        return {feature[1:]: True for feature in listed if feature.startswith("+")}
    found = dict(llvm.get_host_cpu_features())
    if not config.ENABLE_AVX:
        found["avx512f"] = found["avx2"] = False
    return found


@compiled
def address(array: Any) -> Any:
    """Where the array's first element lies; the caller keeps the array alive.

    Compiled, since NumPy's own ways to ask take a microsecond.
    """
    return array.ctypes.data


def readable(
    name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray[Any]:
    """The array itself, or a contiguous copy; raises FormatError for another dtype or shape."""
    _check(name, array, dtype, shape)
    return np.ascontiguousarray(array)


def writable(
    name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]
) -> NDArray[Any]:
    """The array itself; raises FormatError unless it is contiguous, writable and of this shape."""
    _check(name, array, dtype, shape)
    if not (array.flags.c_contiguous and array.flags.writeable):
        raise FormatError(f"{name}: expected a contiguous, writable array")
    return array


def _check(name: str, array: NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise FormatError(
            f"{name}: found {array.dtype} of shape {array.shape}, "
            f"expected {dtype.__name__} of shape {shape}"
        )


# -- inside kernels ----------------------------------------------------------------------

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


@intrinsic
def opaque(typing_context: Any, value: Any) -> Any:
    """The u64 itself, of which the optimiser knows nothing.

    A mask made of a bit that was cut out with `opaque(1)` stays a mask: of a bit that it knows to
    be 0 or 1 the optimiser makes a choice, and of a choice the code generator may make a jump.
    """

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.asm(ir.FunctionType(_I64, [_I64]), "", "=r,0", args, False)

    return types.uint64(types.uint64), emit


@intrinsic
def load64(typing_context: Any, place: Any) -> Any:
    """The u64 at an address, however aligned."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType())
        return builder.load(pointer, align=1, typ=_I64)

    return types.uint64(types.int64), emit


@intrinsic
def load32(typing_context: Any, place: Any) -> Any:
    """The u32 at an address, however aligned, as u64."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType())
        return builder.zext(builder.load(pointer, align=1, typ=_I32), _I64)

    return types.uint64(types.int64), emit


@intrinsic
def store64(typing_context: Any, place: Any, value: Any) -> Any:
    """Writes a u64 at an address, however aligned."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType())
        builder.store(args[1], pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), emit


@intrinsic
def store32(typing_context: Any, place: Any, value: Any) -> Any:
    """Writes the low 32 bits of a u64 at an address, however aligned."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.PointerType())
        builder.store(builder.trunc(args[1], _I32), pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), emit
