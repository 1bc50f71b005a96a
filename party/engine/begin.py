"""Begins a session from a party's folder: its identity, whom it trusts, its window key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from party.engine.link import DEADLINE_SECONDS, connect, listen
from party.engine.material import Material
from party.engine.session import EngineSession
from shared.engine_file import EngineFile
from shared.engine_header import EngineHeader, read_engine_header
from shared.errors import InputError
from shared.heap import keep_freed_memory
from shared.roles import RoleFolder
from shared.windowkeys import load_private_window_key


def begin(
    folder: Path,
    material: Path,
    address: str,
    *,
    deadline: float = DEADLINE_SECONDS,
    accept: Callable[[EngineHeader], None] = lambda header: None,
) -> EngineSession:
    """A session with the other party, on one engine file of the dealer; use as a context manager.

    Also has the process keep the memory that arrays free (`shared.heap`).

    folder: of this party, P0 or P1. address: where P1 listens and P0 connects to. deadline:
    seconds for each of the peer's messages. accept: looks at the file's verified header before
    anything is marked or sent, and raises what it likes. Raises ConfigError, AuthenticationFailed,
    FormatError, HeaderMismatch, SlotReused (the file has been used), PeerVanished, ResourceError.
    """
    keep_freed_memory()
    role = RoleFolder(folder)
    identity = role.identity()
    if identity.role not in ("p0", "p1"):
        raise InputError(f"{folder}: is a {identity.role}'s, expected a party's")
    party = 0 if identity.role == "p0" else 1
    window = read_engine_header(material).header.window.id
    window_key = load_private_window_key(role.state, window, identity.role, identity.name)
    peer = role.trusted().the("p1" if party == 0 else "p0")
    file = EngineFile.open(material, dealer=role.trusted().the("dealer"), window_key=window_key)
    try:
        accept(file.header)
        made = Material(file, party)
        make = connect if party == 0 else listen
        link = make(identity.curve_pair(), peer.curve_key, address, deadline=deadline)
    except BaseException:
        file.close()
        raise
    return EngineSession(link, made, role.state)
