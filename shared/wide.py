"""128-bit integers inside kernels: pairs of u64, low word first, as Numba intrinsics."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _wide(operation: str) -> Any:
    """An intrinsic on two 128-bit numbers, each as low and high u64, giving the same."""

    @intrinsic
    def apply(typing_context: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        u64 = types.uint64
        i128 = ir.IntType(128)

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def join(low: Any, high: Any) -> Any:
                shifted = builder.shl(builder.zext(high, i128), ir.Constant(i128, 64))
                return builder.or_(builder.zext(low, i128), shifted)

            value = getattr(builder, operation)(join(args[0], args[1]), join(args[2], args[3]))
            low = builder.trunc(value, ir.IntType(64))
            high = builder.trunc(builder.lshr(value, ir.Constant(i128, 64)), ir.IntType(64))
            return context.make_tuple(builder, signature.return_type, [low, high])

        return types.UniTuple(u64, 2)(u64, u64, u64, u64), emit

    return apply


add = _wide("add")
sub = _wide("sub")
mul = _wide("mul")
shl = _wide("shl")
