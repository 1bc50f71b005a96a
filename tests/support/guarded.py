"""Arrays that end where memory ends: what is read or written beyond them kills the process."""

from __future__ import annotations

import ctypes
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAGES = 40
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def guarded(content: NDArray[Any]) -> NDArray[Any]:
    """A copy whose last byte is the last one before a page that may not be touched."""
    memory = mmap.mmap(-1, (_PAGES + 1) * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if _libc.mprotect(start + _PAGES * mmap.PAGESIZE, mmap.PAGESIZE, 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    offset = _PAGES * mmap.PAGESIZE - content.nbytes
    array = np.frombuffer(memory, content.dtype, content.size, offset).reshape(content.shape)
    array[...] = content
    return array
