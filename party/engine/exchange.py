"""The messages of a session: its beginning, one round of elements, one check (docs/engine.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from party.engine.check import CheckName, Committed, OpeningLog, verify_sum, verify_tags
from party.engine.link import Link
from party.engine.material import Material
from shared.engine_journal import mark_begun, refuse_begun
from shared.engine_messages import (
    PIECE_BYTES,
    CheckCommit,
    CheckSeed,
    EngineHello,
    EngineMessage,
    Shares,
    SigmaCommit,
    SigmaOpen,
    Told,
)
from shared.errors import HeaderMismatch, ProtocolViolation
from shared.hashing import digest

U64 = NDArray[np.uint64]
M = TypeVar("M", bound=EngineMessage)
Random = Callable[[int], bytes]


class Exchange:
    """A session that both parties have agreed on, as a sequence of messages over a link.

    Every method may raise PeerVanished, FormatError, ProtocolViolation, HeaderMismatch; after any
    of them the session is over.
    """

    def __init__(self, link: Link, material: Material, state: Path, random: Random) -> None:
        """Marks the session as begun in `state`, then agrees with the peer on it.

        Raises SlotReused when it has begun before.
        """
        self.party = material.party
        self._link = link
        self._random = random
        self.session = self._begin(material, state)

    def swap(self, number: int, layout: bytes, sent: U64, count: int) -> U64:
        """Sends elements and receives so many, by pieces of which two are under way at most.

        number: of the round. layout: what both must have alike. sent: (n, 2) uint64, contiguous.
        Returns (count, 2), perhaps not writable.
        """
        step = PIECE_BYTES // 16
        out = max(1, -(-len(sent) // step))
        into = max(1, -(-count // step))

        def send(piece: int) -> None:
            if piece < out:
                content = sent[piece * step : (piece + 1) * step]
                octets = content.data.cast("B") if content.size else b""
                self._link.send(Shares(self.session, number, layout, piece, octets))

        parts: list[U64] = []
        send(0)
        for piece in range(max(into, out)):
            send(piece + 1)
            if piece >= into:
                continue
            found = self._receive(Shares)
            if (found.session, found.round, found.piece) != (self.session, number, piece):
                raise ProtocolViolation(
                    f"engine round {number}: found piece {found.piece} of round {found.round}, "
                    f"expected piece {piece}"
                )
            if found.layout != layout:
                raise HeaderMismatch(
                    f"engine round {number}: the peer does another operation or has other public "
                    "values"
                )
            content = np.frombuffer(found.elements, dtype=np.uint64).reshape(-1, 2)
            expected = min(step, count - piece * step)
            if len(content) != expected:
                raise ProtocolViolation(
                    f"engine round {number}: found {len(content)} elements, expected {expected}"
                )
            parts.append(content)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def tell(self, number: int, note: bytes) -> bytes:
        """Public bytes to the peer, in place of a round; the peer's. Raises FormatError."""
        self._link.send(Told(self.session, number, note))
        found = self._receive(Told)
        if (found.session, found.round) != (self.session, number):
            raise ProtocolViolation(
                f"engine round {number}: found a note of round {found.round} or another session"
            )
        return bytes(found.note)

    def check(self, number: int, log: OpeningLog, alpha: U64) -> None:
        """Checks all openings of the log; nothing is changed. Raises TamperDetected.

        number: of the check. alpha: (2,) uint64, this party's share.
        """
        name = CheckName(self.session, number, log.count)
        me, peer = self.party, 1 - self.party
        seed, seed_nonce, sigma_nonce = self._random(32), self._random(16), self._random(16)
        self._link.send(
            CheckCommit(
                name.session,
                name.check,
                name.openings,
                name.seed_commitment(me, seed, seed_nonce),
            )
        )
        commit = self._checked(CheckCommit, name)
        if commit.openings != name.openings:
            raise HeaderMismatch(
                f"engine check {name.check}: the peer counts {commit.openings} openings, "
                f"expected {name.openings}"
            )
        self._link.send(CheckSeed(name.session, name.check, seed, seed_nonce))
        theirs = self._checked(CheckSeed, name)
        Committed(commit.commitment, f"engine check {name.check}: the peer's seed").verify(
            name.seed_commitment(peer, theirs.seed, theirs.nonce)
        )
        seeds = (seed, theirs.seed) if me == 0 else (theirs.seed, seed)
        coin = name.coin(*seeds)
        sigma, tags = log.sigma(alpha, coin), log.tags()
        commitment = name.sigma_commitment(me, coin, sigma, tags, sigma_nonce)
        self._link.send(SigmaCommit(name.session, name.check, commitment))
        committed = self._checked(SigmaCommit, name)
        self._link.send(SigmaOpen(name.session, name.check, sigma, tags, sigma_nonce))
        opened = self._checked(SigmaOpen, name)
        Committed(committed.commitment, f"engine check {name.check}: the peer's sigma").verify(
            name.sigma_commitment(peer, coin, opened.sigma, opened.tags, opened.nonce)
        )
        verify_sum(sigma, opened.sigma, name.check)
        verify_tags(tags, opened.tags, name.check)

    def _begin(self, material: Material, state: Path) -> bytes:
        header = material.file.header
        refuse_begun(state, header)  # nobody need wait for a peer to be told that
        mine = EngineHello(self.party, material.set_digest, header.plan.digest(), self._random(16))
        if self.party == 0:
            self._link.meet()  # a peer that is not there yet shall cost nothing
            mark_begun(state, header)
            self._link.send(mine)
            theirs = self._hello(mine)
        else:
            theirs = self._hello(mine)
            mark_begun(state, header)
            self._link.send(mine)
        nonces = (mine.nonce, theirs.nonce) if self.party == 0 else (theirs.nonce, mine.nonce)
        return digest("engine session", mine.material, mine.plan, *nonces)

    def _hello(self, mine: EngineHello) -> EngineHello:
        theirs = self._receive(EngineHello)
        for name, expected, found in (
            ("party", 1 - mine.party, theirs.party),
            ("material", mine.material, theirs.material),
            ("plan", mine.plan, theirs.plan),
        ):
            if expected != found:
                raise HeaderMismatch(f"engine session: the peer's {name} differs")
        return theirs

    def _receive(self, kind: type[M]) -> M:
        message = self._link.receive()
        if not isinstance(message, kind):
            raise ProtocolViolation(
                f"engine session: found a {type(message).__name__}, expected a {kind.__name__}"
            )
        return message

    def _checked(self, kind: type[M], name: CheckName) -> M:
        message = self._receive(kind)
        found = (getattr(message, "session", b""), getattr(message, "check", -1))
        if found != (name.session, name.check):
            raise ProtocolViolation(
                f"engine check {name.check}: found a message of check {found[1]}"
            )
        return message
