"""What a session of private matching takes, and that no other session passes for one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared.engine_plan import MASK, SIGN, SQUARE, client, fixed, left_of, plan
from shared.errors import InputError, RangeError
from shared.private_plan import PrivateShape, private_plan
from tests.private_support import ENTRIES, FACES, PARAMS, make_private_stage


def test_the_plan_has_what_entries_and_faces_take() -> None:
    found = private_plan(8, 5, [10, 3])
    assert found == plan(
        {
            client(0): 40,
            client(1): 90,
            client(2): 27,
            left_of(fixed(5, 8)): 1,
            fixed(5, 8): 13,
            SQUARE: 40,
            SIGN: 65,
            MASK: 65,
        }
    )
    with pytest.raises(RangeError):
        private_plan(8, 0, [10])


def test_a_shape_is_read_from_the_header_and_nothing_else_passes(tmp_path: Path) -> None:
    stage = make_private_stage(tmp_path)
    header = stage.session(0).header
    shape = PrivateShape.of(header, "it")
    assert (shape.entries, shape.faces, shape.params) == (ENTRIES, (FACES,), PARAMS)
    assert (shape.columns(0), shape.columns(1)) == (6, 7)
    assert (shape.rows(0), shape.rows(1)) == (ENTRIES, FACES)
    counts = dict(header.plan.counts)
    for other in (
        replace(header, params=None),
        replace(header, clients=header.clients[:1]),
        replace(header, plan=plan(counts | {MASK: 1})),
        replace(header, plan=plan(counts | {client(1): 1})),
        replace(header, plan=plan({MASK: 1})),
        replace(header, params=replace(PARAMS, dim=7)),
    ):
        with pytest.raises(InputError, match="it: its session is not one of private matching"):
            PrivateShape.of(other, "it")
