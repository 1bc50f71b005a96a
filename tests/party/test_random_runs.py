"""Honest parties on a slow wire that breaks, with restarts and changes at random moments."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from shared.errors import ResourceError
from tests.support.minted import minted
from tests.support.pair import LIMITS, Pair, honest
from tests.support.scenes import DAN, NEAR_ADA, NEAR_DAN, PARAMS, PEOPLE, STRANGER, watchlist

NAMES = [*PEOPLE, *DAN]
# What honest parties never say of each other; a message lost within a session may look strange.
ALARMS = {"tamper", "violation", "mismatch"}
LOSS_ALARMS = {"tamper"}


def one_run(seed: int, *, loss: bool, steps: int = 60) -> Pair:
    """A run of random events; afterwards the wire is whole and everything has ended.

    loss: messages vanish within a session, as when a connection is made again below it.
    """
    rng = random.Random(seed)
    limits = replace(LIMITS, outages=1000, prepare_ahead=rng.choice([2, 5, 9]))
    pair = Pair(minted(PARAMS, slots=60), watchlist(*NAMES[:2]), limits=limits, seed=seed)
    for _ in range(steps):
        event = rng.randrange(14)
        side = pair.sides[rng.randrange(2)]
        if event < 4:
            camera = rng.choice(list(pair.cameras.values()))
            if camera.next_slot < 56:
                faces = rng.choices([NEAR_ADA, NEAR_DAN, STRANGER], k=rng.randint(1, 3))
                camera.send(faces, to=rng.choice([(0, 1), (0, 1), (0,), (1,)]))
        elif event == 4:
            camera = rng.choice(list(pair.cameras.values()))
            for number in range(len(camera.stored)):
                camera.resend(number)
        elif event < 7:
            entries = watchlist(*rng.sample(NAMES, rng.randint(1, 4)))
            for changed in rng.choice([(0, 1), (0,), (1,)]):
                party = pair.sides[changed]
                party.entries = entries
                party.session.set_watchlist(entries, party.local(pair.moment))
        elif event == 7:
            side.session.work_ahead(rng.randint(1, 9))
        elif event == 8 and rng.random() < 0.3:
            pair.restart(side.party, orderly=rng.random() < 0.5)
        elif event == 9 and rng.random() < 0.4:
            for queue in pair.wire:
                queue.clear()
            for party in () if loss else pair.sides:
                party.session.drop("the wire broke", party.local(pair.moment))
        else:
            pair.trickle((rng.randint(0, 4), rng.randint(0, 4)), rng.choice([0.01, 0.1, 0.4]))
    pair.tap = honest
    for side in pair.sides:
        side.entries = watchlist(*NAMES)
        side.session.set_watchlist(side.entries, side.local(pair.moment))
    pair.run(3)
    for camera in pair.cameras.values():
        for number in range(len(camera.stored)):
            camera.resend(number)
    pair.run(12, pair.ended)
    return pair


@pytest.mark.parametrize("loss", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_honest_parties_end_in_right_results_whatever_happens_between_them(
    seed: int, loss: bool
) -> None:
    with one_run(seed, loss=loss) as pair:
        assert pair.ended()
        assert pair.wrong_results(watchlist(*NAMES)) == []
        for side in pair.sides:
            assert side.session.closed is None
            told = {a.kind for a in side.events.announcements()}
            assert told.isdisjoint(LOSS_ALARMS if loss else ALARMS)
            assert all(isinstance(error, ResourceError) for error in side.camera_errors)
        pair.run(1)
        for camera in pair.cameras.values():
            camera.send([NEAR_DAN])
        pair.run(5, pair.ended)
        last = [(name, camera.next_slot - 1) for name, camera in pair.cameras.items()]
        for side in pair.sides:
            assert [side.verified().get(key) for key in last] == [("dan",)] * 2
