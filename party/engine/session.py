"""An engine session: begun once, checked before every output, ended for good (docs/engine.md)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from party.engine.arrays import (
    MacKey,
    SharedArray,
    concatenate,
    same_session,
)
from party.engine.check import CheckName, Committed, OpeningLog, verify_sum
from party.engine.inputs import input_of, public
from party.engine.link import Link
from party.engine.material import Items, Material
from party.engine.operation import Cost, Opening, Operation, Request, Sending, beside
from shared import ring
from shared.engine_journal import mark_begun
from shared.engine_messages import (
    PIECE_BYTES,
    CheckCommit,
    CheckSeed,
    EngineHello,
    EngineMessage,
    EngineRefused,
    Shares,
    SigmaCommit,
    SigmaOpen,
)
from shared.engine_plan import MASK, Kind
from shared.errors import (
    HeaderMismatch,
    InputError,
    ProtocolViolation,
    TwokeyError,
)
from shared.hashing import Field, digest

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
T = TypeVar("T")
M = TypeVar("M", bound=EngineMessage)

_ABOVE: U64 = np.array([0, 1], dtype=np.uint64)  # 2^k


@dataclass(slots=True)
class Counters:
    """What a session has done. bytes: ring elements that both parties sent in rounds."""

    rounds: int = 0
    bytes: int = 0
    openings: int = 0
    checks: int = 0
    material: dict[Kind, int] = field(default_factory=dict)


class EngineSession:
    """One session of this party with the other. Use as a context manager.

    `run` and `open` raise InputError, RangeError and MaterialExhausted before anything is sent,
    and the session goes on; any other error ends it, with its MAC key and its material. A
    session that ends in good order with openings that no check has covered raises
    ProtocolViolation.
    """

    def __init__(
        self,
        link: Link,
        material: Material,
        state: Path,
        *,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Marks the session as begun in `state`, then agrees with the peer on it.

        Raises SlotReused (it has begun before), HeaderMismatch (the peer has other material or
        plans), PeerVanished.
        """
        self.counters = Counters()
        self._link = link
        self._material = material
        self._random = random
        self._log = OpeningLog()
        self._open = True
        try:
            self._session = self._begin(state)
        except BaseException as error:
            self._end(error)
            raise

    @property
    def party(self) -> int:
        """0 or 1."""
        return self._material.party

    @property
    def key(self) -> MacKey:
        """This party's share of the MAC key."""
        return self._material.key

    def take(self, kind: Kind, count: int) -> Items:
        """The next items of a kind, once and for all. Raises MaterialExhausted."""
        items = self._material.take(kind, count)
        self.counters.material[kind] = self.counters.material.get(kind, 0) + count
        return items

    # -- values ----------------------------------------------------------------------------

    def input(
        self, owner: int, shape: tuple[int, ...], values: ArrayLike | None = None
    ) -> SharedArray:
        """Shares of the owner's integers; one round, in which the owner sends 16 bytes each.

        values: at the owner, int64 of this shape; None at the other party. Raises InputError,
        RangeError, MaterialExhausted.
        """
        return self.run(input_of(self.party, owner, shape, values))

    def public(self, values: ArrayLike) -> SharedArray:
        """Shares of integers that both parties know; no round. Raises InputError, RangeError."""
        return public(self.key, values)

    def run(self, operation: Operation[T]) -> T:
        """Does one operation. Raises MaterialExhausted before anything is sent."""
        result: T = self.together(operation)[0]
        return result

    def together(self, *operations: Operation[Any]) -> list[Any]:
        """Does independent operations in shared rounds; results in their order."""
        self._usable()
        cost = Cost().beside(*(operation.cost for operation in operations))
        self._material.require(cost.material)
        try:
            steps = beside([operation.start(self) for operation in operations])
            replies: tuple[U64, ...] | None = None
            while True:
                try:
                    requests = next(steps) if replies is None else steps.send(replies)
                except StopIteration as end:
                    return list(end.value)
                replies = self._round(requests)
        except BaseException as error:
            self._end(error)
            raise

    # -- outputs ---------------------------------------------------------------------------

    def open(self, array: SharedArray) -> I64:
        """The numbers themselves, as int64, to both parties; only after all checks passed.

        Bits above bit k are hidden by a mask first. Costs one MASK an element, one round of 32
        bytes each, and one or two checks of four rounds. Raises TamperDetected.
        """
        return self.open_all([array])[0]

    def open_all(self, arrays: Sequence[SharedArray]) -> list[I64]:
        """As `open`, several in the same rounds."""
        self._usable()
        if not arrays:
            raise InputError("open: found no array, expected at least one")
        same_session(*arrays)
        if arrays[0].key is not self.key:
            raise InputError("open: the arrays are of another session")
        flat = concatenate([array.reshape(array.size) for array in arrays])
        self._material.require({MASK: flat.size})
        if self._log.count:
            self.check()  # nothing that depends on an unchecked opening is shown
        try:
            mask = self.take(MASK, flat.size).element(0).scale(_ABOVE)
            (opened,) = self._round((Opening(*(flat + mask).flat()),))
        except BaseException as error:
            self._end(error)
            raise
        self.check()
        numbers = np.ascontiguousarray(opened[:, 0]).view(np.int64)
        edges = np.cumsum([array.size for array in arrays])[:-1]
        parts = np.split(numbers, edges)
        return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]

    def check(self) -> None:
        """Checks the MACs of all openings so far. Raises TamperDetected, and ends the session."""
        self._usable()
        try:
            self._check()
        except BaseException as error:
            self._end(error)
            raise

    @property
    def unchecked(self) -> int:
        """Openings that no check has covered yet."""
        return self._log.count

    # -- ending ----------------------------------------------------------------------------

    def close(self) -> None:
        """Destroys the key and the material. Raises ProtocolViolation for a missing check."""
        missing = self._log.count if self._open else 0
        self._finish()
        if missing:
            raise ProtocolViolation(
                f"engine session: {missing} openings were never checked; "
                "nothing that came of them may be used"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._end(error)

    def _usable(self) -> None:
        if not self._open:
            raise ProtocolViolation("engine session: it has ended")

    def _end(self, error: BaseException) -> None:
        """Ends the session after an error, and tells the peer that it did."""
        if not self._open:
            return
        name = type(error).__name__ if isinstance(error, TwokeyError) else "ProtocolViolation"
        with contextlib.suppress(TwokeyError, ValueError):
            self._link.send(EngineRefused(name, "the session has ended"))
        self._finish()

    def _finish(self) -> None:
        self._open = False
        self._log.clear()
        self._material.close()
        self._link.close()

    # -- messages --------------------------------------------------------------------------

    def _begin(self, state: Path) -> bytes:
        header = self._material.file.header
        mine = EngineHello(
            self.party, self._material.set_digest, header.plan.digest(), self._random(16)
        )
        if self.party == 0:
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

    def _round(self, requests: tuple[Request, ...]) -> tuple[U64, ...]:
        """One round: everything that is asked for, in both directions."""
        mine, theirs = _parts(requests, self.party), _parts(requests, 1 - self.party)
        outgoing = [_data(request) for request, count in zip(requests, mine, strict=True) if count]
        sent = np.concatenate(outgoing) if len(outgoing) > 1 else (outgoing or [_NOTHING])[0]
        received = self._exchange(_layout(requests), sent, sum(theirs))
        self.counters.rounds += 1
        self.counters.bytes += sent.nbytes + received.nbytes
        replies: list[U64] = []
        at = 0
        for request, count in zip(requests, theirs, strict=True):
            found = received[at : at + count]
            at += count
            if isinstance(request, Opening):
                # In the place of this party's shares, which are sent and of no more use.
                opened = ring.add(request.value, found, request.value)
                self._log.add(opened, request.mac)
                self.counters.openings += len(opened)
                replies.append(opened)
            elif isinstance(request, Sending) and request.data is not None:
                replies.append(request.data)
            else:
                replies.append(found)
        return tuple(replies)

    def _exchange(self, layout: bytes, sent: U64, count: int) -> U64:
        """Sends elements and receives so many, by pieces of which two are under way at most."""
        step = PIECE_BYTES // 16
        out = max(1, -(-len(sent) // step))
        into = max(1, -(-count // step))
        number = self.counters.rounds

        def send(piece: int) -> None:
            if piece < out:
                content = sent[piece * step : (piece + 1) * step]
                octets = content.data.cast("B") if content.size else b""
                self._link.send(Shares(self._session, number, layout, piece, octets))

        parts: list[U64] = []
        send(0)
        for piece in range(max(into, out)):
            send(piece + 1)
            if piece >= into:
                continue
            found = self._receive(Shares)
            if (found.session, found.round, found.piece) != (self._session, number, piece):
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

    def _check(self) -> None:
        name = CheckName(self._session, self.counters.checks, self._log.count)
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
        sigma = self._log.sigma(self.key.alpha, coin)
        self._link.send(
            SigmaCommit(
                name.session, name.check, name.sigma_commitment(me, coin, sigma, sigma_nonce)
            )
        )
        committed = self._checked(SigmaCommit, name)
        self._link.send(SigmaOpen(name.session, name.check, sigma, sigma_nonce))
        opened = self._checked(SigmaOpen, name)
        Committed(committed.commitment, f"engine check {name.check}: the peer's sigma").verify(
            name.sigma_commitment(peer, coin, opened.sigma, opened.nonce)
        )
        verify_sum(sigma, opened.sigma, name.check)
        self._log.clear()
        self.counters.checks += 1

    def _checked(self, kind: type[M], name: CheckName) -> M:
        message = self._receive(kind)
        found = (getattr(message, "session", b""), getattr(message, "check", -1))
        if found != (name.session, name.check):
            raise ProtocolViolation(
                f"engine check {name.check}: found a message of check {found[1]}"
            )
        return message


_NOTHING: U64 = np.empty((0, 2), dtype=np.uint64)


def _parts(requests: tuple[Request, ...], party: int) -> list[int]:
    """How many elements this party sends for each request."""
    counts = []
    for request in requests:
        if isinstance(request, Opening):
            counts.append(len(request.value))
        elif isinstance(request, Sending):
            counts.append(request.count if request.sender == party else 0)
        else:
            counts.append(0)
    return counts


def _data(request: Request) -> U64:
    if isinstance(request, Opening):
        return request.value
    if isinstance(request, Sending) and request.data is not None:
        return request.data
    raise ProtocolViolation("engine round: nothing to send for a request that sends")


def _layout(requests: tuple[Request, ...]) -> bytes:
    """32 bytes that both parties of a round must have alike."""
    fields: list[Field] = []
    for request in requests:
        if isinstance(request, Opening):
            fields += ["open", len(request.value)]
        elif isinstance(request, Sending):
            fields += ["send", request.sender, request.count]
        else:
            fields += ["agree", request.digest]
    return digest("engine layout", *fields)
