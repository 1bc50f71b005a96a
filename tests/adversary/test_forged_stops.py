"""A party that says it stops, or pauses, and lies; and these messages lost, repeated, delayed."""

from __future__ import annotations

import pytest

from shared.messages import PARTY_CODEC, PartyMessage, Paused, Stopping
from tests.adversary.attacks import attack
from tests.adversary.meeting import EVERYBODY, aftermath, goes_on
from tests.support.pair import LIMITS, Frames, Pair
from tests.support.scenes import NEAR_ADA, ground, watchlist


def say(pair: Pair, sender: int, kind: type[Stopping | Paused], times: int = 1) -> None:
    """Puts the message on the wire, of the session in force."""
    session = pair.sides[sender].session.session
    assert session is not None
    for _ in range(times):
        pair.wire[sender].append(PARTY_CODEC.encode(kind(session)))
    pair.tick()


def safe(pair: Pair) -> None:
    """The window goes on, and what was released is right."""
    aftermath(pair)
    assert pair.wrong_results(watchlist(*EVERYBODY)) == []
    assert goes_on(pair)
    for side in pair.sides:
        assert side.session.closed is None
        assert side.shown.twice() == []


@pytest.mark.parametrize(
    ("sender", "kind", "times"),
    [(0, Stopping, 1), (0, Paused, 1), (1, Paused, 1), (1, Stopping, 2)],
)
def test_a_stop_that_nobody_may_announce_is_a_violation(
    sender: int, kind: type[Stopping | Paused], times: int
) -> None:
    with attack(f"P{sender} {kind.__name__} {times} times"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        say(pair, sender, kind, times)
        (told,) = pair.sides[1 - sender].told("violation")
        assert kind.__name__ in told
        safe(pair)


def test_a_p1_that_says_it_stops_and_does_not_is_left_for_a_new_session() -> None:
    def unheard(_sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        return [] if isinstance(message, Paused) else [frames]

    with (
        attack("P1 Stopping without a stop"),
        Pair(ground(), watchlist(), tap=unheard) as pair,
    ):
        assert pair.run(3, pair.prepared)
        former = pair.p0.session.session
        say(pair, 1, Stopping)
        pair.cameras["east"].send([NEAR_ADA])
        pair.run(LIMITS.confirm_deadline / 2)
        assert pair.p0.session.session == former
        assert not pair.p0.session.busy
        assert pair.run(LIMITS.confirm_deadline, lambda: pair.p0.session.session != former)
        assert pair.run(8, pair.ended)
        assert pair.p0.verified() == {("east", 0): ("ada",)}
        safe(pair)


@pytest.mark.parametrize("lost", [Stopping, Paused])
def test_a_p1_whose_word_or_whose_answer_is_lost_may_stop_all_the_same(
    lost: type[PartyMessage],
) -> None:
    def losing(_sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        return [] if isinstance(message, lost) else [frames]

    with (
        attack(f"{lost.__name__} lost"),
        Pair(ground(), watchlist(), tap=losing) as pair,
    ):
        assert pair.run(3, pair.prepared)
        pair.p1.session.draining = True
        pair.run(1)
        assert pair.p1.session.expects_more
        pair.restart(1, orderly=True)
        safe(pair)


def test_a_message_of_a_former_session_about_stopping_has_no_effect() -> None:
    with attack("Stopping and Paused replayed"), Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        former = pair.p0.session.session
        assert former is not None
        pair.restart(1, orderly=True)
        assert pair.run(5, pair.prepared)
        pair.wire[1].append(PARTY_CODEC.encode(Stopping(former)))
        pair.wire[0].append(PARTY_CODEC.encode(Paused(former)))
        pair.tick()
        pair.cameras["east"].send([NEAR_ADA])
        assert pair.run(2, pair.ended)
        assert pair.p0.verified() == pair.p1.verified() == {("east", 0): ("ada",)}
        safe(pair)
