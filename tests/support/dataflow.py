"""Where a compiled kernel lets a secret decide: data flow through LLVM's code of it.

Every value that is read from memory counts as secret, and all that is computed from it. Arguments
(addresses and sizes) do not, nor does what is read at an address that comes from an argument named
public, nor a pointer that is read: kernels keep none among their data.
"""

from __future__ import annotations

import ctypes
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

import llvmlite.binding as llvm

# Functions of the compiler's own run time, and the ways into a kernel from outside.
_OTHER: Final = re.compile(r"NRT_|llvm\.|numba_|Py|cpython\.|_ZN7cpython|cfunc\.")
_DIVISIONS: Final = ("udiv", "sdiv", "urem", "srem", "fdiv", "frem")
_PLACES: Final = ("getelementptr", "phi", "select", "add", "inttoptr", "ptrtoint")


@dataclass(frozen=True)
class Decision:
    """An instruction that takes another course, or touches another address, for another secret.

    kind: branch, choice (of which the code generator may make a branch), division, address,
    look-up (an address in a constant table), call (of a function that is not at hand).
    """

    kind: str
    function: str
    instruction: str


@dataclass(frozen=True)
class _Instruction:
    key: int
    opcode: str
    text: str
    operands: list[int]
    scalar: bool
    pointer: bool
    callee: str


@dataclass
class _Function:
    """known: by value, whether it comes from a public argument. secret: the values that are."""

    name: str
    arguments: list[int]
    instructions: list[_Instruction]
    tables: set[int]
    known: set[int] = field(default_factory=set)
    secret: set[int] = field(default_factory=set)
    returns_secret: bool = False


def decisions(module: llvm.ModuleRef, public: Collection[str | int] = ()) -> list[Decision]:
    """All of them in a module, in order. public: names of arguments, or their numbers.

    Names are those of Numba's functions, numbers those of a function that nobody in it calls.
    """
    functions = {
        f.name: _read(f, public)
        for f in module.functions
        if not f.is_declaration and not _OTHER.match(f.name)
    }
    _settle(functions)
    return [found for function in functions.values() for found in _judge(function, functions)]


def _read(function: llvm.ValueRef, public: Collection[str | int]) -> _Function:
    arguments = [_key(argument) for argument in function.arguments]
    known = {
        key
        for number, (key, argument) in enumerate(zip(arguments, function.arguments, strict=True))
        if number in public or argument.name.split(".")[1:2] == [_named(argument.name, public)]
    }
    tables: set[int] = set()
    instructions = []
    for block in function.blocks:
        for i in block.instructions:
            operands = list(i.operands)
            for operand in operands:
                if operand.value_kind is llvm.ValueKind.global_variable:
                    tables.add(_key(operand))
            kind = str(i.type)
            callee = operands[-1].name if i.opcode == "call" else ""
            instructions.append(
                _Instruction(
                    _key(i),
                    i.opcode,
                    str(i).strip(),
                    [_key(operand) for operand in operands],
                    not kind.startswith("<"),
                    kind == "ptr",
                    callee,
                )
            )
    return _Function(function.name, arguments, instructions, tables, known)


def _named(name: str, public: Collection[str | int]) -> str | None:
    """Numba calls the parts of an argument `arg.<name>.<number>`."""
    part = name.split(".")[1] if name.startswith("arg.") else ""
    return part if part in public else None


def _settle(functions: dict[str, _Function]) -> None:
    """The data flow to its end: first where addresses come from, then what is secret."""
    sites: dict[str, list[tuple[_Function, _Instruction]]] = defaultdict(list)
    for function in functions.values():
        for i in function.instructions:
            if i.callee in functions:
                sites[i.callee].append((function, i))
    while any(_spread_known(f) for f in functions.values()) or _pass_known(functions, sites):
        pass
    while any(_spread_secret(f, functions) for f in functions.values()) or _pass_secret(
        functions, sites
    ):
        pass


def _spread_known(function: _Function) -> bool:
    known, before = function.known, len(function.known)
    grown = True
    while grown:
        size = len(known)
        for i in function.instructions:
            if i.opcode not in ("load", "call") and any(o in known for o in i.operands):
                known.add(i.key)
        grown = len(known) > size
    return len(known) > before


def _pass_known(
    functions: dict[str, _Function], sites: dict[str, list[tuple[_Function, _Instruction]]]
) -> bool:
    """A parameter comes from a public argument when it does so wherever it is given."""
    changed = False
    for name, calls in sites.items():
        target = functions[name]
        for number, parameter in enumerate(target.arguments):
            if parameter not in target.known and all(
                i.operands[number] in caller.known for caller, i in calls
            ):
                target.known.add(parameter)
                changed = True
    return changed


def _spread_secret(function: _Function, functions: dict[str, _Function]) -> bool:
    secret, before = function.secret, (len(function.secret), function.returns_secret)
    grown = True
    while grown:
        size = len(secret)
        for i in function.instructions:
            if i.opcode == "load":
                found = not i.pointer and i.operands[0] not in function.known
            elif i.callee in functions:
                found = functions[i.callee].returns_secret
            else:
                found = any(o in secret for o in i.operands)
            if found:
                secret.add(i.key)
                function.returns_secret |= i.opcode == "ret"
        grown = len(secret) > size
    return before != (len(secret), function.returns_secret)


def _pass_secret(
    functions: dict[str, _Function], sites: dict[str, list[tuple[_Function, _Instruction]]]
) -> bool:
    changed = False
    for name, calls in sites.items():
        target = functions[name]
        for caller, i in calls:
            given = {
                parameter
                for parameter, operand in zip(target.arguments, i.operands, strict=False)
                if operand in caller.secret
            }
            changed |= not given <= target.secret
            target.secret |= given
    return changed


def _judge(function: _Function, functions: dict[str, _Function]) -> Iterator[Decision]:
    secret = function.secret
    tables = _in_tables(function)
    for i in function.instructions:
        found = ""
        if i.opcode in ("br", "switch") and i.operands[0] in secret:
            found = "branch"
        elif i.opcode == "select" and i.scalar and i.operands[0] in secret:
            found = "choice"
        elif i.opcode in _DIVISIONS and any(o in secret for o in i.operands):
            found = "division"
        elif i.opcode in ("load", "store") and i.operands[-1] in secret:
            found = "look-up" if i.operands[-1] in tables else "address"
        elif i.opcode == "call" and i.callee not in functions:
            outside = i.callee and not i.callee.startswith("llvm.")
            if outside and any(o in secret for o in i.operands[:-1]):
                found = "call"
        if found:
            yield Decision(found, function.name, i.text)


def _in_tables(function: _Function) -> set[int]:
    """Addresses inside constant tables."""
    found = set(function.tables)
    size = 0
    while len(found) > size:
        size = len(found)
        for i in function.instructions:
            if i.opcode in _PLACES and any(o in found for o in i.operands):
                found.add(i.key)
    return found


def _key(value: llvm.ValueRef) -> int:
    return ctypes.cast(value._ptr, ctypes.c_void_p).value or 0
