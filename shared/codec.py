"""Strict encoding of frozen dataclasses to wire frames and back (encodings E7).

Frame 0 is a canonical msgpack list: protocol version, message code, the plain fields in order.
Every field marked `Raw` travels as a frame of its own, after frame 0, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgpack

from shared.errors import FormatError
from shared.params import PROTOCOL_VERSION

Buffer = bytes | memoryview
M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Exactly:
    """A bytes field of this length."""

    size: int


@dataclass(frozen=True, slots=True)
class AtMost:
    """A text field, or a list, of at most this length."""

    size: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A field that travels as a raw frame; its length is a multiple of `unit` bytes."""

    unit: int
    limit: int


U64 = Annotated[int, 64]
U32 = Annotated[int, 32]
U8 = Annotated[int, 8]
Digest = Annotated[bytes, Exactly(32)]
Nonce = Annotated[bytes, Exactly(16)]
Name = Annotated[str, AtMost(64)]
Text = Annotated[str, AtMost(300)]
RAW_LIMIT = 64 << 20


class Codec:
    """A closed set of messages, each named by its code."""

    def __init__(self, messages: dict[int, type[Any]]) -> None:
        self._plans = {code: _Plan(code, cls) for code, cls in messages.items()}
        self._by_class = {plan.cls: plan for plan in self._plans.values()}

    def encode(self, message: object) -> list[Buffer]:
        """Frames of a message. Raises FormatError for a field out of its range."""
        return self._by_class[type(message)].encode(message)

    def decode(self, frames: Sequence[Buffer]) -> Any:
        """The message in these frames; anything not canonical raises FormatError."""
        if not frames:
            raise FormatError("message: found no frame, expected at least one")
        head = unpack_canonical(frames[0], "message header")
        if type(head) is not list or len(head) < 2:
            raise FormatError("message header: expected a list with version and code")
        if head[0] != PROTOCOL_VERSION or type(head[0]) is not int:
            raise FormatError(
                f"message: found protocol version {head[0]!r:.20}, expected {PROTOCOL_VERSION}"
            )
        plan = self._plans.get(head[1]) if type(head[1]) is int else None
        if plan is None:
            raise FormatError(f"message: unknown code {head[1]!r:.20}")
        return plan.decode(head[2:], frames[1:])


class _Plan:
    """How one message class maps to frames; made once from its type hints."""

    def __init__(self, code: int, cls: type[Any]) -> None:
        self.code = code
        self.cls = cls
        self.plain: list[tuple[str, Callable[[str, Any], Any]]] = []
        self.raw: list[tuple[str, Frame]] = []
        self.order: list[tuple[bool, int]] = []
        hints = get_type_hints(cls, include_extras=True)
        for field in fields(cls):
            hint = hints[field.name]
            mark = _frame_mark(hint)
            if mark is not None:
                self.order.append((True, len(self.raw)))
                self.raw.append((f"{cls.__name__}.{field.name}", mark))
            else:
                self.order.append((False, len(self.plain)))
                self.plain.append((f"{cls.__name__}.{field.name}", _checker(hint)))
        self.names = [field.name for field in fields(cls)]

    def encode(self, message: object) -> list[Buffer]:
        head: list[Any] = [PROTOCOL_VERSION, self.code]
        frames: list[Buffer] = [b""]
        for name, (is_raw, index) in zip(self.names, self.order, strict=True):
            value = getattr(message, name)
            if is_raw:
                label, mark = self.raw[index]
                frames.append(_raw(label, mark, value))
            else:
                label, check = self.plain[index]
                head.append(check(label, value))
        frames[0] = msgpack.packb(head, use_bin_type=True)
        return frames

    def decode(self, plain: list[Any], raw: Sequence[Buffer]) -> Any:
        if len(plain) != len(self.plain) or len(raw) != len(self.raw):
            raise FormatError(
                f"{self.cls.__name__}: found {len(plain)} fields and {len(raw)} raw frames, "
                f"expected {len(self.plain)} and {len(self.raw)}"
            )
        values = [check(name, v) for (name, check), v in zip(self.plain, plain, strict=True)]
        bodies = [_raw(name, mark, v) for (name, mark), v in zip(self.raw, raw, strict=True)]
        return self.cls(*(bodies[i] if is_raw else values[i] for is_raw, i in self.order))


def unpack_canonical(data: Buffer, what: str) -> Any:
    """Decode msgpack and insist that it is the canonical encoding. Raises FormatError."""
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, use_list=True)
        again = msgpack.packb(value, use_bin_type=True)
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        msgpack.UnpackException,
    ) as error:
        raise FormatError(f"{what}: not decodable ({type(error).__name__})") from None
    if again != data:
        raise FormatError(f"{what}: not the canonical encoding")
    return value


def _frame_mark(hint: Any) -> Frame | None:
    return next((m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Frame)), None)


def _raw(name: str, mark: Frame, value: Any) -> Buffer:
    if not isinstance(value, bytes | memoryview):
        raise FormatError(f"{name}: found {type(value).__name__}, expected bytes")
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    if size % mark.unit or size > mark.limit:
        raise FormatError(
            f"{name}: found {size} bytes, expected a multiple of {mark.unit} up to {mark.limit}"
        )
    return value


def _checker(hint: Any) -> Callable[[str, Any], Any]:
    """A function that returns the value in the hint's type, or raises FormatError."""
    if get_origin(hint) is Annotated:
        base, mark = get_args(hint)[:2]
        if base is int:
            return _unsigned(mark)
        if base is bytes:
            return _exact_bytes(mark.size)
        if base is str:
            return _text(mark.size)
        if get_origin(base) is tuple:
            return _list(_checker(get_args(base)[0]), mark.size)
    if isinstance(hint, type) and issubclass(hint, tuple):
        return _record(hint)
    raise TypeError(f"no wire type for {hint!r}")


def _unsigned(bits: int) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> int:
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise FormatError(f"{name}: expected an unsigned integer of {bits} bits")
        return value

    return check


def _exact_bytes(size: int) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> bytes:
        if type(value) is not bytes or len(value) != size:
            raise FormatError(f"{name}: expected {size} bytes")
        return value

    return check


def _text(limit: int) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> str:
        if type(value) is not str or len(value) > limit or not value.isprintable():
            raise FormatError(f"{name}: expected printable text of at most {limit} characters")
        return value

    return check


def _list(item: Callable[[str, Any], Any], limit: int) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> tuple[Any, ...]:
        if type(value) not in (list, tuple) or len(value) > limit:
            raise FormatError(f"{name}: expected a list of at most {limit} items")
        return tuple(item(name, v) for v in value)

    return check


def _record(cls: Any) -> Callable[[str, Any], Any]:
    """A NamedTuple whose fields are wire types, sent as a nested list."""
    checks = [_checker(h) for h in get_type_hints(cls, include_extras=True).values()]

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(checks):
            raise FormatError(f"{name}: expected a record of {len(checks)} fields")
        return cls(*(c(name, v) for c, v in zip(checks, value, strict=True)))

    return check
