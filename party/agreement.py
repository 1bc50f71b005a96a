"""How two parties compare what they hold when a session begins (protocol sections 3 and 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from party.journal import JournalIdentity, PartyJournal
from party.material import PartySet
from party.slots import HighWater, SetLedger
from shared.errors import ClocksDiffer, HeaderMismatch, ProtocolViolation
from shared.hashing import digest
from shared.intervals import Intervals
from shared.messages import Hello, Run, SetMark, pack_runs, unpack_runs
from shared.sets import SetName

if TYPE_CHECKING:
    from party.session import WindowSession

NO_NONCE = bytes(16)


@dataclass(frozen=True, slots=True)
class SessionState:
    """An agreed session: its id, and the nonces it was made from."""

    session: bytes
    nonce0: bytes
    nonce1: bytes


def session_id(params: bytes, window: str, nonce0: bytes, nonce1: bytes) -> bytes:
    """32 bytes that name a session."""
    return digest("session", params, window, nonce0, nonce1)


def own_hello(owner: WindowSession, nonce: bytes, answers: bytes, wall_ms: int) -> Hello:
    """What this party holds, as its side of the comparison."""
    marks = owner.journal.high_water_marks(owner.spec.name)
    prepared, used, sets = [], [], []
    for set_id, held in owner.sets.items():
        ledger = owner.journal.ledger(set_id)
        mark = marks[set_id]
        sets.append(
            SetMark(held.name.mint_id, held.name.camera, held.slots, mark.prepared, mark.revealed)
        )
        ready = ledger.ready()
        prepared += [Run(set_id, *part) for part in ready]
        used += [Run(set_id, *part) for part in _used(ledger, ready)]
    identity = owner.journal.identity
    approved = b"".join(sorted({entry.digest for entry in owner.entries}))
    return Hello(
        owner.party,
        owner.spec.name,
        owner.params.digest(),
        nonce,
        answers,
        wall_ms,
        identity.instance,
        identity.generation,
        tuple(sets),
        pack_runs(prepared),
        pack_runs(used),
        approved,
    )


def check_hello(owner: WindowSession, found: Hello, wall_ms: int) -> None:
    """Raises a typed error naming the first difference that rules a session out.

    HeaderMismatch: other parameters or material, for good. ClocksDiffer: clocks that differ, or
    a message that was long on its way. ProtocolViolation: what no party may say.
    """
    window = owner.spec.name
    if found.party != 1 - owner.party:
        raise HeaderMismatch(
            f"window {window}: the peer says it is P{found.party}, expected P{1 - owner.party}"
        )
    if found.params != owner.params.digest():
        raise HeaderMismatch(
            f"window {window}: the peer has parameters {found.params.hex()[:16]}, "
            f"expected {owner.params.digest().hex()[:16]}"
        )
    if found.generation >= 1 << 63:
        raise ProtocolViolation(f"window {window}: the peer's journal has an impossible age")
    expected = NO_NONCE if owner.party == 1 else found.answers
    if found.answers != expected:
        raise ProtocolViolation(f"window {window}: P0 answers nobody, expected zeros")
    for mark in found.sets:
        if max(mark.prepared, mark.revealed) > mark.slots:
            raise ProtocolViolation(
                f"window {window} camera {mark.camera}: found marks {mark.prepared} and "
                f"{mark.revealed}, expected at most {mark.slots} slots"
            )
    slots = {held.set_id: held.slots for held in owner.sets.values()}
    for run in (*unpack_runs(found.prepared), *unpack_runs(found.used)):
        if run.stop > slots.get(run.set_id, run.stop):
            raise ProtocolViolation(
                f"window {window}: the peer names slot {run.stop - 1} of a set of "
                f"{slots[run.set_id]} slots"
            )
    offset = abs(found.clock_ms - wall_ms) / 1000
    if offset > owner.limits.clock_tolerance:
        raise ClocksDiffer(
            f"window {window}: the peer's clock is {offset:.1f} s off, tolerated are "
            f"{owner.limits.clock_tolerance:.1f} s"
        )
    names = {held.name for held in owner.sets.values()}
    if names and not any(SetName(s.mint_id, window, s.camera) in names for s in found.sets):
        raise HeaderMismatch(
            f"window {window}: the peer has {len(found.sets)} sets, none is of a minting "
            "attempt that we have"
        )


def remember(owner: WindowSession, found: Hello) -> list[Run]:
    """Stores the peer's journal identity and marks; what had to be burned for them.

    Raises StaleMessage when the peer runs on a restored backup.
    """
    owner.journal.remember_peer(
        f"p{1 - owner.party}", JournalIdentity(found.journal, found.generation)
    )
    marks = {}
    for mark in found.sets:
        set_id = SetName(mark.mint_id, owner.spec.name, mark.camera).set_id()
        if set_id in owner.sets:
            marks[set_id] = HighWater(mark.prepared, mark.revealed)
    return owner.journal.raise_high_water(marks)


def common_sets(own: Iterable[PartySet], found: Hello) -> tuple[set[bytes], list[str]]:
    """Ids of the sets that both hold, and a line for each that only one does."""
    theirs = {(s.mint_id, s.camera, s.slots) for s in found.sets}
    cameras = {s.camera for s in found.sets}
    common, lines = set(), []
    for held in own:
        name = held.name
        if (name.mint_id, name.camera, held.slots) in theirs:
            common.add(held.set_id)
        elif name.camera in cameras:
            lines.append(f"camera {name.camera}: the peer has material of another minting attempt")
        else:
            lines.append(f"camera {name.camera}: the peer has no material")
    return common, lines


def reconcile(journal: PartyJournal, shared_sets: Iterable[bytes], found: Hello) -> list[Run]:
    """Slots to burn here: those that are not in the same usable state on both sides.

    A slot stays fresh only if it is fresh on both sides, and prepared only if prepared on both.
    """
    prepared = _by_set(unpack_runs(found.prepared))
    used = _by_set(unpack_runs(found.used))
    burn: list[Run] = []
    for set_id in shared_sets:
        ledger = journal.ledger(set_id)
        mine = ledger.ready()
        theirs = prepared.get(set_id, Intervals())
        differing = mine.copy()
        differing.difference_update(theirs)
        only_theirs = theirs.copy()
        only_theirs.difference_update(mine)
        differing.update(only_theirs)
        differing.update(used.get(set_id, Intervals()))
        differing.difference_update(ledger.done)
        differing.difference_update(ledger.burned)
        differing.difference_update(ledger.revealed)
        burn += [Run(set_id, *part) for part in differing]
    return burn


def _used(ledger: SetLedger, ready: Intervals) -> Intervals:
    """Slots that are neither fresh nor ready."""
    used = ledger.burned.copy()
    used.update(ledger.revealed)
    used.update(ledger.done)
    used.update(ledger.in_prepare)
    used.update(ledger.prepared)
    used.difference_update(ready)
    return used


def _by_set(runs: Iterable[Run]) -> dict[bytes, Intervals]:
    result: dict[bytes, Intervals] = {}
    for run in sorted(runs):  # in order, each one is put at the end
        result.setdefault(run.set_id, Intervals()).add(run.first, run.length)
    return result
