"""Which sessions the dealer made for this party, and which masked files fit one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.engine_header import SUFFIX, EngineHeader, read_engine_header
from shared.errors import AuthenticationFailed, ConfigError, FormatError, HeaderMismatch, InputError
from shared.keys import PublicIdentity
from shared.masked_file import MaskedFile
from shared.private_plan import AUTHORITY, PrivateShape
from shared.trust import TrustedIdentities


@dataclass(frozen=True, slots=True)
class Session:
    """A session of private matching. path: this party's file of its material."""

    path: Path
    header: EngineHeader
    shape: PrivateShape

    def check_open(self, wall_ms: int) -> None:
        """Raises InputError unless its window runs now."""
        window = self.header.window
        if not window.start_ms <= wall_ms < window.end_ms:
            state = "has ended" if wall_ms >= window.end_ms else "has not begun"
            raise InputError(f"{self}: the window {window} {state}")

    def __str__(self) -> str:
        return f"session {self.header.name} of window {self.header.window.id}"


def find_session(
    material: Path,
    dealer: PublicIdentity,
    *,
    mint_id: bytes | None = None,
    window: str | None = None,
    name: str | None = None,
) -> Session:
    """The one session among a folder's files that has this mint id, or this window and name.

    Its dealer is verified; its key stays closed. Raises ConfigError (none), InputError (several,
    or one that is not of private matching), FormatError, AuthenticationFailed.
    """
    found = []
    unreadable: FormatError | None = None
    for path in sorted(material.rglob(f"*{SUFFIX}")):
        try:
            signed = read_engine_header(path)
        except FormatError as error:
            unreadable = unreadable or error
            continue
        header = signed.header
        if (
            mint_id in (None, header.mint_id)
            and window in (None, header.window.id)
            and name in (None, header.name)
        ):
            found.append((path, signed.verify(dealer, f"engine file {path}")))
    wanted = f"session {name}" if name is not None else "this session"
    if not found and unreadable is not None:
        raise unreadable
    if not found:
        raise ConfigError(f"{material}: the dealer's file of {wanted} is not there")
    if len(found) > 1:
        raise InputError(f"{material}: found {len(found)} files of {wanted}, expected one")
    path, header = found[0]
    return Session(path, header, PrivateShape.of(header, f"engine file {path}"))


def check_masked(file: MaskedFile, session: Session, trusted: TrustedIdentities) -> PublicIdentity:
    """Who signed a masked file, if that is the client whose masks the dealer made.

    Raises HeaderMismatch (another session or other parameters), AuthenticationFailed, FormatError.
    """
    where, found, header = f"masked file {file.path}", file.header, session.header
    if (found.mint_id, found.window, found.name) != (header.mint_id, header.window, header.name):
        raise HeaderMismatch(f"{where}: for another session than {session}")
    if found.params_digest != session.shape.params.digest():
        raise HeaderMismatch(f"{where}: made for other parameters than those of {session}")
    if found.client >= len(header.clients):
        raise HeaderMismatch(f"{where}: found client {found.client}, {session} has none such")
    issuer = _client(trusted, session, found.client, where)
    file.verify(issuer)
    rows = session.shape.rows(found.client)
    if found.columns != session.shape.columns(found.client) or found.first + found.rows > rows:
        raise FormatError(
            f"{where}: found rows {found.first} to {found.first + found.rows} of "
            f"{found.columns} numbers, expected up to {rows} of "
            f"{session.shape.columns(found.client)}"
        )
    of_authority = found.client == AUTHORITY
    if of_authority != bool(found.labels) or (of_authority and found.rows != rows):
        raise FormatError(f"{where}: found no complete list of entries, and no faces")
    return issuer


def _client(
    trusted: TrustedIdentities, session: Session, number: int, where: str
) -> PublicIdentity:
    """The trusted identity that the dealer made client `number` of the session."""
    role = "authority" if number == AUTHORITY else "camera"
    for identity in trusted.everybody():
        if identity.role == role and identity.digest() == session.header.clients[number]:
            return identity
    raise AuthenticationFailed(f"{where}: client {number} of {session} is no trusted {role}")
