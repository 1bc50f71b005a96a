"""How the C library's allocator treats the memory of large arrays."""

from __future__ import annotations

import ctypes
from typing import Final

# glibc's mallopt(3)
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_SETTINGS: Final = (
    (_M_MMAP_THRESHOLD, 32 << 20),  # the most that glibc takes
    (_M_TRIM_THRESHOLD, (1 << 31) - 1),
    (_M_TOP_PAD, 64 << 20),
)


def keep_freed_memory() -> bool:
    """Has this process keep what arrays of up to 32 MiB free, for the next ones.

    Otherwise every large array is fetched from the system, and zeroed by it, page by page: that
    takes longer than the engine's arithmetic. For the whole process; False where the C library has
    no such setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt.restype = ctypes.c_int
    return all(mallopt(name, value) for name, value in _SETTINGS)
