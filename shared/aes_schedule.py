"""Round keys of AES by the kernel in use, for the kernels that encrypt with them."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from shared import aes_ir, aes_portable, kernels
from shared.kernels import PORTABLE, helper


@intrinsic(prefer_literal=True)
def _schedule(typing_context: Any, blocks: Any, rounds: Any, key: Any, out: Any) -> Any:
    """`aes_ir.schedule` for so many rounds; nothing where the host lacks the instructions."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        target = kernels.target(signature.args[0])
        if target is not None:
            function = aes_ir.schedule(builder.module, target, signature.args[1].literal_value)
            builder.call(function, args[2:])
        return context.get_dummy_value()

    return types.void(blocks, rounds, types.int64, types.int64), emit


@helper
def expand_key_128(kernel: Any, key: Any, out: Any) -> None:
    """The round keys of 16 bytes at an address, 176 bytes."""
    if kernel == PORTABLE:
        aes_portable.schedule(key, out, 10)
    else:
        _schedule(1, 10, key, out)


@helper
def expand_key_256(kernel: Any, key: Any, out: Any) -> None:
    """The round keys of 32 bytes at an address, 240 bytes."""
    if kernel == PORTABLE:
        aes_portable.schedule(key, out, 14)
    else:
        _schedule(1, 14, key, out)
