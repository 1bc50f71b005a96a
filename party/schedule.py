"""Which slots and places the next prepare check covers: pure planning over the ledgers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
    demands: Sequence[Demand], places: tuple[int, ...], limit: int, quantum: int
) -> CheckPlan | None:
    """The next check of at most `limit` slots, or None when there is nothing worth one.

    A set with fewer than `quantum` slots to prepare waits until it has more, unless urgent. Sets
    that are urgent come first and share the slots, so that one with many faces holds up no other;
    else the order is as given. Slots that miss only some places come in a check of their own.
    """
    urgent = [demand for demand in demands if demand.urgent]
    filling = _Filling(_mask(places), limit)
    share = max(quantum, limit // max(1, len(urgent)))
    rest = [run for demand in urgent for run in filling.add(demand, share)]
    for run in rest:  # what the others leave of their shares
        filling.take(run, limit)
    for demand in demands:
        if not demand.urgent:
            filling.add(demand, limit, quantum)
    if not filling.chosen:
        return None
    runs = tuple(run for runs in filling.chosen.values() for run in runs)
    return CheckPlan(runs, tuple(place for place in places if filling.missing >> place & 1))


@dataclass(slots=True)
class _Filling:
    """A check while it is put together. missing: the places that its slots miss, a mask."""

    table: int
    room: int
    missing: int = 0
    chosen: dict[bytes, list[Run]] = field(default_factory=dict)

    def add(self, demand: Demand, most: int, least: int = 0) -> list[Run]:
        """Up to `most` slots of a set that has `least` or more to do; those that had no room."""
        if self.room == 0:
            return []
        ledger = demand.ledger
        until = min(demand.until, ledger.info.slots)
        work = list(_work(ledger, until, self.table))
        if sum(part.length for part, _ in work) < least and until < ledger.info.slots:
            return []
        rest = []
        for part, need in work:
            if self.missing and need != self.missing:
                continue
            self.missing = need
            taken = self.take(Run(ledger.info.set_id, *part), most)
            most -= taken
            if taken < part.length:
                rest.append(Run(ledger.info.set_id, part.first + taken, part.length - taken))
        return rest

    def take(self, run: Run, most: int) -> int:
        """As much of a run as there is room for; how much."""
        length = min(run.length, most, self.room)
        if length == 0:
            return 0
        runs = self.chosen.setdefault(run.set_id, [])
        if runs and runs[-1].stop == run.first:
            last = runs.pop()
            runs.append(Run(run.set_id, last.first, last.length + length))
        else:
            runs.append(Run(run.set_id, run.first, length))
        self.room -= length
        return length


@lru_cache(maxsize=16)
def _mask(places: tuple[int, ...]) -> int:
    """The same places are asked for again and again."""
    return place_mask(places)


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
