"""Which entry is bound to which place, and the public numbers that follow (protocol section 3).

A place, once bound, stays with its entry for the whole window. A map lists the live bindings of
one epoch: entries that both parties' watchlists hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shared.errors import HeaderMismatch, SlotReused
from shared.fixedpoint import check_entries, entry_matrix
from shared.hashing import Field, digest
from shared.messages import Binding
from shared.params import Parameters
from shared.watchlist import Entry

if TYPE_CHECKING:  # its kernels' compiler would slow down every command that reads a watchlist
    from shared.ring import PublicMatrix


@dataclass(frozen=True, slots=True)
class PlaceNumbers:
    """Public numbers of the live places of a map, ready for the kernels.

    used: places 0..used-1 hold all live ones. matrix: ch, (used, d + 1) int32, zero where no
    entry is live; product: the same, ready for products. constants: sum c^2 - T mod 2^32, (used,)
    uint32.
    """

    used: int
    matrix: NDArray[np.int32]
    product: PublicMatrix
    constants: NDArray[np.uint32]

    def chosen(self, places: tuple[int, ...]) -> PublicMatrix:
        """The rows of these places, ready for products."""
        if places == tuple(range(self.used)):
            return self.product
        from shared.ring import PublicMatrix

        return PublicMatrix(self.matrix[np.asarray(places, dtype=np.intp)])


class PlaceTable:
    """The live bindings of one epoch, with their digest and numbers.

    places: live places, ascending. mask: the same as a bit mask.
    """

    def __init__(
        self, params: Parameters, window: str, epoch: int, entries: Mapping[int, Entry]
    ) -> None:
        self.params = params
        self.window = window
        self.epoch = epoch
        self.entries = dict(sorted(entries.items()))
        self.places = tuple(self.entries)
        self.mask = sum(1 << place for place in self.places)
        self.numbers = _numbers(params, self.entries)
        self._digest = self._make_digest()
        self._names: dict[tuple[int, ...], tuple[str, ...]] = {}

    def chosen(self, mask: int) -> tuple[int, ...]:
        """Live places that are in the mask as well, ascending."""
        if mask & self.mask == self.mask:
            return self.places
        return tuple(place for place in self.places if mask >> place & 1)

    def names(self, live: tuple[int, ...]) -> tuple[str, ...]:
        """The entries' names at these live places, in their order; to be asked for again."""
        found = self._names.get(live)
        if found is None:
            found = tuple(self.entries[place].name for place in live)
            self._names = {live: found}
        return found

    def bindings(self) -> tuple[Binding, ...]:
        """The live bindings, places ascending."""
        return tuple(Binding(place, entry.digest) for place, entry in self.entries.items())

    def digest(self) -> bytes:
        """32 bytes naming parameters, window, threshold and every live binding."""
        return self._digest

    def _make_digest(self) -> bytes:
        fields: list[Field] = [self.params.digest(), self.window, self.params.threshold]
        for place, entry in self.entries.items():
            fields += [place, entry.digest]
        return digest("place map", *fields)


def propose(
    params: Parameters,
    bound: Mapping[int, bytes],
    own: Iterable[Entry],
    approved_by_peer: Iterable[bytes],
) -> tuple[dict[int, Entry], list[Entry]]:
    """P0's next map: entries that both hold, on their bound place or the lowest free one.

    bound: every binding ever made in this window. Second: entries for which no place is left.
    """
    approved = set(approved_by_peer)
    place_of = {entry: place for place, entry in bound.items()}
    free = (place for place in range(params.places) if place not in bound)
    result: dict[int, Entry] = {}
    placeless: list[Entry] = []
    for entry in own:
        if entry.digest not in approved:
            continue
        place = place_of.get(entry.digest)
        if place is None:
            place = next(free, None)
        if place is None:
            placeless.append(entry)
        else:
            result[place] = entry
    return result, placeless


def accept(
    params: Parameters,
    bound: Mapping[int, bytes],
    own: Iterable[Entry],
    bindings: Iterable[Binding],
) -> dict[int, Entry]:
    """P1's view of P0's map. Raises HeaderMismatch or SlotReused naming the first bad binding."""
    by_digest = {entry.digest: entry for entry in own}
    bound_place = {entry: place for place, entry in bound.items()}
    result: dict[int, Entry] = {}
    last = -1
    for place, entry_digest in bindings:
        if not last < place < params.places:
            raise HeaderMismatch(f"place map: place {place} is out of order or out of range")
        last = place
        entry = by_digest.get(entry_digest)
        if entry is None:
            raise HeaderMismatch(
                f"place map: place {place} names an entry that is not in our watchlist"
            )
        if bound.get(place, entry_digest) != entry_digest:
            raise SlotReused(f"place map: place {place} is bound to another entry in this window")
        if bound_place.setdefault(entry_digest, place) != place:
            raise SlotReused(f"place map: entry {entry.name!r} is bound to another place")
        result[place] = entry
    return result


def _numbers(params: Parameters, entries: Mapping[int, Entry]) -> PlaceNumbers:
    from shared.ring import PublicMatrix

    used = max(entries, default=-1) + 1
    coordinates = np.zeros((used, params.dim), dtype=np.int64)
    live = np.zeros(used, dtype=np.bool_)
    for place, entry in entries.items():
        coordinates[place] = entry.coordinates
        live[place] = True
    check_entries(coordinates, params)
    matrix, squares = entry_matrix(coordinates)
    matrix[~live] = 0
    constants = ((squares - params.threshold) & 0xFFFFFFFF).astype(np.uint32)
    return PlaceNumbers(used, matrix, PublicMatrix(matrix), constants)
