"""What happened to the slots of one set: the pure rules of one-time use (protocol section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError, RangeError, SlotReused
from shared.intervals import Interval, Intervals
from shared.messages import Run
from shared.sets import SetName


class SlotState(IntEnum):
    """The state of one slot, the last one that applies.

    IN_PREPARE: in a check that has neither passed nor failed, with any of its places.
    PREPARED: at least one place passed. REVEALED: in a batch without a verdict.
    DONE: verified. BURNED: all places, for ever.
    """

    FRESH = 0
    IN_PREPARE = 1
    PREPARED = 2
    REVEALED = 3
    DONE = 4
    BURNED = 5


@dataclass(frozen=True, slots=True)
class SetInfo:
    """A set, and how many slots it has."""

    name: SetName
    slots: int

    def __post_init__(self) -> None:
        if not 0 < self.slots < 1 << 32:
            raise RangeError(f"slots of a set: found {self.slots}, expected 1 to 2^32 - 1")
        if len(self.name.mint_id) != 16:
            raise InputError(f"mint id: found {len(self.name.mint_id)} bytes, expected 16")

    @property
    def set_id(self) -> bytes:
        """8 bytes that name the set."""
        return self.name.set_id()


class HighWater(NamedTuple):
    """How far a set was used: the slot after the highest one in any check, and in any batch."""

    prepared: int
    revealed: int


_UNUSED = HighWater(0, 0)


@dataclass(slots=True)
class SetLedger:
    """The slots of one set. `refuse_*` raise SlotReused and change nothing; the rest record.

    opened: for each group of places (a bit mask over places) the slots of which those places
    are in prepare or passed. prepared, revealed: ever, so also of slots done or burned since.
    reserved: slots below it may have been revealed, as far as stable storage knows.
    """

    info: SetInfo
    opened: dict[int, Intervals] = field(default_factory=dict)
    in_prepare: Intervals = field(default_factory=Intervals)
    prepared: Intervals = field(default_factory=Intervals)
    revealed: Intervals = field(default_factory=Intervals)
    done: Intervals = field(default_factory=Intervals)
    burned: Intervals = field(default_factory=Intervals)
    reserved: int = 0
    mark: HighWater = _UNUSED

    def refuse_prepare(self, first: int, length: int, mask: int) -> None:
        """Unless these places of these slots were never opened and the slots are free."""
        self._refuse_outside(first, length)
        for slots, why in (
            (self.burned, "burned"),
            (self.revealed, "revealed"),
            (self.in_prepare, "in another check"),
        ):
            if slots.intersects(first, length):
                raise self._reused(slots, first, length, why)
        for other, slots in self.opened.items():
            if other & mask and slots.intersects(first, length):
                raise self._reused(slots, first, length, "opened before at one of these places")

    def begin_prepare(self, first: int, length: int, mask: int) -> None:
        """A check of these places of these slots begins."""
        self.opened.setdefault(mask, Intervals()).add(first, length)
        self.in_prepare.add(first, length)
        self._raise_mark(first + length, 0)

    def pass_check(self, first: int, length: int) -> None:
        """The check in which these slots are has passed."""
        self.in_prepare.subtract(first, length)
        self.prepared.add(first, length)

    def fail_check(self, first: int, length: int) -> None:
        """The check in which these slots are has not passed."""
        self.in_prepare.subtract(first, length)
        self.burned.add(first, length)

    def refuse_reveal(self, first: int, length: int) -> None:
        """Unless the slots are prepared, reserved, in no check, and were never revealed."""
        self._refuse_outside(first, length)
        for slots, why in (
            (self.burned, "burned"),
            (self.revealed, "revealed before"),
            (self.in_prepare, "in a check"),
        ):
            if slots.intersects(first, length):
                raise self._reused(slots, first, length, why)
        if not self.prepared.covers(first, length):
            raise SlotReused(f"{self._where(first, length)}: not prepared, or no longer")
        if first + length > self.reserved:
            raise SlotReused(
                f"{self._where(first, length)}: only slots below {self.reserved} are reserved"
            )

    def reveal(self, first: int, length: int) -> None:
        """The slots' bit shares may leave."""
        self.revealed.add(first, length)
        self._raise_mark(0, first + length)

    def finish(self, first: int, length: int) -> None:
        """The slots' bits were verified."""
        self.done.add(first, length)

    def burn(self, first: int, length: int) -> None:
        """The slots are never used (again), at any place."""
        self._refuse_outside(first, length)
        self.burned.add(first, length)

    def raise_mark(self, mark: HighWater) -> list[Run]:
        """Takes the higher mark; burns the slots below that are not known as used, and names them.

        A slot that the peer has prepared and we have never opened is burned, and so is a slot
        below the peer's revealed mark that we have not revealed.
        """
        lost: list[Run] = []
        for below, known in (
            (min(mark.prepared, self.info.slots), self._ever_opened()),
            (min(mark.revealed, self.info.slots), self.revealed),
        ):
            if below == 0:
                continue
            for gap in known.missing(0, below):
                lost += [Run(self.info.set_id, *part) for part in self.burned.missing(*gap)]
                self.burned.add(*gap)
        self._raise_mark(min(mark.prepared, self.info.slots), min(mark.revealed, self.info.slots))
        return lost

    def burn_reserved(self, kept: Intervals) -> list[Run]:
        """After a power cut: burns every reserved slot that is neither done nor in `kept`."""
        if self.reserved == 0:
            return []
        known = self.done.copy()
        known.update(kept)
        known.update(self.burned)
        lost = [Run(self.info.set_id, *gap) for gap in known.missing(0, self.reserved)]
        for run in lost:
            self.burned.add(run.first, run.length)
        self._raise_mark(0, self.reserved)
        return lost

    def finished(self, first: int, length: int) -> bool:
        """Whether nothing more can come of these slots."""
        return all(self.burned.covers(*gap) for gap in self.done.missing(first, length))

    def opened_places(self, first: int, length: int) -> int:
        """Mask of the places that are in prepare or passed for every one of these slots.

        The slots need not have come in one check, nor with the same places.
        """
        everywhere = 0
        apart = []
        for mask, slots in self.opened.items():
            if slots.covers(first, length):
                everywhere |= mask
            elif slots.intersects(first, length):
                apart.append((mask, slots))
        if not apart:  # most often: all of them came in the same checks
            return everywhere
        parts = [(Interval(first, length), everywhere)]
        for mask, slots in apart:
            divided = [
                (inside, have | mask) for part, have in parts for inside in slots.within(*part)
            ]
            for part, have in parts:
                divided += [(outside, have) for outside in slots.missing(*part)]
            parts = divided
        common = parts[0][1]
        for _, have in parts:
            common &= have
        return common

    def ready(self) -> Intervals:
        """The slots that are PREPARED now."""
        slots = self.prepared.copy()
        for used in (self.in_prepare, self.revealed, self.burned):
            slots.difference_update(used)
        return slots

    def is_ready(self, first: int, length: int) -> bool:
        """Whether all of these slots are PREPARED now."""
        return self.prepared.covers(first, length) and not (
            self.in_prepare.intersects(first, length)
            or self.revealed.intersects(first, length)
            or self.burned.intersects(first, length)
        )

    def states(self) -> NDArray[np.uint8]:
        """(slots,) uint8 of `SlotState`."""
        states = np.zeros(self.info.slots, dtype=np.uint8)
        for slots, state in (
            (self.prepared, SlotState.PREPARED),
            (self.in_prepare, SlotState.IN_PREPARE),
            (self.revealed, SlotState.REVEALED),
            (self.done, SlotState.DONE),
            (self.burned, SlotState.BURNED),
        ):
            for interval in slots:
                states[interval.first : interval.stop] = state
        return states

    def copy(self) -> SetLedger:
        """An independent ledger with the same content."""
        return SetLedger(
            self.info,
            {mask: slots.copy() for mask, slots in self.opened.items()},
            self.in_prepare.copy(),
            self.prepared.copy(),
            self.revealed.copy(),
            self.done.copy(),
            self.burned.copy(),
            self.reserved,
            self.mark,
        )

    def _ever_opened(self) -> Intervals:
        slots = self.done.copy()
        slots.update(self.revealed)
        for group in self.opened.values():
            slots.update(group)
        return slots

    def _raise_mark(self, prepared: int, revealed: int) -> None:
        mark = self.mark
        if prepared > mark.prepared or revealed > mark.revealed:
            self.mark = HighWater(max(mark.prepared, prepared), max(mark.revealed, revealed))

    def _refuse_outside(self, first: int, length: int) -> None:
        if first < 0 or length < 1 or first + length > self.info.slots:
            raise RangeError(
                f"{self._where(first, length)}: expected slots below {self.info.slots}"
            )

    def _reused(self, slots: Intervals, first: int, length: int, why: str) -> SlotReused:
        part = slots.within(first, length)[0]
        return SlotReused(f"{self._where(part.first, part.length)}: {why}")

    def _where(self, first: int, length: int) -> str:
        name = self.info.name
        return f"window {name.window} camera {name.camera} slots {first} to {first + length - 1}"


def refuse_repeated(runs: Sequence[Run]) -> None:
    """Raises SlotReused when a slot is in two of the runs."""
    if len(runs) < 2:
        return
    ordered = sorted(runs)
    for one, following in pairwise(ordered):
        if one.set_id == following.set_id and one.stop > following.first:
            raise SlotReused(f"slot {following.first} is named twice in one request")


def place_mask(places: Iterable[int]) -> int:
    """A bit mask over places; SlotReused for a place named twice, RangeError below 0."""
    mask = 0
    for place in places:
        if not 0 <= place < 1 << 20:
            raise RangeError(f"place: found {place}, expected 0 to 2^20 - 1")
        bit = 1 << place
        if mask & bit:
            raise SlotReused(f"place {place} is named twice in one check")
        mask |= bit
    return mask
