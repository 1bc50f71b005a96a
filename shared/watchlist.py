"""The watchlist file: who is looked for, one line a person.

A text file of JSON lines. The first names the format, the model and its dimension, every other
one an entry: a name, and the embedding as the model gave it, float32 little-endian in base64.
Fixed point comes when it is read, from the parameters of the window, so that two organisations
with a copy of the same line get the same entry digest. Removing a person is deleting a line.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.atomicfile import PRIVATE, open_input, write_atomic
from shared.errors import FormatError, InputError, ModelMismatch, RangeError
from shared.fixedpoint import check_entries, quantise
from shared.hashing import digest
from shared.params import Parameters

FORMAT_VERSION = 1
MAX_NAME = 200
MAX_FILE_BYTES = 1 << 28
_HEADER = ("twokey_watchlist", "model", "dim")
_ENTRY = ("name", "embedding")


@dataclass(frozen=True, slots=True)
class Person:
    """One line of the file. embedding: float32 little-endian bytes, 4 dim of them.

    Raises FormatError for a name that two people could read differently.
    """

    name: str
    embedding: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.name)

    @classmethod
    def of(cls, name: str, embedding: NDArray[np.floating[Any]]) -> Person:
        """From an embedding, (d,) of any float type; the name is put into Unicode's form NFC."""
        vector = np.asarray(embedding, dtype="<f4")
        return cls(unicodedata.normalize("NFC", name), vector.tobytes())

    def vector(self) -> NDArray[np.float32]:
        """The embedding, float32 (d,)."""
        return np.frombuffer(self.embedding, dtype="<f4")


@dataclass(frozen=True, slots=True)
class Entry:
    """A watchlist entry as this party holds it. coordinates: (d,) int64, fixed point."""

    name: str
    digest: bytes
    coordinates: NDArray[np.int64] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Watchlist:
    """The people of one model, in the order of the file; no name and no embedding twice.

    Raises FormatError, RangeError (NaN, infinity).
    """

    model: str
    dim: int
    people: tuple[Person, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(self.model) <= 64 or not self.model.isascii():
            raise FormatError("watchlist model: expected 1 to 64 ASCII characters")
        if not 1 <= self.dim <= 4096:
            raise FormatError(f"watchlist dim: found {self.dim}, expected 1 to 4096")
        names: set[str] = set()
        owners: dict[bytes, str] = {}
        for person in self.people:
            if len(person.embedding) != 4 * self.dim:
                raise FormatError(
                    f"entry {person.name!r}: found {len(person.embedding)} bytes of embedding, "
                    f"expected {4 * self.dim}"
                )
            if not np.isfinite(person.vector()).all():
                raise RangeError(f"entry {person.name!r}: found NaN or infinity")
            if person.name in names:
                raise FormatError(f"entry {person.name!r}: the name is there twice")
            owner = owners.setdefault(person.embedding, person.name)
            if owner != person.name:
                raise FormatError(f"entry {person.name!r}: has the embedding of {owner!r}")
            names.add(person.name)

    def with_person(self, person: Person) -> Watchlist:
        """The list with one more at its end. Raises FormatError when it is there already."""
        return replace(self, people=(*self.people, person))

    def entries(self, params: Parameters) -> tuple[Entry, ...]:
        """The entries as a window of these parameters sees them, range checked.

        Raises ModelMismatch when the list is of another model, RangeError when a norm is above
        the entry bound.
        """
        if (self.model, self.dim) != (params.model, params.dim):
            raise ModelMismatch(
                f"watchlist: found model {self.model} with {self.dim} coordinates, "
                f"expected {params.model} with {params.dim}"
            )
        found: list[Entry] = []
        for person in self.people:
            coordinates = quantise(person.vector(), params.fraction_bits)
            try:
                check_entries(coordinates[None], params)
            except RangeError:
                raise RangeError(
                    f"entry {person.name!r}: its norm is above the bound {params.entry_bound}"
                ) from None
            content = coordinates.astype("<i4").tobytes()
            entry_digest = digest("entry", params.model, person.name, content)
            found.append(Entry(person.name, entry_digest, coordinates))
        return tuple(found)


def encode(watchlist: Watchlist) -> bytes:
    """The bytes of a watchlist file."""
    lines = [
        {"twokey_watchlist": FORMAT_VERSION, "model": watchlist.model, "dim": watchlist.dim},
        *(
            {"name": p.name, "embedding": base64.b64encode(p.embedding).decode()}
            for p in watchlist.people
        ),
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def decode(content: bytes) -> Watchlist:
    """The inverse of `encode`, strict. Raises FormatError naming the line, or RangeError."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"watchlist: byte {error.start} is not UTF-8") from None
    if not text.endswith("\n"):
        raise FormatError("watchlist: its last line is cut off")
    header, *lines = text[:-1].split("\n")
    version, model, dim = _fields(1, header, _HEADER)
    if type(version) is not int or version != FORMAT_VERSION:
        raise FormatError(f"watchlist: found format {version!r}, expected {FORMAT_VERSION}")
    if type(model) is not str or type(dim) is not int:
        raise FormatError("watchlist line 1: expected a string for model, an integer for dim")
    people = [_person(number, line) for number, line in enumerate(lines, start=2)]
    return Watchlist(model, dim, tuple(people))


def load(path: Path) -> Watchlist:
    """Read and validate a watchlist file.

    Raises InputError when it can't be read, FormatError or RangeError when it is not valid.
    """
    try:
        with open_input(path, "watchlist") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"watchlist {path}: {error.strerror or 'not readable'}") from error
    if len(content) > MAX_FILE_BYTES:
        raise FormatError(f"watchlist {path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        return decode(content)
    except (FormatError, RangeError) as error:
        raise type(error)(f"{path}: {error}") from None


def save(path: Path, watchlist: Watchlist) -> None:
    """Replace the file as a whole, durably: readers see the old list or the new one.

    A new file is for its owner alone; an existing one keeps its mode. Raises DiskFull, ConfigError.
    """
    target = path.resolve()
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except OSError:
        mode = PRIVATE
    write_atomic(target, encode(watchlist), "watchlist", mode=mode, replace=True)


def append(path: Path, person: Person, model: str) -> Watchlist:
    """Add a person to the file, which is made if it is not there; the list that is now in it.

    Two appends at once wait for one another. Raises ModelMismatch when the file is of another
    model, and what `load` and `save` raise.
    """
    try:
        with _opened(path.resolve().parent) as folder:
            fcntl.flock(folder, fcntl.LOCK_EX)
            dim = len(person.embedding) // 4
            watchlist = load(path) if path.exists() else Watchlist(model, dim)
            check_model(watchlist, model)
            extended = watchlist.with_person(person)
            save(path, extended)
            return extended
    except OSError as error:
        raise InputError(f"watchlist {path}: {error.strerror or 'not writable'}") from error


def remove(path: Path, name: str) -> Watchlist:
    """Take a person off the file's list; the list that is now in it.

    Raises InputError when there is nobody of that name, and what `load` and `save` raise.
    """
    try:
        with _opened(path.resolve().parent) as folder:
            fcntl.flock(folder, fcntl.LOCK_EX)
            watchlist = load(path)
            kept = tuple(person for person in watchlist.people if person.name != name)
            if len(kept) == len(watchlist.people):
                raise InputError(f"watchlist {path}: nobody is called {name!r}")
            shorter = replace(watchlist, people=kept)
            save(path, shorter)
            return shorter
    except OSError as error:
        raise InputError(f"watchlist {path}: {error.strerror or 'not writable'}") from error


def check_name(name: str) -> None:
    """Raises FormatError for a name that is empty, long, unprintable, or not in Unicode's NFC."""
    if not 0 < len(name) <= MAX_NAME or name != name.strip():
        raise FormatError(f"name: expected 1 to {MAX_NAME} characters, no space at the ends")
    if not name.isprintable():
        raise FormatError("name: a character is not printable")
    if name != unicodedata.normalize("NFC", name):
        raise FormatError(f"name {name!r}: expected Unicode's normal form NFC")


def check_model(watchlist: Watchlist, model: str) -> None:
    """Raises ModelMismatch unless the list is of that model."""
    if watchlist.model != model:
        raise ModelMismatch(f"watchlist: found model {watchlist.model}, expected {model}")


def _person(number: int, line: str) -> Person:
    name, embedding = _fields(number, line, _ENTRY)
    if type(name) is not str or type(embedding) is not str:
        raise FormatError(f"watchlist line {number}: expected strings")
    try:
        content = base64.b64decode(embedding, validate=True)
        canonical = base64.b64encode(content).decode() == embedding
    except (binascii.Error, ValueError):
        content, canonical = b"", False
    if not canonical:
        raise FormatError(f"watchlist line {number}: the embedding is not canonical base64")
    try:
        return Person(name, content)
    except FormatError as error:
        raise FormatError(f"watchlist line {number}: {error}") from None


def _fields(number: int, line: str, expected: tuple[str, ...]) -> list[object]:
    """The values of one JSON object with exactly these keys, none of them twice."""
    try:
        pairs = json.loads(line, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise FormatError(f"watchlist line {number}: not JSON") from None
    keys = [pair[0] for pair in pairs if type(pair) is tuple] if type(pairs) is list else []
    if sorted(keys) != sorted(expected) or len(pairs) != len(expected):
        raise FormatError(
            f"watchlist line {number}: expected exactly the keys {', '.join(expected)}"
        )
    found = dict(pairs)
    return [found[key] for key in expected]


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)
