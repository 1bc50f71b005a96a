"""A client's masked numbers on their way to both parties: a signed file (docs/engine.md).

Of an authority the entries of a private watchlist, of a camera faces; e = x - r mod 2^128, each
element one-time-padded. Anybody may read it; what it hides only both parties together have.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.atomicfile import file_error, make_folder, open_input
from shared.engine_client import ClientMasks
from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    FormatError,
    InputError,
    MaterialExhausted,
)
from shared.hashing import digest
from shared.headerfile import (
    FoundHeader,
    HeaderFormat,
    check_size,
    count,
    octets,
    read_exactly,
    text,
    window,
)
from shared.keys import SIGNATURE_BYTES, Identity, PublicIdentity
from shared.params import Parameters
from shared.reservedfile import ReservedFile
from shared.sets import check_name
from shared.watchlist import check_name as check_label
from shared.windowkeys import Window

U64 = NDArray[np.uint64]

SUFFIX: Final = ".tki"
ROWS_LIMIT: Final = 1 << 17
BYTES_LIMIT: Final = 1 << 29
_LABEL: Final = "masked file"
_FORMAT: Final = HeaderFormat(
    b"twokey-i",
    1,
    8 << 20,
    "file of masked numbers",
    (
        "mint_id",
        "window",
        "start_ms",
        "end_ms",
        "name",
        "client",
        "issuer",
        "params_digest",
        "first",
        "rows",
        "columns",
        "labels",
        "times",
        "body",
    ),
)


@dataclass(frozen=True, slots=True)
class MaskedHeader:
    """What a client says of its numbers. Raises FormatError when it is not consistent.

    mint_id, window, name: of the session whose masks were used; client: whose of them. issuer,
    params_digest, body: 32-byte digests. first: row of the client's masks that the first row took,
    all have `columns` elements. labels: what to call the first rows, of entries; times: when each
    row was captured, unix ms, of faces.
    """

    mint_id: bytes
    window: Window
    name: str
    client: int
    issuer: bytes
    params_digest: bytes
    first: int
    rows: int
    columns: int
    labels: tuple[str, ...]
    times: tuple[int, ...]
    body: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for name, value, size in (
            ("mint_id", self.mint_id, 16),
            ("issuer", self.issuer, 32),
            ("params_digest", self.params_digest, 32),
            ("body", self.body, 32),
        ):
            if len(value) != size:
                raise FormatError(f"{name}: found {len(value)} bytes, expected {size}")
        if not 1 <= self.rows <= ROWS_LIMIT or self.columns < 1 or self.size > BYTES_LIMIT:
            raise FormatError(f"found {self.rows} rows of {self.columns} numbers")
        if bool(self.labels) == bool(self.times):
            raise FormatError("expected either labels of entries or times of faces")
        if len(self.labels) > self.rows or len(set(self.labels)) != len(self.labels):
            raise FormatError(f"found {len(self.labels)} labels of {self.rows} rows, or one twice")
        if self.times and len(self.times) != self.rows:
            raise FormatError(f"found {len(self.times)} times of {self.rows} rows")

    @property
    def size(self) -> int:
        """Bytes of the masked numbers."""
        return 16 * self.rows * self.columns

    def encode(self) -> bytes:
        """What is signed."""
        return _FORMAT.encode(
            self.mint_id,
            self.window.id,
            self.window.start_ms,
            self.window.end_ms,
            self.name,
            self.client,
            self.issuer,
            self.params_digest,
            self.first,
            self.rows,
            self.columns,
            list(self.labels),
            list(self.times),
            self.body,
        )


@dataclass(frozen=True, slots=True)
class MaskedFile:
    """A file that was read; who signed it is not verified yet. elements: (rows columns, 2)."""

    path: Path
    header: MaskedHeader
    elements: U64 = field(repr=False)
    content: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The bytes of the file."""
        return self.content + self.signature + self.elements.tobytes()

    def digest(self) -> bytes:
        """32 bytes that name the file with everything in it."""
        return digest(_LABEL, self.content)

    def verify(self, issuer: PublicIdentity) -> None:
        """Raises AuthenticationFailed unless this identity signed the file."""
        where = f"masked file {self.path}"
        if self.header.issuer != issuer.digest():
            raise AuthenticationFailed(f"{where}: not of {issuer.role} {issuer.name}")
        issuer.verify(self.signature, where, _LABEL, self.content)


def write_masked(
    folder: Path,
    issuer: Identity,
    masks: ClientMasks,
    params: Parameters,
    numbers: NDArray[np.int64],
    *,
    labels: tuple[str, ...] = (),
    times: tuple[int, ...] = (),
) -> Path:
    """Masks rows of numbers and writes them to a new file in `folder`; its path.

    numbers: (rows, columns) int64. labels or times: as in the header. Room on the disk is taken
    before masks are. Raises FormatError, MaterialExhausted, ConfigError, DiskFull.
    """
    session = masks.header
    rows, columns = numbers.shape
    header = MaskedHeader(
        session.mint_id,
        session.window,
        session.name,
        session.client,
        issuer.public.digest(),
        params.digest(),
        masks.position // columns,
        rows,
        columns,
        labels,
        times,
        bytes(32),
    )
    name = f"{session.window.id}.{session.name}.{issuer.name}.{header.first}{SUFFIX}"
    path = folder / name
    if path.exists():
        raise ConfigError(f"masked file {path}: exists already, and is left as it is")
    if numbers.size > masks.remaining:
        raise MaterialExhausted(
            f"masks of session {session.name}: found {masks.remaining // columns} rows, "
            f"expected {rows}"
        )
    make_folder(folder, "folder", mode=0o755)
    begin = len(header.encode()) + SIGNATURE_BYTES
    file = ReservedFile(path, begin + header.size, "masked file")
    try:
        elements = masks.mask(numbers)
        content = replace(header, body=_body_digest(elements)).encode()
        file.write(memoryview(content + issuer.sign(_LABEL, content)), 0)
        file.write(elements.data.cast("B"), begin)
        file.finish()
        file.commit()
        file.sync()
    finally:
        file.abandon()
    return path


def read_masked(path: Path) -> MaskedFile:
    """Reads a file. Raises ConfigError (missing), FormatError for anything that is not exact."""
    where = f"masked file {path}"
    try:
        with open_input(path, "masked file") as file:
            handle = file.fileno()
            found = _FORMAT.read(handle, where)
            header = _decode(found, where)
            check_size(handle, found.end + header.size, where)
            elements = np.empty((header.rows * header.columns, 2), dtype=np.uint64)
            read_exactly(handle, elements.data.cast("B"), found.end, where)
    except OSError as error:
        raise file_error(error, "masked file", path) from None
    if _body_digest(elements) != header.body:
        raise FormatError(f"{where}: its numbers are not those of its header")
    return MaskedFile(path, header, elements, found.content, found.signature)


def _body_digest(elements: U64) -> bytes:
    return digest("masked numbers", elements.data.cast("B"))


def _decode(found: FoundHeader, where: str) -> MaskedHeader:
    fields = found.fields
    try:
        header = MaskedHeader(
            octets(fields, "mint_id"),
            window(fields),
            check_name("session", text(fields, "name")),
            count(fields, "client"),
            octets(fields, "issuer"),
            octets(fields, "params_digest"),
            count(fields, "first"),
            count(fields, "rows"),
            count(fields, "columns"),
            _items(fields, "labels", str),
            _items(fields, "times", int),
            octets(fields, "body"),
        )
        for label in header.labels:
            check_label(label)
        if header.times and not 0 <= min(header.times) <= max(header.times) < 1 << 63:
            raise FormatError("times: expected unix milliseconds")
    except InputError as error:
        raise FormatError(f"{where}: {error}") from None
    return header


def _items(fields: dict[str, Any], name: str, kind: type) -> tuple[Any, ...]:
    found = fields[name]
    if (
        type(found) is not list
        or len(found) > ROWS_LIMIT
        or any(type(x) is not kind for x in found)
    ):
        raise FormatError(f"{name}: expected a list of {kind.__name__}")
    return tuple(found)
