"""Changes of one field of a message, named so that two processes mean the same by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from shared.codec import Frame
from shared.messages import PartyMessage

Apply = Callable[[Any], Any]
N = 17  # bits of the comparison, for the parameters of the campaigns
# Classes of bits: lowest, highest, and around n, a word, and the whole ring.
_BITS: dict[int, tuple[int, ...]] = {
    1: (0, 1, 7),
    4: (0, 15, 31),
    8: (0, 31, 63),
    16: (0, 1, N - 2, N - 1, N, 31, 32, 62, 63, 64, 126, 127),
    32: (0, 1, 63, 64, 127, 128, 255),
}


@dataclass(frozen=True)
class Change:
    """One field of one kind of message is given another value."""

    kind: type[PartyMessage]
    field: str
    name: str
    apply: Apply

    def __call__(self, message: PartyMessage) -> PartyMessage:
        """The message with the change; the same one where it changes nothing."""
        value = getattr(message, self.field)
        content = bytes(value) if isinstance(value, memoryview) else value
        return replace(message, **{self.field: self.apply(content)})

    @property
    def title(self) -> str:
        """Kind, field and change."""
        return f"{self.kind.__name__}.{self.field} {self.name}"


def changes(kind: type[PartyMessage]) -> Iterator[Change]:
    """Every change of every field; a field added to a message is covered by itself."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        for name, apply in _of(hints[field.name]):
            yield Change(kind, field.name, name, apply)


def _flip(bit: int) -> Apply:
    return lambda value: flipped(value, bit)


def _flip_in_last(unit: int, bit: int) -> Apply:
    return lambda value: flipped(value, 8 * (len(value) - unit) + bit)


def flipped(data: bytes, bit: int) -> bytes:
    """One bit turned over, counted from the least significant one; none where there is none."""
    if not 0 <= bit < 8 * len(data):
        return data
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _of(hint: Any) -> Iterator[tuple[str, Apply]]:
    base, mark = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
    if isinstance(mark, Frame):
        yield from _of_frame(mark.unit)
    elif base is int:
        yield from _of_integer(mark)
    elif base is bytes:
        yield from _of_bytes(mark.size)
    elif base is str:
        yield "another text", lambda _: "other"
        yield "no text", lambda _: ""
        yield "a longer text", lambda value: (value + "x")[-64:]
    elif get_origin(base) is tuple:
        yield from _of_list(get_args(base)[0])
    else:
        raise TypeError(f"no changes for {hint!r}")


def _of_integer(bits: int) -> Iterator[tuple[str, Apply]]:
    top = (1 << bits) - 1
    yield "less", lambda value: max(value - 1, 0)
    yield "more", lambda value: min(value + 1, top)
    yield "zero", lambda _: 0
    yield "largest", lambda _: top
    yield "sign bit", lambda value: value ^ 1 << (bits - 1)
    yield "middle bit", lambda value: value ^ 1 << bits // 2


def _of_bytes(size: int) -> Iterator[tuple[str, Apply]]:
    for bit in _BITS[size]:
        yield f"bit {bit}", _flip(bit)
    yield "zeros", lambda value: bytes(len(value))
    yield "ones", lambda value: b"\xff" * len(value)
    yield "turned round", lambda value: value[::-1]


def _of_frame(unit: int) -> Iterator[tuple[str, Apply]]:
    for bit in _BITS[unit]:
        yield f"first unit, bit {bit}", _flip(bit)
        yield f"last unit, bit {bit}", _flip_in_last(unit, bit)
    yield "empty", lambda _: b""
    yield "a unit less", lambda value: value[:-unit]
    yield "a unit more", lambda value: value + bytes(unit)
    yield "a byte more", lambda value: value + b"\0"
    yield "first unit twice", lambda value: value[:unit] + value
    yield "zeros", lambda value: bytes(len(value))
    yield (
        "two units swapped",
        lambda value: value[unit : 2 * unit] + value[:unit] + value[2 * unit :],
    )


def _of_list(item: Any) -> Iterator[tuple[str, Apply]]:
    yield "empty", lambda _: ()
    yield "one less", lambda value: value[:-1]
    yield "last twice", lambda value: (*value, *value[-1:])
    yield "turned round", lambda value: value[::-1]
    for name, hint in get_type_hints(item, include_extras=True).items():
        for change, apply in _of(hint):
            yield f"{name} {change}", _in_first(name, apply)


def _in_first(name: str, apply: Apply) -> Apply:
    def changed(value: Sequence[Any]) -> tuple[Any, ...]:
        if not value:
            return ()
        record = value[0]
        return (record._replace(**{name: apply(getattr(record, name))}), *value[1:])

    return changed
