"""Attacks by a party that computes with other numbers than agreed, and shows what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from party import prepare
from party.matching import TagPart, TagShares
from party.places import PlaceTable
from party.prepare import OpeningShares
from party.windowstate import Moment
from shared.messages import (
    Burned,
    Confirm0,
    Confirm1,
    Held,
    Hello,
    PartyMessage,
    Ping,
    PlaceMap,
    Prep0,
    Reveal0,
    Reveal1,
    Run,
    pack_runs,
)
from tests.adversary.real.attack import Attack, Out

_WORD = (1 << 64) - 1


@dataclass
class TracksAnother(Attack):
    """[K20] 3.3: track p instead of c. Under c's digest stand other coordinates."""

    entry: str = ""
    step: tuple[int, ...] = ()

    def opened(self, session: Any) -> None:
        session.entries = [
            replace(one, coordinates=self._moved(one.coordinates))
            if one.name == self.entry
            else one
            for one in session.entries
        ]
        honest = session.opening_shares

        def shares(header: Any, table: PlaceTable) -> OpeningShares:
            if not self.done:
                self.strike(session, runs=header.runs)
            result: OpeningShares = honest(header, table)
            return result

        session.opening_shares = shares

    def _moved(self, coordinates: NDArray[np.int64]) -> NDArray[np.int64]:
        moved = coordinates.copy()
        moved[: len(self.step)] += np.array(self.step, dtype=np.int64)
        return moved


@dataclass
class AnotherThreshold(Attack):
    """The constants of the comparison are others."""

    change: int = 0

    def opened(self, session: Any) -> None:
        honest_adopt, honest_tags = session.adopt, session.tag_shares

        def adopt(table: PlaceTable) -> None:
            honest_adopt(table)
            table.numbers.constants[:] += np.uint32(self.change & 0xFFFFFFFF)

        def tag_shares(batch: Any, live: Any, table: PlaceTable) -> TagShares:
            if not self.done:
                self.strike(session, runs=[held.run for held in batch])
            result: TagShares = honest_tags(batch, live, table)
            return result

        session.adopt, session.tag_shares = adopt, tag_shares


@dataclass
class AnotherFace(Attack):
    """One masked value is another one than the camera sent."""

    coordinate: int = 0
    change: int = 0

    def opened(self, session: Any) -> None:
        honest = session.on_held

        def on_held(held: Any, moment: Moment) -> None:
            if not self.done:
                self.strike(session, runs=[held.run])
                held.masked = held.masked.copy()
                held.masked[:1, self.coordinate] += np.uint32(self.change)
            honest(held, moment)

        session.on_held = on_held


@dataclass
class ShiftedKappa(Attack):
    """A share of kappa is shifted; excuse: what alpha is hoped to be, for the MAC."""

    shift: int = 0
    excuse: int = 0

    def opened(self, session: Any) -> None:
        honest = session.opening_shares

        def shifted(header: Any, table: PlaceTable) -> OpeningShares:
            shares: OpeningShares = honest(header, table)
            if not self.done:
                self.strike(session, runs=header.runs)
                add(shares.kappa[0], self.shift)
                add(shares.mac[0], self.shift * self.excuse)
            return shares

        session.opening_shares = shifted


@dataclass
class WrongTag(Attack):
    """An error in one authenticated bit share; its least bit flips the bit."""

    face: int = 0
    place: int = 0
    error: int = 1

    def opened(self, session: Any) -> None:
        honest = session.tag_shares

        def wrong(batch: Any, live: Any, table: PlaceTable) -> TagShares:
            shares: TagShares = honest(batch, live, table)
            if self.done:
                return shares
            self.strike(session, runs=[held.run for held in batch])
            first, *others = shares.parts
            tags = first.tags.copy()
            tags[self.face, self.place] ^= np.uint64(self.error)
            return TagShares((TagPart(tags, first.deltas), *others), shares.live)

        session.tag_shares = wrong


@dataclass
class ForcesBits(Attack):
    """P1 chooses its shares after it has P0's, so that the bits are those it wants."""

    wanted: int = 0

    def opened(self, session: Any) -> None:
        honest_reveal, honest_tags = session._reveal0, session.tag_shares
        shown: list[Reveal0] = []

        def reveal0(message: Reveal0, moment: Moment) -> None:
            shown[:] = [message]
            honest_reveal(message, moment)

        def chosen(batch: Any, live: Any, table: PlaceTable) -> TagShares:
            shares: TagShares = honest_tags(batch, live, table)
            if self.done or not shown:
                return shares
            self.strike(session, runs=[held.run for held in batch])
            rows = np.frombuffer(bytes(shown[0].bits), dtype=np.uint8).reshape(shares.faces, -1)
            theirs = np.unpackbits(rows, axis=1, count=shares.live, bitorder="little")
            parts, row = [], 0
            for part in shares.parts:
                ours = theirs[row : row + len(part.tags)] ^ np.uint8(self.wanted)
                row += len(part.tags)
                least = part.tags & np.uint64(1)
                tags: NDArray[np.uint64] = part.tags ^ least
                tags ^= ours.astype(np.uint64)
                parts.append(TagPart(tags, part.deltas))
            return TagShares(tuple(parts), shares.live)

        session._reveal0, session.tag_shares = reveal0, chosen


@dataclass
class EndsAtSight(Attack):
    """It says no more in this session once it has seen the bits of a match, or of none.

    kind: what it does not send any more.
    """

    kind: type[PartyMessage] = Reveal1
    match: bool = True
    silent: bool = False  # also its signs of life
    late: bool = True  # whether openings are offered again in the next session
    session: bytes | None = None

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        if self.done and not self.late and type(message) is Confirm1:
            return []
        if self.session is not None and session.session == self.session:
            return [] if self.silent or not isinstance(message, Ping) else [message]
        if not self.done and type(message) is self.kind and self._wanted(session, message):
            self.session = session.session
            self.strike(session, message)
            return []
        return [message]

    def _wanted(self, session: Any, message: Any) -> bool:
        batch = session._batches.get(getattr(message, "batch", None))
        if batch is None:  # not about bits
            return True
        return bool(batch.state.bits.any()) is self.match


@dataclass
class LeavesOut(Attack):
    """P0 puts no face into a batch; P1 tells of none that it holds."""

    parts: bool = False  # and begins a new session every two seconds

    def opened(self, session: Any) -> None:
        if session.party == 0:
            session._start_batches = lambda moment: None
            session.overdue_faces = lambda *_: None
        self.next = 0.0

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        return [] if type(message) is Held else [message]

    def tick(self, session: Any, moment: Moment) -> None:
        if not len(session.intake):
            return
        if not self.done:
            self.strike(session, runs=[held.run for held in session.intake])
        if self.parts and session.session is not None and moment.seconds > self.next:
            self.next = moment.seconds + 2.0
            session.drop("on purpose", moment)


@dataclass
class HidesPlace(Attack):
    """P0 leaves an entry out of its batches."""

    place: int = 0

    def opened(self, session: Any) -> None:
        honest = session.adopt

        def adopt(table: PlaceTable) -> None:
            honest(table)
            chosen = table.chosen
            table.chosen = lambda mask: tuple(  # type: ignore[method-assign]
                p for p in chosen(mask) if p != self.place
            )

        session.adopt = adopt

    def outgoing(self, session: Any, message: PartyMessage) -> Iterable[Out]:
        if not self.done and isinstance(message, Reveal0):
            self.strike(session, runs=())
        return [message]


@dataclass
class IgnoresWatchlist(Attack):
    """P0 does nothing about a change of the watchlists, or only part of it.

    how: `proposes` no map, `prepares` nothing any more, `uses` the former map after all.
    """

    how: str = "proposes"
    maps: list[PlaceTable] = field(default_factory=list)

    def opened(self, session: Any) -> None:
        if self.how == "proposes":
            honest_watchlist = session.on_watchlist

            def on_watchlist(removed: Any, moment: Moment) -> None:
                if not session.table.epoch:  # its first map
                    honest_watchlist(removed, moment)
                elif not self.done:
                    self.strike(session, runs=())

            session.on_watchlist = on_watchlist
            return
        honest_adopt = session.adopt

        def adopt(table: PlaceTable) -> None:
            honest_adopt(table)
            self.maps.append(table)
            if len(self.maps) != 2:
                return
            self.strike(session, runs=())
            if self.how == "prepares":
                session._start_check = lambda moment: None
            else:
                session.table = self.maps[0]

        session.adopt = adopt


@dataclass
class Floods(Attack):
    """Thousands of messages at once."""

    make: Callable[[Any], Iterable[Out]] = lambda _: ()

    def tick(self, session: Any, moment: Moment) -> None:
        if not self.done and session.matched_faces and session.session is not None:
            self.strike(session, runs=())
            session.outbox.peer.extend(self.make(session))


def add(element: NDArray[np.uint64], amount: int) -> None:
    """Adds to one ring element in place."""
    total = int(element[0]) + (int(element[1]) << 64) + amount
    element[0], element[1] = total & _WORD, total >> 64 & _WORD


# -- slots and places of its own choice -------------------------------------------------------


def first_set(session: Any) -> bytes:
    """The id of the first camera's set."""
    return bytes(next(iter(session.sets)))


def crafted_check(
    session: Any, runs: Sequence[Run], places: Sequence[int], *, number: int | None = None
) -> Prep0:
    """A Prep0 that P0's own journal would not allow; places may be in any order."""
    if number is None:
        number = session._number()
    known = tuple(range(len(places)))
    header = prepare.CheckHeader(
        session.session,
        number,
        session.params.digest(),
        session.table.digest(),
        tuple(runs),
        known,
    )
    shares = session.opening_shares(header, session.table)
    _, message = prepare.start_p0(header, shares, bytes(32), bytes(16))
    return replace(message, places=np.asarray(places, dtype="<u4").tobytes())


def own_check(slots: Sequence[tuple[int, int]], places: Sequence[int], **named: Any) -> Any:
    """Makes a check of slots of the first camera."""

    def make(session: Any) -> Iterator[Out]:
        known = first_set(session)
        yield crafted_check(session, [Run(known, *part) for part in slots], places, **named)

    return make


def two_checks_at_once(session: Any) -> Iterator[Out]:
    """Two checks of one slot, on places apart from each other."""
    known = first_set(session)
    last = session.sets[known].slots
    yield crafted_check(session, [Run(known, last - 4, 2)], (0, 1))
    yield crafted_check(session, [Run(known, last - 3, 2)], (0,))


def own_batch(slots: Sequence[tuple[int, int]]) -> Any:
    """Makes the last Reveal0 again, with other slots of the first camera."""

    def make(session: Any) -> Iterator[Out]:
        known = first_set(session)
        runs = pack_runs(Run(known, *part) for part in slots)
        last = session.said[Reveal0]
        yield replace(last, session=session.session, batch=session._number(), runs=runs)

    return make


def held_of(slots: Sequence[tuple[int, int]], *, digests: int | None = None) -> Any:
    """Makes P1 tell of faces that it does not hold, or does not hold like this."""

    def make(session: Any) -> Iterator[Out]:
        known = first_set(session)
        runs = pack_runs(Run(known, *part) for part in slots)
        count = len(slots) if digests is None else digests
        yield Held(session.session, runs, bytes(32 * count))

    return make


FORGED_MAPS: dict[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]] = {
    "with an entry on another place": lambda b: (b[0]._replace(place=4), *b[1:])[::-1],
    "with two entries swapped": lambda b: (
        b[0]._replace(entry=b[1].entry),
        b[1]._replace(entry=b[0].entry),
        *b[2:],
    ),
    "with an unknown entry": lambda b: (*b[:-1], b[-1]._replace(entry=bytes(32))),
    "with a place out of range": lambda b: (*b[:-1], b[-1]._replace(place=6)),
    "with an entry on two places": lambda b: (*b, b[-1]._replace(place=5)),
}


def forged_map(name: str) -> Any:
    """Makes a place map that is not allowed any more."""

    def make(session: Any) -> Iterator[Out]:
        bindings = FORGED_MAPS[name](session.table.bindings())
        yield PlaceMap(session.session, session.table.epoch + 100, bindings)

    return make


def many_maps(session: Any) -> Iterator[Out]:
    """More maps than P1 keeps."""
    whole = session.table.bindings()
    for epoch in range(100, 140):
        part = tuple(b for i, b in enumerate(whole) if epoch >> i & 1)
        yield PlaceMap(session.session, epoch, part)


def many_pings(session: Any) -> Iterator[Out]:
    """Signs of life without end."""
    for number in range(5000):
        yield Ping(session.session, 0, number)


def many_hellos(session: Any) -> Iterator[Out]:
    """New sessions without end."""
    last = session.said[Hello]
    for number in range(1, 200):
        yield replace(last, nonce=number.to_bytes(16, "little"))


def burned_slots(slots: tuple[int, int]) -> Any:
    """Says that slots are burned, of which some are verified."""

    def make(session: Any) -> Iterator[Out]:
        yield Burned(session.session, pack_runs([Run(first_set(session), *slots)]))

    return make


def other_answer(session: Any) -> Iterator[Out]:
    """P1 confirms the last batch in another way."""
    last = session.said.get(Confirm1)
    if last is not None:
        yield replace(last, confirmation=bytes(32))


def other_confirmation(session: Any) -> Iterator[Out]:
    """P0 confirms the last batch in another way."""
    last = session.said.get(Confirm0)
    if last is not None:
        yield replace(last, confirmation=bytes(32))
