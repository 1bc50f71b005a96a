"""Evaluating held faces: long messages one by one, short ones of many cameras together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from party.intake import HeldFaces
from party.matching import TagPart
from party.material import low_part, with_top
from party.places import PlaceTable
from shared import dcf, ring
from shared.kernels import address
from shared.matchinputs import match_inputs_each

SHORT = 8  # faces in a message up to which it pays to evaluate messages together
TOGETHER = 64
AT_ONCE = 64  # faces that are evaluated between two looks at the sockets


def evaluate(faces: Iterable[HeldFaces], table: PlaceTable) -> None:
    """Authenticated bit shares of these faces under this place map; slots are prepared."""
    short: list[HeldFaces] = []
    waiting = 0
    for held in faces:
        if held.run.length > SHORT:
            _keep(held, held.owner.tags(held.run.first, held.masked, table.numbers), table)
            continue
        if waiting + held.run.length > min(TOGETHER, held.owner.buffers.capacity):
            _evaluate_together(short, table)
            short, waiting = [], 0
        short.append(held)
        waiting += held.run.length
    _evaluate_together(short, table)


def _evaluate_together(group: Sequence[HeldFaces], table: PlaceTable) -> None:
    if len(group) < 2:
        for held in group:
            _keep(held, held.owner.tags(held.run.first, held.masked, table.numbers), table)
        return
    numbers = table.numbers
    slots = [(held.owner, slot) for held in group for slot in range(held.run.first, held.run.stop)]
    owner = group[0].owner
    params = owner.params
    masked = np.concatenate([held.masked for held in group])
    z = ring.public_product_mod32(numbers.product, masked)
    z += numbers.constants
    z += np.stack([one.kappa_row(slot, numbers.used) for one, slot in slots])
    expanded = match_inputs_each(
        [one.key for one, _ in slots],
        owner.party,
        [one.dcf_key for one, _ in slots],
        np.array([slot for _, slot in slots], dtype=np.uint64),
        numbers.used,
    )
    rows = owner.buffers.rows(slots)
    places = np.array([address(row) for row in rows], dtype=np.uint64)
    result = np.empty(z.shape, dtype=np.uint64)
    dcf.evaluate(
        params,
        owner.party,
        expanded.slot_keys,
        expanded.roots,
        places,
        low_part(z, params),
        result,
    )
    whole = with_top(result, z, expanded.deltas, params)
    row = 0
    for held in group:
        part = slice(row, row + held.run.length)
        _keep(held, TagPart(whole.tags[part], whole.deltas[part]), table)
        row += held.run.length


def _keep(held: HeldFaces, part: TagPart, table: PlaceTable) -> None:
    held.tags, held.tags_map = part, table.digest()
