"""Held faces: what overlaps a run of slots, whatever was added and removed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from party.intake import HeldFaces, Intake
from party.material import PartySet
from shared.errors import SlotReused
from shared.messages import Run

SETS = (bytes(8), b"another.")
RUNS = st.builds(Run, st.sampled_from(SETS), st.integers(0, 40), st.integers(1, 6))
OWNER = cast(PartySet, SimpleNamespace(name=SimpleNamespace(camera="door")))


def held(run: Run) -> HeldFaces:
    none = np.zeros(run.length, dtype=np.uint64)
    return HeldFaces(run, OWNER, none, none.astype(np.uint32), bytes(32), 0.0)


@given(st.lists(RUNS, max_size=30), st.lists(RUNS, max_size=10), RUNS)
def test_overlapping_messages_are_those_that_share_a_slot(
    added: list[Run], removed: list[Run], asked: Run
) -> None:
    intake = Intake(1000, 1)
    known: set[Run] = set()
    for run in added:
        try:
            if intake.add(held(run)):
                known.add(run)
        except SlotReused:
            pass
    for run in removed:
        assert (intake.remove(run) is not None) == (run in known)
        known.discard(run)
    found = [one.run for one in intake.overlapping(asked)]
    assert found == sorted(
        run
        for run in known
        if run.set_id == asked.set_id and run.first < asked.stop and asked.first < run.stop
    )
    assert intake.faces == sum(run.length for run in known)
