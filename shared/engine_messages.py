"""Messages of an engine session: one frozen dataclass each, a closed set (docs/engine.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from shared.codec import (
    U8,
    U32,
    U64,
    Buffer,
    Codec,
    Digest,
    Frame,
    Name,
    Nonce,
    Text,
)

PIECE_BYTES: Final = 4 << 20
NOTE_BYTES: Final = 1 << 16
MESSAGE_LIMIT: Final = PIECE_BYTES + 4096

Elements = Annotated[Buffer, Frame(16, PIECE_BYTES)]
Note = Annotated[Buffer, Frame(1, NOTE_BYTES)]


@dataclass(frozen=True, slots=True)
class EngineHello:
    """Opens a session: whose material, of what plan, and this party's share of the session id."""

    party: U8
    material: Digest
    plan: Digest
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class Shares:
    """One piece of what a party sends in a round; layout: a digest of all requests of the round."""

    session: Digest
    round: U64
    layout: Digest
    piece: U32
    elements: Elements


@dataclass(frozen=True, slots=True)
class CheckCommit:
    """Begins a check over so many openings: a commitment to this party's seed."""

    session: Digest
    check: U64
    openings: U64
    commitment: Digest


@dataclass(frozen=True, slots=True)
class CheckSeed:
    """Opens the seed."""

    session: Digest
    check: U64
    seed: Digest
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class SigmaCommit:
    """A commitment to this party's check value."""

    session: Digest
    check: U64
    commitment: Digest


@dataclass(frozen=True, slots=True)
class SigmaOpen:
    """Opens the check value and the digest of tags."""

    session: Digest
    check: U64
    sigma: Nonce
    tags: Digest
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class Told:
    """Public bytes in place of a round: what the program of the sender has to say to the other."""

    session: Digest
    round: U64
    note: Note


@dataclass(frozen=True, slots=True)
class EngineRefused:
    """The sender has ended the session: the error's class name and one line of detail."""

    error: Name
    detail: Text


EngineMessage = (
    EngineHello | Shares | CheckCommit | CheckSeed | SigmaCommit | SigmaOpen | EngineRefused | Told
)

ENGINE_CODEC = Codec(
    {
        60: EngineHello,
        61: Shares,
        62: CheckCommit,
        63: CheckSeed,
        64: SigmaCommit,
        65: SigmaOpen,
        66: EngineRefused,
        67: Told,
    }
)
