"""All attacks of each party, by name; the same in the test and in the corrupted process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from shared.messages import (
    Approved,
    Confirm0,
    Confirm1,
    Hello,
    Ping,
    PlaceMap,
    Prep0,
    Prep4,
    Reveal0,
    Reveal1,
)
from tests.adversary.real import lies, wire
from tests.adversary.real.attack import Attack
from tests.adversary.real.changes import Change, changes
from tests.adversary.real.ground import BOTH
from tests.adversary.real.verdicts import expected_of

ERRORS: Final = ("ProtocolViolation", "PeerVanished", "TamperDetected", "no error of ours", "")
Make = Callable[[], Attack]


def catalogue(party: int) -> dict[str, Make]:
    """What this party may do wrong, by name. Each call makes attacks of their own."""
    found: dict[str, Make] = {}
    for make in (*_on_messages(party), *_lies(party)):
        name = make().name
        if name in found:
            raise ValueError(f"two attacks are called {name}")
        found[name] = make
    return found


def _on_messages(party: int) -> Iterator[Make]:
    yield _simple(wire.Control, "none at all", party)
    for kind in wire.SENT[party]:
        title = kind.__name__
        for change in changes(kind):
            name = f"P{party} {change.title}"
            if not re.match(_NEVER, name):
                yield _changed(party, change)
            if kind is Hello and change.field in _MET_AGAIN and not re.match(_NEVER_AGAIN, name):
                yield _changed(party, change, again=True)
        for made, what in (
            (wire.Lost, "lost"),
            (wire.Twice, "twice"),
            (wire.Swapped, "swapped with the next"),
            (wire.Late, "late"),
            (wire.Replayed, "replayed at the end"),
            (wire.OfFormerSession, "of the former session"),
        ):
            spares = made in (wire.Twice, wire.Swapped) or kind is Confirm1
            yield _simple(made, f"{title} {what}", party, kind=kind, spares=spares)
        if kind is not Hello:
            yield _simple(wire.OfAnotherWindow, f"{title} of another window", party, kind=kind)
        if kind in (Prep0, Reveal0):
            yield _simple(
                wire.OfAnotherCamera,
                f"{title} of another camera",
                party,
                kind=kind,
                cameras=BOTH,
            )
        for name, spoil in wire.SPOILT.items():
            yield _simple(
                wire.Spoilt,
                f"{title} {name}",
                party,
                kind=kind,
                spoil=spoil,
                spares=kind is Confirm1,
            )
    for kind in wire.SENT[1 - party]:
        if kind not in (Hello, Approved, Ping):
            yield _simple(wire.Reflected, f"{kind.__name__} reflected", party, kind=kind)
    for change in wire.burned_changes():
        if re.match(_NEVER, f"P{party} {change.title}"):
            continue
        yield _simple(wire.Inserted, change.title, party, make=wire.burned(change))
    for error in ERRORS:
        for own in (True, False):
            where = "in its session" if own else "in none"
            yield _simple(
                wire.Inserted,
                f"Refused {error!r} {where}",
                party,
                make=wire.refused(error, own=own),
            )


_MET_AGAIN: Final = ("journal", "generation", "sets", "prepared", "used", "answers")


# Changes that change nothing, because of what stands there.
_NEVER: Final = (
    r"P0 Hello\.(party (less|zero)|answers (zeros|turned round))"
    r"|P. Hello\.(prepared|used) (?!a unit more|a byte more)"
    r"|P. Hello\.sets (turned round|prepared (less|zero)|revealed (less|zero))"
    r"|P. PlaceMap\.bindings place (less|zero)"
    r"|P. (Prep0\.runs|Held\.(runs|faces)|Reveal0\.(live|runs)|Burned\.runs) two units swapped"
)
_NEVER_AGAIN: Final = (
    r"P0 Hello\.answers (zeros|turned round)"
    r"|P. Hello\.(prepared|used) two units swapped"
    r"|P. Hello\.sets turned round"
)


def _lies(party: int) -> Iterator[Make]:
    for entry in ("ada", "bob", "cyd"):
        for step in ((1,), (0, 0, 0, -1), (3, -4, 5, -6)):
            name = f"tracks another {entry} {step}"
            yield _simple(lies.TracksAnother, name, party, entry=entry, step=step)
    for change in (1, -1, 1000, 1 << 15, 1 << 16):
        yield _simple(lies.AnotherThreshold, f"threshold {change:+d}", party, change=change)
    for coordinate, change in ((0, 1), (0, 5), (3, (1 << 32) - 1), (8, 1), (8, 1 << 16)):
        yield _simple(
            lies.AnotherFace,
            f"e[{coordinate}] {change:+d}",
            party,
            coordinate=coordinate,
            change=change,
        )
    for shift in (1, 1 << 16, 1 << 31, 1 << 63, 1 << 64, 1 << 126):
        for excuse in (0, 0x0123456789ABCDEF0123456789ABCDEF):
            yield _simple(
                lies.ShiftedKappa,
                f"kappa {shift:+#x}, excuse {excuse:#x}",
                party,
                shift=shift,
                excuse=excuse,
            )
    for face, place in ((0, 0), (1, 2)):
        for error in (1, 3, (1 << 64) - 1):
            yield _simple(
                lies.WrongTag,
                f"tag of face {face} place {place} wrong by {error:#x}",
                party,
                face=face,
                place=place,
                error=error,
            )
    yield _simple(lies.LeavesOut, "leaves faces out", party, starves=True, told="omission")
    yield _simple(
        lies.LeavesOut,
        "leaves faces out and reconnects",
        party,
        starves=True,
        told="omission",
        parts=True,
    )
    for slots in ((0, 1), (0, 6), (5, 3)):
        yield _simple(
            wire.Inserted, f"says slots {slots} are burned", party, make=lies.burned_slots(slots)
        )
    yield _simple(lies.Floods, "pings without end", party, make=lies.many_pings)
    yield from _lies_of_p0() if party == 0 else _lies_of_p1()


def _lies_of_p0() -> Iterator[Make]:
    for name, (slots, places) in OWN_CHECKS.items():
        yield _simple(wire.Inserted, f"prepares {name}", 0, make=lies.own_check(slots, places))
    yield _simple(
        wire.Inserted,
        "prepares under a number that was used",
        0,
        make=lies.own_check([(20, 2)], (0, 1), number=0),
    )
    yield _simple(wire.Inserted, "prepares a slot twice at once", 0, make=lies.two_checks_at_once)
    for slots in OWN_BATCHES:
        yield _simple(wire.Inserted, f"reveals slots {slots}", 0, make=lies.own_batch(slots))
    for place in (0, 1, 2):
        yield _simple(lies.HidesPlace, f"leaves out place {place}", 0, place=place)
    for how in ("proposes", "prepares", "uses"):
        yield _simple(lies.IgnoresWatchlist, f"changed watchlist: {how} as before", 0, how=how)
    for name in lies.FORGED_MAPS:
        yield _simple(wire.Inserted, f"a map {name}", 0, make=lies.forged_map(name))
    yield _simple(wire.Inserted, "more maps than are kept", 0, make=lies.many_maps)
    yield _simple(lies.Floods, "hellos without end", 0, make=lies.many_hellos)
    yield _simple(wire.Inserted, "confirms again otherwise", 0, make=lies.other_confirmation)
    for match in (True, False):
        sight = "a match" if match else "no match"
        yield _simple(
            lies.EndsAtSight, f"no Confirm0 at sight of {sight}", 0, kind=Confirm0, match=match
        )
        yield _simple(
            lies.EndsAtSight,
            f"silent from Confirm0 on at sight of {sight}",
            0,
            kind=Confirm0,
            match=match,
            silent=True,
        )
    yield _simple(lies.EndsAtSight, "silent from Prep4 on", 0, kind=Prep4, silent=True)
    yield _simple(lies.EndsAtSight, "no map any more", 0, kind=PlaceMap)


def _lies_of_p1() -> Iterator[Make]:
    for wanted in (0, 1):
        yield _simple(lies.ForcesBits, f"forces all bits to {wanted}", 1, wanted=wanted)
    for name, make in OWN_HELD.items():
        yield _simple(wire.Inserted, f"holds {name}", 1, make=make)
    yield _simple(wire.Inserted, "confirms again otherwise", 1, make=lies.other_answer)
    for match in (True, False):
        sight = "a match" if match else "no match"
        for kind in (Reveal1, Confirm1):
            yield _simple(
                lies.EndsAtSight,
                f"no {kind.__name__} at sight of {sight}",
                1,
                kind=kind,
                match=match,
                spares=kind is Confirm1,
            )
    yield _simple(
        lies.EndsAtSight,
        "never any Confirm1",
        1,
        kind=Confirm1,
        silent=True,
        late=False,
        spares=True,
        starves=True,
    )


OWN_CHECKS: Final[dict[str, tuple[list[tuple[int, int]], tuple[int, ...]]]] = {
    "the same slots and places again": ([(0, 2)], (0, 1, 2)),
    "one place again": ([(2, 2)], (1,)),
    "prepared slots and others": ([(0, 24)], (0, 1, 2)),
    "a slot twice in one check": ([(20, 2), (21, 1)], (0, 1, 2)),
    "a place twice": ([(20, 2)], (0, 0, 1)),
    "places out of order": ([(20, 2)], (1, 0)),
    "a place without an entry": ([(20, 2)], (0, 5)),
    "slots that are not there": ([(23, 2)], (0, 1)),
}
OWN_BATCHES: Final[tuple[list[tuple[int, int]], ...]] = (
    [(0, 2)],
    [(0, 1)],
    [(2, 1)],
    [(20, 4)],
    [(0, 24)],
    [(23, 1)],
    [(0, 1 << 31)],
    [(2, 2), (2, 2)],
    [],
)
OWN_HELD: Final[dict[str, Callable[[object], Iterable[object]]]] = {
    "slots that are done": lies.held_of([(0, 2)]),
    "slots that are not there": lies.held_of([(23, 2)]),
    "more digests than slots": lies.held_of([(20, 2)], digests=2),
    "fewer digests than slots": lies.held_of([(20, 2), (22, 1)], digests=1),
    "slots in another shape": lies.held_of([(1, 2)]),
}


def _changed(party: int, change: Change, *, again: bool = False) -> Make:
    made = wire.ChangedAgain if again else wire.Changed
    title = change.title + (" on meeting again" if again else "")
    alone = change.field in ("journal", "generation")
    late = change.kind is Confirm1 and change.field in ("session", "batch")  # it is offered again
    # Without an entry that P1 approves, no place is live.
    nothing = party == 1 and title in ("Approved.entries empty", "Approved.entries zeros")
    return _simple(made, title, party, change=change, alone=alone, spares=late, starves=nothing)


def _simple(made: type[Attack], name: str, party: int, **values: object) -> Make:
    title = f"P{party} {name}"

    def make() -> Attack:
        return made(title, expected_of(title), **values)  # type: ignore[arg-type]

    return make
