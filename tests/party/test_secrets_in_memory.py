"""What a session holds of keys is overwritten when its window closes, where Python lets it be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.materialfile import MaterialFile
from shared.secret import Secret
from shared.shares import Ratchet, RatchetTable
from tests.support.pair import Pair
from tests.support.scenes import NEAR_ADA, ground, watchlist
from tests.test_secret_fields import reachable


def close(pair: Pair) -> None:
    for side in pair.sides:
        side.session.close("the window has ended", pair.moment)


def tamper(pair: Pair) -> None:
    """P1 gets a confirmation that is wrong, and closes; P0 is told."""

    def forge(sender: int, message: object, frames: list[bytes | memoryview]) -> object:
        if type(message).__name__ == "Confirm0":
            frames = [bytes(frames[0])[:-1] + bytes([bytes(frames[0])[-1] ^ 1]), *frames[1:]]
        return [frames]

    pair.tap = forge  # type: ignore[assignment]
    pair.cameras["east"].send([NEAR_ADA])
    pair.run(5, lambda: all(side.session.closed for side in pair.sides))
    assert "confirmation is wrong" in (pair.p1.session.closed or "")


@pytest.mark.parametrize("end", [close, tamper])
def test_every_key_of_a_window_is_overwritten_when_it_closes(end: Callable[[Pair], None]) -> None:
    with Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.cameras["east"].send([NEAR_ADA])
        pair.run(1)
        found = list(reachable(*(side.session for side in pair.sides)))
        secrets = [one for one in found if isinstance(one, Secret)]
        ratchets = [one for one in found if isinstance(one, Ratchet)]
        tables = [one for one in found if isinstance(one, RatchetTable)]
        files = [one for one in found if isinstance(one, MaterialFile)]
        buffers = [one._content for one in secrets]
        states = [one._state for one in ratchets]
        assert len(secrets) >= 8  # two of each set and party
        assert len(ratchets) >= 4
        assert all(content is not None and any(content) for content in buffers)
        assert all(any(state) for state in states)
        end(pair)
        assert [one for one in secrets if one._content is not None] == []
        assert [content for content in buffers if content is not None and any(content)] == []
        assert [state for state in states if any(state)] == []
        assert [table for table in tables if table._keys] == []
        assert [file for file in files if file._cipher is not None or file._handle >= 0] == []
