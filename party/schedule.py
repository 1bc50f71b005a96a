"""Which slots and places the next prepare check covers: pure planning over the ledgers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from party.slots import SetLedger, place_mask
from shared.intervals import Interval, Intervals
from shared.messages import Run


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """The slots and places of one check."""

    runs: tuple[Run, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a set wants: slots below `until` prepared; `urgent` when faces wait for them."""

    ledger: SetLedger
    until: int
    urgent: bool


def plan_check(
    demands: Iterable[Demand], places: tuple[int, ...], limit: int, quantum: int
) -> CheckPlan | None:
    """The next check of at most `limit` slots, or None when there is nothing worth one.

    A set with fewer than `quantum` slots to prepare waits until it has more, unless urgent.
    Slots that miss only some places come in a check of their own.
    """
    table = _mask(places)
    runs: list[Run] = []
    missing = 0
    room = limit
    for demand in demands:
        until = min(demand.until, demand.ledger.info.slots)
        work = list(_work(demand.ledger, until, table))
        amount = sum(part.length for part, _ in work)
        at_end = until == demand.ledger.info.slots
        if amount < quantum and not (demand.urgent or at_end):
            continue
        for part, need in work:
            if missing and need != missing:
                continue
            missing = need
            length = min(part.length, room)
            runs.append(Run(demand.ledger.info.set_id, part.first, length))
            room -= length
            if room == 0:
                return _plan(runs, places, missing)
    return _plan(runs, places, missing) if runs else None


@lru_cache(maxsize=16)
def _mask(places: tuple[int, ...]) -> int:
    """The same places are asked for again and again."""
    return place_mask(places)


def _plan(runs: list[Run], places: tuple[int, ...], missing: int) -> CheckPlan:
    return CheckPlan(tuple(runs), tuple(p for p in places if missing >> p & 1))


def _work(ledger: SetLedger, until: int, table: int) -> Iterator[tuple[Interval, int]]:
    """Usable slots below `until` and the mask of the places that they still miss."""
    if until <= 0 or not table:
        return
    blocked = ledger.burned.copy()
    blocked.update(ledger.revealed)
    blocked.update(ledger.in_prepare)
    blocked.update(ledger.done)
    complete = Intervals()
    for mask, slots in ledger.opened.items():
        if mask & table == table:
            complete.update(slots)
    blocked.update(complete)
    for gap in blocked.missing(0, until):
        yield from _split(ledger, gap, table)


def _split(ledger: SetLedger, gap: Interval, table: int) -> Iterator[tuple[Interval, int]]:
    """The parts of a gap by what was opened there before."""
    parts = [(gap, 0)]
    for mask, slots in ledger.opened.items():
        divided: list[tuple[Interval, int]] = []
        for part, have in parts:
            divided += [(inside, have | mask) for inside in slots.within(*part)]
            divided += [(outside, have) for outside in slots.missing(*part)]
        parts = sorted(divided)
    for part, have in parts:
        need = table & ~have
        if need:
            yield part, need
