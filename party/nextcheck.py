"""The prepare check that comes next: P0 begins it, and both compute their shares for it ahead.

A check's shares take milliseconds. Computed when they are asked for, one party would wait for the
other in turn; so each does it while it has nothing else to do. P1 foresees what P0 will ask for,
from the same rules: what it foresees wrongly costs it time, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from party.prepare import OpeningShares
from party.schedule import CheckPlan, Demand, plan_check
from party.slots import SetLedger, place_mask
from shared.messages import Run

if TYPE_CHECKING:
    from party.places import PlaceTable
    from party.windowstate import WindowState

_LOOK = 64  # sets that are looked at for what comes next, however many cameras there are
_CHECKS = 2  # that are computed ahead at most, so that memory does not grow with the limits
PIECE = 64  # slots at a time, whole chunks of P1's file; a face that comes meanwhile waits for it


class NextCheck:
    """Of one window. Holds the shares of two checks at most."""

    def __init__(self, window: WindowState) -> None:
        self._window = window
        self._wanting: dict[bytes, None] = {}  # sets to prepare, the longest waiting first
        self._changed = False  # since the last look at what comes next
        self._table: PlaceTable | None = None
        self._places: tuple[int, ...] = ()
        self._missing: list[Run] = []
        self._ready: dict[Run, OpeningShares] = {}

    def want(self, set_id: bytes) -> None:
        """This set may have slots to prepare."""
        self._wanting[set_id] = None
        self._changed = True

    def want_all(self) -> None:
        """Places were bound: every set has something to prepare."""
        window = self._window
        self._wanting = {set_id: None for set_id in window.sets if window.shared(set_id)}
        self._changed = True

    def begun(self, runs: Iterable[Run]) -> None:
        """A check of these slots begins: next time it is the others' turn."""
        for run in runs:
            _to_the_end(self._wanting, run.set_id)
        self._changed = True

    def plan(self) -> CheckPlan | None:
        """The next check; sets without work are not asked again until something happens."""
        plan = self._planned(self._wanting, {})
        if plan is None:
            self._wanting.clear()
        return plan

    def shares(
        self, runs: Iterable[Run], places: tuple[int, ...], table: PlaceTable
    ) -> OpeningShares:
        """This party's shares for a check, each computed ahead or now. Raises MaterialDamaged."""
        if table is not self._table or places != self._places:
            self.forget()
        parts = [
            self._ready.pop(piece) if piece in self._ready else self._compute(piece, places, table)
            for piece in _pieces(runs)
        ]
        if len(parts) == 1:
            return parts[0]
        return OpeningShares(
            np.concatenate([part.kappa for part in parts]),
            np.concatenate([part.mac for part in parts]),
            np.concatenate([part.alphas for part in parts]),
        )

    def forget(self) -> None:
        """Drops the shares that were computed ahead."""
        self._table, self._places = None, ()
        self._missing.clear()
        self._ready.clear()
        self._changed = True

    @property
    def work_waits(self) -> bool:
        """Whether `work_ahead` may have something to do."""
        return bool(self._missing) or (self._changed and bool(self._wanting))

    def work_ahead(self) -> bool:
        """Computes a piece of what comes next; whether there was one. Raises MaterialDamaged."""
        if self._changed:
            self._changed = False
            self._aim()
        if not self._missing or self._table is None:
            return False
        piece = self._missing.pop(0)
        self._ready[piece] = self._compute(piece, self._places, self._table)
        return True

    def _aim(self) -> None:
        """At the checks that come next; what is ready of them already is kept."""
        plans = self._foreseen()
        table, places = self._window.table, plans[0].places if plans else ()
        if table is not self._table or places != self._places:
            self._ready.clear()
        self._table, self._places = table, places
        pieces = [piece for plan in plans for piece in _pieces(plan.runs)]
        self._ready = {piece: self._ready[piece] for piece in pieces if piece in self._ready}
        self._missing = [piece for piece in pieces if piece not in self._ready]

    def _foreseen(self) -> list[CheckPlan]:
        """The next checks, as if each began when it is planned."""
        looked = list(islice(self._wanting, _LOOK))
        order = dict.fromkeys(looked)
        begun: dict[bytes, SetLedger] = {}
        plans: list[CheckPlan] = []
        for _ in range(min(self._window.limits.checks_in_flight, _CHECKS)):
            plan = self._planned(order, begun)
            if plan is None or (plans and plan.places != plans[0].places):
                break
            plans.append(plan)
            mask = place_mask(plan.places)
            for run in plan.runs:
                ledger = begun.get(run.set_id) or self._window.ledger(run.set_id).copy()
                ledger.begin_prepare(run.first, run.length, mask)
                begun[run.set_id] = ledger
                _to_the_end(order, run.set_id)
        if not plans:  # none of them has work that is worth a check
            for set_id in looked:
                del self._wanting[set_id]
            self._changed = bool(self._wanting)
        return plans

    def _planned(
        self, order: Mapping[bytes, None], begun: Mapping[bytes, SetLedger]
    ) -> CheckPlan | None:
        """The next check of these sets; begun: ledgers of sets of which more has begun."""
        window = self._window
        if not order or window.table.epoch == 0 or not window.table.entries:
            return None
        limits = window.limits
        demands = []
        for set_id in order:
            ledger = begun.get(set_id) or window.ledger(set_id)
            ahead = window.camera_mark(window.sets[set_id]) + limits.prepare_ahead
            urgent = window.intake.highest(set_id) > ledger.mark.prepared
            demands.append(Demand(ledger, ahead, urgent))
        quantum = max(1, limits.prepare_ahead // 4)
        limit = limits.slots_per_check(window.table.numbers.used)
        return plan_check(demands, window.table.places, limit, min(quantum, limit))

    def _compute(self, piece: Run, places: tuple[int, ...], table: PlaceTable) -> OpeningShares:
        owner = self._window.sets[piece.set_id]
        return owner.opening_shares(piece.first, piece.length, places, table.numbers)


def _to_the_end(order: dict[bytes, None], set_id: bytes) -> None:
    order.pop(set_id, None)
    order[set_id] = None


def _pieces(runs: Iterable[Run]) -> Iterator[Run]:
    """The runs, divided where a chunk of the material begins."""
    for run in runs:
        first = run.first
        while first < run.stop:
            stop = min(run.stop, (first // PIECE + 1) * PIECE)
            yield Run(run.set_id, first, stop - first)
            first = stop
