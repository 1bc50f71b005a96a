"""A holder for secret bytes that does not show them by accident."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Secret bytes: prints as its type, refuses truth value, comparison, hashing and copying.

    The bytes are kept in one buffer of this object; `destroy` overwrites it. Raises ValueError
    when used after `destroy`.
    """

    __slots__ = ("_content",)

    def __init__(self, content: bytes | bytearray | memoryview) -> None:
        self._content: bytearray | None = bytearray(content)

    def reveal(self) -> bytes:
        """A copy of the bytes, for the call that needs them."""
        if self._content is None:
            raise ValueError("a secret was asked for after it was destroyed")
        return bytes(self._content)

    def destroy(self) -> None:
        """Overwrites the bytes held here; the object is of no use afterwards."""
        if self._content is not None:
            self._content[:] = bytes(len(self._content))
            self._content = None

    def __repr__(self) -> str:
        return "Secret"

    def __bool__(self) -> NoReturn:
        raise TypeError("a secret has no truth value")

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("a secret is not compared; use hmac.compare_digest on what it reveals")

    __hash__ = None  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is not copied or serialised")
