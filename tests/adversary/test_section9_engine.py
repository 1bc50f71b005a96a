"""Section 9, engine material marked at the end: a restart would reuse a mask, and x - x' shows.

The engine marks its material before its first message; without the mark the attack succeeds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from party.engine import exchange
from party.engine.session import EngineSession
from shared.engine_messages import EngineMessage, Shares
from shared.engine_plan import INPUTS, MASK
from shared.errors import SlotReused
from tests.engine_support import Stage, make_stage

COUNTS = {INPUTS[0]: 3, MASK: 3}
FIRST = np.array([5, -7, 2**40], dtype=np.int64)
SECOND = np.array([100, 3, -1], dtype=np.int64)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return make_stage(tmp_path)


def overheard(stage: Stage, paths: dict[str, Path], secret: Any) -> tuple[list[Shares], Any]:
    """What P1 reads while P0 gives this input, and what came of it at P0."""
    heard: list[Shares] = []

    def listen(_number: int, message: EngineMessage) -> EngineMessage:
        if isinstance(message, Shares):
            heard.append(message)
        return message

    def give(session: EngineSession) -> None:
        session.input(0, secret.shape, secret if session.party == 0 else None)
        session.check()

    found = stage.act(paths, give, change=(listen, None), deadline=2.0)
    return heard, found[0]


def test_a_restart_cannot_reuse_the_mask_of_an_input(stage: Stage) -> None:
    paths = stage.mint(COUNTS)
    heard, outcome = overheard(stage, paths, FIRST)
    assert heard
    assert outcome is None
    again, outcome = overheard(stage, paths, SECOND)
    assert isinstance(outcome, SlotReused)
    assert again == []


def test_without_the_mark_before_the_first_message_the_difference_of_inputs_shows(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "mark_begun", lambda *_: None)
    paths = stage.mint(COUNTS)
    openings = []
    for secret in (FIRST, SECOND):
        heard, outcome = overheard(stage, paths, secret)
        assert outcome is None
        openings.append(np.frombuffer(heard[0].elements, dtype="<u8").reshape(-1, 2)[:, 0])
    difference = (openings[0] - openings[1]).view(np.int64)
    assert np.array_equal(difference, FIRST - SECOND)
