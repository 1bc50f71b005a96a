"""What a session takes that matches faces against entries which neither party sees.

docs/engine.md, "Private watchlists". Client 0 is the authority, clients 1, 2, ... are the cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.engine_header import EngineHeader
from shared.engine_plan import MASK, SIGN, SQUARE, Family, Plan, client, fixed, left_of, plan
from shared.errors import InputError
from shared.params import Parameters

AUTHORITY: Final = 0


def private_plan(dim: int, entries: int, faces: Sequence[int]) -> Plan:
    """Material for so many entries of `dim` coordinates, and so many faces of each camera.

    Raises RangeError.
    """
    size, total = entries * dim, sum(faces)
    product = fixed(entries, dim)
    counts = {
        client(AUTHORITY): size,
        left_of(product): 1,
        SQUARE: size,
        product: total,
        SIGN: total * entries,
        MASK: total * entries,
    }
    for number, count in enumerate(faces, start=1):
        counts[client(number)] = count * (dim + 1)
    return plan(counts)


@dataclass(frozen=True, slots=True)
class PrivateShape:
    """What such a session has room for. faces: of each camera, the first is client 1."""

    params: Parameters
    entries: int
    faces: tuple[int, ...]

    @classmethod
    def of(cls, header: EngineHeader, where: str) -> PrivateShape:
        """The shape of the session of a dealer's file. Raises InputError for another one's."""
        params, counts = header.params, dict(header.plan.counts)
        products = [kind for kind in counts if kind.family is Family.FIXED]
        if params is not None and len(products) == 1 and len(header.clients) > 1:
            entries = products[0].p
            each = params.coordinates
            cameras = range(1, len(header.clients))
            faces = tuple(header.plan.count(client(number)) // each for number in cameras)
            if all(faces) and header.plan == private_plan(params.dim, entries, faces):
                return cls(params, entries, faces)
        raise InputError(f"{where}: its session is not one of private matching")

    def columns(self, number: int) -> int:
        """Elements of one row that a client supplies: of an entry, or of a face and its norm."""
        return self.params.dim if number == AUTHORITY else self.params.coordinates

    def rows(self, number: int) -> int:
        """Rows that a client may supply."""
        return self.entries if number == AUTHORITY else self.faces[number - 1]
