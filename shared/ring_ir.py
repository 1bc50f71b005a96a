"""Wrapping 32-bit dot products as LLVM IR, for vectors of any machine."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from shared.aes_ir import I32, I64, begin, count_loop


def dot32(module: ir.Module, faces: int, lanes: int) -> ir.Function:
    """`void (columns, stride, coordinates, e, e_stride, out, out_stride)`, strides in bytes.

    out[f][n] = sum over i of columns[i][n] * e[f][i] mod 2^32, for `faces` rows f side by side
    and `lanes` neighbours n; columns is the transposed matrix.
    """
    function, new = begin(module, f"twokey_dot32_{faces}_{lanes}", 7)
    if not new:
        return function
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    columns, stride, coordinates, e, e_stride, out, out_stride = function.args
    kind = ir.VectorType(I32, lanes)
    zero = ir.Constant(kind, [0] * lanes)
    mask = ir.Constant(kind, [0] * lanes)

    def number(value: int) -> ir.Constant:
        return ir.Constant(I64, value)

    def at(place: Any) -> Any:
        return builder.inttoptr(place, ir.PointerType())

    def step(i: Any, sums: list[Any]) -> list[Any]:
        column = builder.load(at(builder.add(columns, builder.mul(i, stride))), align=1, typ=kind)
        result = []
        for face, total in enumerate(sums):
            row = builder.add(e, builder.mul(e_stride, number(face)))
            place = builder.add(row, builder.mul(i, number(4)))
            word = builder.load(at(place), align=1, typ=I32)
            spread = builder.insert_element(
                ir.Constant(kind, ir.Undefined), word, ir.Constant(I32, 0)
            )
            spread = builder.shuffle_vector(spread, spread, mask)
            result.append(builder.add(total, builder.mul(column, spread)))
        return result

    sums = count_loop(builder, number(0), coordinates, number(1), step, [zero] * faces)
    for face, total in enumerate(sums):
        builder.store(total, at(builder.add(out, builder.mul(out_stride, number(face)))), align=1)
    builder.ret_void()
    return function
