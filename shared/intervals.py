"""Sets of slot numbers as sorted intervals: the pure bookkeeping under the journals."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import NamedTuple, Self

from shared.errors import FormatError, RangeError

LIMIT = 1 << 32  # slot numbers are u32
_PAIR = struct.Struct("<QQ")
_FEW = 8  # times fewer intervals than in the set: put in one by one
_NEVER = (2 * LIMIT, 2 * LIMIT)


class Interval(NamedTuple):
    """Consecutive slots: the first one, and how many."""

    first: int
    length: int

    @property
    def stop(self) -> int:
        """The slot after the last one."""
        return self.first + self.length


class Intervals:
    """A mutable set of slots, held as disjoint intervals that do not touch.

    Every operation is logarithmic in the number of intervals, save for what it moves.
    Slots outside 0..2^32-1 and empty intervals raise RangeError.
    """

    __slots__ = ("_starts", "_stops")

    def __init__(self, intervals: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for first, length in intervals:
            self.add(first, length)

    def add(self, first: int, length: int) -> None:
        """Adds the slots first .. first + length - 1; those already in stay."""
        stop = _stop(first, length)
        starts, stops = self._starts, self._stops
        if not starts or first > stops[-1]:
            starts.append(first)
            stops.append(stop)
            return
        low = bisect_left(stops, first)
        high = bisect_right(starts, stop)
        if low < high:
            first = min(first, starts[low])
            stop = max(stop, stops[high - 1])
        starts[low:high] = [first]
        stops[low:high] = [stop]

    def subtract(self, first: int, length: int) -> None:
        """Removes the slots first .. first + length - 1; those not in are no error."""
        stop = _stop(first, length)
        starts, stops = self._starts, self._stops
        low = bisect_right(stops, first)
        high = bisect_left(starts, stop)
        if low >= high:
            return
        kept = [
            (start, end)
            for start, end in ((starts[low], first), (stop, stops[high - 1]))
            if start < end
        ]
        starts[low:high] = [start for start, _ in kept]
        stops[low:high] = [end for _, end in kept]

    def update(self, other: Intervals) -> None:
        """Adds all slots of another set; in time linear in both at most."""
        if _FEW * len(other._starts) < len(self._starts):
            for first, length in other:
                self.add(first, length)
            return
        starts: list[int] = []
        stops: list[int] = []
        for start, stop in merge(self._pairs(), other._pairs()):
            if stops and start <= stops[-1]:
                stops[-1] = max(stops[-1], stop)
            else:
                starts.append(start)
                stops.append(stop)
        self._starts, self._stops = starts, stops

    def difference_update(self, other: Intervals) -> None:
        """Removes all slots of another set; in time linear in both at most."""
        if _FEW * len(other._starts) < len(self._starts):
            for first, length in other:
                self.subtract(first, length)
            return
        starts: list[int] = []
        stops: list[int] = []
        cuts = other._pairs()
        at, end = next(cuts, _NEVER)
        for first, stop in self._pairs():
            start = first
            while end <= start:
                at, end = next(cuts, _NEVER)
            while at < stop:
                if start < at:
                    starts.append(start)
                    stops.append(at)
                start = end
                if end >= stop:  # it may reach into the next interval
                    break
                at, end = next(cuts, _NEVER)
            if start < stop:
                starts.append(start)
                stops.append(stop)
        self._starts, self._stops = starts, stops

    def intersects(self, first: int, length: int) -> bool:
        """Whether any of the slots is in."""
        stop = first + length
        if first < 0 or length < 1 or stop > LIMIT:
            raise _outside(first, length)
        stops = self._stops
        if not stops or first >= stops[-1]:  # most often: slots are used in order
            return False
        return self._starts[bisect_right(stops, first)] < stop

    def covers(self, first: int, length: int) -> bool:
        """Whether all of the slots are in."""
        stop = first + length
        if first < 0 or length < 1 or stop > LIMIT:
            raise _outside(first, length)
        low = bisect_right(self._starts, first) - 1
        return low >= 0 and self._stops[low] >= stop

    def within(self, first: int, length: int) -> list[Interval]:
        """The part of the slots that is in, in order."""
        stop = _stop(first, length)
        low = bisect_right(self._stops, first)
        high = bisect_left(self._starts, stop)
        parts = []
        for index in range(low, high):
            start = max(self._starts[index], first)
            parts.append(Interval(start, min(self._stops[index], stop) - start))
        return parts

    def missing(self, first: int, length: int) -> list[Interval]:
        """The part of the slots that is not in, in order."""
        stop = _stop(first, length)
        gaps = []
        for part in self.within(first, length):
            if part.first > first:
                gaps.append(Interval(first, part.first - first))
            first = part.stop
        if first < stop:
            gaps.append(Interval(first, stop - first))
        return gaps

    @property
    def stop(self) -> int:
        """The slot after the highest one, 0 when empty."""
        return self._stops[-1] if self._stops else 0

    @property
    def total(self) -> int:
        """How many slots are in."""
        return sum(self._stops) - sum(self._starts)

    def copy(self) -> Intervals:
        """An independent set of the same slots."""
        other = Intervals()
        other._starts = self._starts.copy()
        other._stops = self._stops.copy()
        return other

    def _pairs(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __contains__(self, slot: int) -> bool:
        low = bisect_right(self._starts, slot) - 1
        return low >= 0 and self._stops[low] > slot

    def __iter__(self) -> Iterator[Interval]:
        for start, stop in zip(self._starts, self._stops, strict=True):
            yield Interval(start, stop - start)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Intervals):
            return NotImplemented
        return self._starts == other._starts and self._stops == other._stops

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Intervals({[tuple(interval) for interval in self]})"

    def to_bytes(self) -> bytes:
        """Pairs of u64: first, length."""
        return b"".join(_PAIR.pack(*interval) for interval in self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; FormatError for anything that it does not give."""
        if len(data) % _PAIR.size:
            raise FormatError(f"intervals: found {len(data)} bytes, expected pairs of u64")
        found = cls()
        for first, length in _PAIR.iter_unpack(data):
            if not 0 < length <= LIMIT - first or (found and first <= found.stop):
                raise FormatError(f"intervals: found first {first}, length {length}")
            found._starts.append(first)
            found._stops.append(first + length)
        return found


def _stop(first: int, length: int) -> int:
    if first < 0 or length < 1 or first + length > LIMIT:
        raise _outside(first, length)
    return first + length


def _outside(first: int, length: int) -> RangeError:
    return RangeError(f"slots: found first {first}, length {length}, expected 1 or more below 2^32")
