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
from party.engine.bits import join, packed
from party.engine.check import OpeningLog
from party.engine.exchange import Exchange
from party.engine.inputs import input_of, public
from party.engine.link import Link
from party.engine.material import Items, Material
from party.engine.operation import (
    BitOpening,
    Cost,
    Opening,
    Operation,
    Request,
    Sending,
    beside,
)
from shared import ring
from shared.engine_messages import NOTE_BYTES, EngineRefused
from shared.engine_plan import MASK, Kind
from shared.errors import FormatError, InputError, ProtocolViolation, TwokeyError
from shared.hashing import Field, digest

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
T = TypeVar("T")

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
        self._log = OpeningLog()
        self._open = True
        try:
            self._exchange = Exchange(link, material, state, random)
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

    @property
    def id(self) -> bytes:
        """32 bytes that name the session, the same at both parties and public."""
        return self._exchange.session

    def take(self, kind: Kind, count: int, at: int | None = None) -> Items:
        """The next items of a kind, or a client's `at` this place, once and for all.

        Raises MaterialExhausted, SlotReused.
        """
        items = self._material.take(kind, count, at)
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
        """Does one operation.

        Raises MaterialExhausted, and InputError for too many unchecked bits, before it sends.
        """
        result: T = self.together(operation)[0]
        return result

    def together(self, *operations: Operation[Any]) -> list[Any]:
        """Does independent operations in shared rounds; results in their order."""
        self._usable()
        cost = Cost().beside(*(operation.cost for operation in operations))
        self._material.require(cost.material)
        self._log.require_room(sum(n for kind, n in cost.material.items() if kind.tags is not None))
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

    def tell(self, note: bytes) -> bytes:
        """Exchanges public bytes with the peer's program, up to 64 KiB; a round of its own.

        Nobody checks what the peer says of itself. Raises FormatError before anything is sent
        when the note is too long.
        """
        self._usable()
        if len(note) > NOTE_BYTES:
            raise FormatError(f"note: found {len(note)} bytes, expected up to {NOTE_BYTES}")
        try:
            found = self._exchange.tell(self.counters.rounds, note)
        except BaseException as error:
            self._end(error)
            raise
        self.counters.rounds += 1
        return found

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
            self._exchange.check(self.counters.checks, self._log, self.key.alpha)
        except BaseException as error:
            self._end(error)
            raise
        self._log.clear()
        self.counters.checks += 1

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

    # -- rounds ----------------------------------------------------------------------------

    def _round(self, requests: tuple[Request, ...]) -> tuple[U64, ...]:
        """One round: everything that is asked for, in both directions."""
        mine, theirs = _parts(requests, self.party), _parts(requests, 1 - self.party)
        data = [
            _data(request) if count else None for request, count in zip(requests, mine, strict=True)
        ]
        outgoing = [part for part in data if part is not None]
        sent = np.concatenate(outgoing) if len(outgoing) > 1 else (outgoing or [_NOTHING])[0]
        received = self._exchange.swap(self.counters.rounds, _layout(requests), sent, sum(theirs))
        self.counters.rounds += 1
        self.counters.bytes += sent.nbytes + received.nbytes
        replies: list[U64] = []
        at = 0
        for request, own, count in zip(requests, data, theirs, strict=True):
            found = received[at : at + count]
            at += count
            if isinstance(request, Opening):
                # In the place of this party's shares, which are sent and of no more use.
                opened = ring.add(request.value, found, request.value)
                self._log.add(opened, request.mac)
                self.counters.openings += len(opened)
                replies.append(opened)
            elif isinstance(request, BitOpening):
                replies.append(self._open_bits(request.tags, own, found))
            elif isinstance(request, Sending) and request.data is not None:
                replies.append(request.data)
            else:
                replies.append(found)
        return tuple(replies)

    def _open_bits(self, tags: U64, own: U64 | None, found: U64) -> U64:
        """The bits of both parties' packed shares; logs what must be the same at both."""
        if own is None:
            return np.empty(0, dtype=np.uint64)
        bits = join(own, found, tags, self.key.delta)
        self._log.add_tags(tags)
        self.counters.openings += len(tags)
        return bits


_NOTHING: U64 = np.empty((0, 2), dtype=np.uint64)


def _parts(requests: tuple[Request, ...], party: int) -> list[int]:
    """How many elements this party sends for each request."""
    counts = []
    for request in requests:
        if isinstance(request, Opening):
            counts.append(len(request.value))
        elif isinstance(request, BitOpening):
            counts.append(request.elements)
        elif isinstance(request, Sending):
            counts.append(request.count if request.sender == party else 0)
        else:
            counts.append(0)
    return counts


def _data(request: Request) -> U64:
    if isinstance(request, Opening):
        return request.value
    if isinstance(request, BitOpening):
        return packed(request.tags)
    if isinstance(request, Sending) and request.data is not None:
        return request.data
    raise ProtocolViolation("engine round: nothing to send for a request that sends")


def _layout(requests: tuple[Request, ...]) -> bytes:
    """32 bytes that both parties of a round must have alike."""
    fields: list[Field] = []
    for request in requests:
        if isinstance(request, Opening):
            fields += ["open", len(request.value)]
        elif isinstance(request, BitOpening):
            fields += ["bits", len(request.tags)]
        elif isinstance(request, Sending):
            fields += ["send", request.sender, request.count]
        else:
            fields += ["agree", request.digest]
    return digest("engine layout", *fields)
