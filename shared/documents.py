"""Small strict JSON files: one flat object of known fields, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from shared.errors import FormatError

VERSION = 1

Value = str | int


def render(kind: str, values: Mapping[str, Value]) -> bytes:
    """The file's bytes; kind and version come first."""
    document = {"twokey": kind, "version": VERSION, **values}
    return (json.dumps(document, indent=1, ensure_ascii=True) + "\n").encode()


class Document:
    """A decoded file of one kind. Every access checks the type; all errors are FormatError."""

    def __init__(self, content: bytes, kind: str, names: tuple[str, ...], where: str) -> None:
        self.where = where
        try:
            found = json.loads(
                content.decode(),
                object_pairs_hook=self._no_duplicates,
                parse_constant=self._no_constant,
            )
        except (ValueError, RecursionError):
            raise FormatError(f"{where}: not a JSON document") from None
        if not isinstance(found, dict) or found.get("twokey") != kind:
            raise FormatError(f"{where}: not a twokey {kind} file")
        version = found.get("version")
        if type(version) is not int or version != VERSION:
            raise FormatError(f"{where}: unknown version, expected {VERSION}")
        expected = {"twokey", "version", *names}
        if set(found) != expected:
            wrong = ", ".join(sorted(set(found) ^ expected))
            raise FormatError(f"{where}: missing or unknown fields: {wrong:.200}")
        self._values: dict[str, Any] = found

    def text(self, name: str) -> str:
        """A string."""
        value = self._values[name]
        if type(value) is not str:
            raise FormatError(f"{self.where}: {name}: expected text")
        return value

    def integer(self, name: str) -> int:
        """An unsigned 64-bit integer."""
        value = self._values[name]
        if type(value) is not int or not 0 <= value < 1 << 64:
            raise FormatError(f"{self.where}: {name}: expected an unsigned 64-bit integer")
        return value

    def octets(self, name: str, size: int) -> bytes:
        """So many bytes, written as lower-case hexadecimal digits."""
        text = self.text(name)
        try:
            value = bytes.fromhex(text)
        except ValueError:
            value = b""
        if len(value) != size or value.hex() != text:
            raise FormatError(f"{self.where}: {name}: expected {size} bytes as hexadecimal digits")
        return value

    def _no_duplicates(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise FormatError(f"{self.where}: a field is there twice")
        return dict(pairs)

    def _no_constant(self, _: str) -> NoReturn:
        raise FormatError(f"{self.where}: not a JSON document")
