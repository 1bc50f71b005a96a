"""Attacks on messages, made from the fields of their dataclasses, and the count of all attacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Final, Generic, TypeVar, get_args, get_origin, get_type_hints

from shared.codec import Frame
from shared.messages import CameraMessage, PartyMessage

M = TypeVar("M", bound=PartyMessage | CameraMessage)
TALLY: Final[dict[str, int]] = {"tried": 0, "caught": 0}


@contextmanager
def attack(name: str) -> Iterator[None]:
    """Counts an attack as tried, and as caught when everything asserted inside holds."""
    TALLY["tried"] += 1
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"attack not caught: {name}: {error}") from error
    TALLY["caught"] += 1


@dataclass(frozen=True)
class Forgery(Generic[M]):
    """One message changed in one field. name: type, field and change."""

    name: str
    field: str
    message: M


def forgeries(message: M) -> Iterator[Forgery[M]]:
    """Every change of every field; a field added to a message is covered by itself."""
    kind = type(message)
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        value = getattr(message, field.name)
        done = set()
        for change, forged in _changed(value, hints[field.name]):
            if forged != value and repr(forged) not in done:
                done.add(repr(forged))
                changed = replace(message, **{field.name: forged})
                yield Forgery(f"{kind.__name__}.{field.name} {change}", field.name, changed)


def flipped(data: bytes, bit: int) -> bytes:
    """The bytes with one bit turned over, counted from the least significant one."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _changed(value: Any, hint: Any) -> Iterator[tuple[str, Any]]:
    base, mark = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    if isinstance(mark, Frame):
        yield from _changed_frame(bytes(value), mark.unit)
    elif base is int:
        yield from _changed_integer(value, mark)
    elif base is bytes:
        yield from _changed_bytes(value)
    elif base is str:
        yield "another text", "other"
        yield "no text", ""
        yield "a longer text", (value + "x")[-64:]
    elif get_origin(base) is tuple:
        yield from _changed_list(value, get_args(base)[0])
    else:
        raise TypeError(f"no forgeries for {hint!r}")


def _changed_integer(value: int, bits: int) -> Iterator[tuple[str, int]]:
    top = (1 << bits) - 1
    for change, forged in (
        ("less", value - 1),
        ("more", value + 1),
        ("zero", 0),
        ("largest", top),
        ("sign bit", value ^ 1 << (bits - 1)),
        ("middle bit", value ^ 1 << bits // 2),
    ):
        if 0 <= forged <= top:
            yield change, forged


def _changed_bytes(value: bytes) -> Iterator[tuple[str, bytes]]:
    last = 8 * len(value) - 1
    for bit in sorted({0, 32, last // 2, last}):
        yield f"bit {bit}", flipped(value, bit)
    yield "zeros", bytes(len(value))
    yield "turned round", value[::-1]


def _changed_frame(value: bytes, unit: int) -> Iterator[tuple[str, bytes]]:
    count = len(value) // unit
    for number in sorted({0, count - 1}) if count else ():
        top = 8 * unit - 1
        for bit in sorted({0, top // 4, top // 2 + 1, top}):
            yield (
                f"unit {number} bit {bit}",
                flipped(value, 8 * unit * number + bit),
            )
    yield "empty", b""
    yield "a unit less", value[:-unit] if count else b""
    yield "a unit more", value + bytes(unit)
    yield "first unit twice", value[:unit] + value
    if count > 1:
        yield "two units swapped", value[unit : 2 * unit] + value[:unit] + value[2 * unit :]
        yield "zeros", bytes(len(value))


def _changed_list(value: tuple[Any, ...], item: Any) -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield "empty", ()
    if not value:
        return
    yield "one less", value[:-1]
    yield "last twice", (*value, value[-1])
    yield "turned round", value[::-1]
    record = value[0]
    hints = get_type_hints(item, include_extras=True)
    for name, hint in hints.items():
        for change, forged in _changed(getattr(record, name), hint):
            yield f"{name} {change}", (record._replace(**{name: forged}), *value[1:])
