"""The private watchlists that this party has agreed to search for: masked entries, each once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from party.private.accept import Session, check_masked, find_session
from party.windows import check_threshold
from shared.atomicfile import PRIVATE, make_folder, write_atomic
from shared.engine_journal import has_begun
from shared.errors import ConfigError, FormatError, InputError, SlotReused
from shared.keys import PublicIdentity
from shared.masked_file import SUFFIX, MaskedFile, read_masked
from shared.private_plan import AUTHORITY
from shared.roles import RoleFolder

LISTS_FOLDER: Final = "shared-lists"


@dataclass(frozen=True, slots=True)
class SharedList:
    """A list of masked entries with who issued it. file: its labels are the entries' aliases."""

    session: Session
    issuer: PublicIdentity
    file: MaskedFile


class SharedLists:
    """The lists below a party's state folder, one for a session."""

    def __init__(self, folder: Path, material: Path) -> None:
        """folder: the party's. material: where its files of the dealer are."""
        role = RoleFolder(folder)
        self._state = role.state
        self._folder = role.state / LISTS_FOLDER
        self._material = material
        self._trusted = role.trusted()

    def add(self, path: Path, agreed: float | None) -> SharedList:
        """Takes a list of an authority, durably. agreed: the threshold that this party agrees to.

        Raises SlotReused (there is one for its session, or that has begun), HeaderMismatch,
        AuthenticationFailed, FormatError, InputError, ConfigError, DiskFull.
        """
        file = read_masked(path)
        found = self._checked(file)
        session = found.session
        check_threshold(agreed, session.shape.params)
        if session.header.window.end_ms <= time.time_ns() // 1_000_000:
            raise InputError(f"masked file {path}: its window has ended")
        if has_begun(self._state, session.header):
            raise SlotReused(f"masked file {path}: {session} has begun, it takes no other list")
        make_folder(self._folder, "shared lists", mode=0o700)
        target = self._path(session)
        try:
            write_atomic(target, file.encode(), "masked list", mode=PRIVATE, replace=False)
        except ConfigError:
            raise SlotReused(f"masked file {path}: {session} has a list already") from None
        return found

    def of(self, session: Session) -> SharedList:
        """The list for a session. Raises ConfigError when there is none."""
        path = self._path(session)
        if not path.exists():
            raise ConfigError(f"{session}: no list was added for it (watchlist add-shared)")
        return self._checked(read_masked(path), session)

    def kept(self) -> list[MaskedFile]:
        """All lists that are kept, of whatever session; their authors were verified before."""
        return [read_masked(path) for path in sorted(self._folder.glob(f"*{SUFFIX}"))]

    def forget_ended(self, wall_ms: int) -> None:
        """Removes the lists of windows that are over."""
        for file in self.kept():
            if file.header.window.end_ms <= wall_ms:
                file.path.unlink(missing_ok=True)

    def _checked(self, file: MaskedFile, session: Session | None = None) -> SharedList:
        header = file.header
        if session is None:
            session = find_session(
                self._material, self._trusted.the("dealer"), mint_id=header.mint_id
            )
        issuer = check_masked(file, session, self._trusted)
        if header.client != AUTHORITY:
            raise FormatError(f"masked file {file.path}: of faces, expected entries")
        return SharedList(session, issuer, file)

    def _path(self, session: Session) -> Path:
        return self._folder / f"{session.header.mint_id.hex()}{SUFFIX}"
