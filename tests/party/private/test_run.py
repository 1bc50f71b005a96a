"""A run of private matching with a peer that errs, lies or leaves: what is told, what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from party.eventlines import Status
from party.private.run import Summary
from shared.engine_messages import EngineMessage, EngineRefused, Shares, Told
from shared.errors import (
    FormatError,
    HeaderMismatch,
    PeerVanished,
    ProtocolViolation,
    SecurityError,
    TamperDetected,
)
from shared.fixedpoint import plaintext_matches
from shared.masked_file import write_masked
from tests.engine_support import Change
from tests.private_support import FACES, LABELS, PARAMS, PrivateStage


def hand_out(stage: PrivateStage, path: Path, *parties: int) -> None:
    for party in parties or (0, 1):
        folder = stage.folder / f"faces-{party}"
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / path.name)


def told(stage: PrivateStage, party: int) -> dict[int, tuple[Status, tuple[str, ...]]]:
    with stage.events(party) as events:
        return {event.slot: (event.status, event.entries) for event in events.events()}


def announced(stage: PrivateStage, party: int) -> list[str]:
    with stage.events(party) as events:
        return [one.kind for one in events.announcements()]


def expected(stage: PrivateStage) -> list[tuple[Status, tuple[str, ...]]]:
    bits = plaintext_matches(stage.faces, stage.entries, PARAMS.threshold)
    return [
        (Status.VERIFIED, tuple(label for label, bit in zip(LABELS, row, strict=True) if bit))
        for row in bits
    ]


def nth(kind: type[EngineMessage], number: int, act: Callable[[Any], Any]) -> Change:
    """Changes the number-th message of a kind."""
    seen = 0

    def change(_: int, message: EngineMessage) -> EngineMessage | None:
        nonlocal seen
        if not isinstance(message, kind):
            return message
        seen += 1
        found: EngineMessage | None = act(message) if seen == number + 1 else message
        return found

    return change


def test_files_in_any_order_are_matched_in_one(stage: PrivateStage) -> None:
    listed = stage.listed()
    paths = [stage.share(first, 4, stage.folder / "made") for first in (0, 4, 8)]
    for party, order in ((0, (2, 0, 1)), (1, (1, 2, 0))):
        for number in order:
            hand_out(stage, paths[number], party)
    found = stage.run((listed, listed))
    right = expected(stage)
    hits = sum(bool(entries) for _, entries in right)
    assert found == [Summary(FACES, hits, 0)] * 2
    assert 0 < hits < FACES
    for party in (0, 1):
        assert [told(stage, party)[slot] for slot in range(FACES)] == right
        assert announced(stage, party) == []


def test_a_file_of_one_party_alone_is_told_as_without_a_result(stage: PrivateStage) -> None:
    listed = stage.listed()
    hand_out(stage, stage.share(0, 2, stage.folder / "made"))
    hand_out(stage, stage.share(2, 3, stage.folder / "made"), 1)
    turns = iter(range(1000))
    found = stage.run((listed, listed), stop=(lambda: next(turns) > 5, lambda: False))
    assert [one.matched for one in found] == [2, 2]
    assert [one.burned for one in found] == [0, 3]
    assert [told(stage, 1)[slot][0] for slot in range(5)] == [Status.VERIFIED] * 2 + [
        Status.BURNED
    ] * 3


@pytest.mark.parametrize("cheater", [0, 1])
@pytest.mark.parametrize("round_number", [0, 1, 2, 3, 4])
def test_a_flipped_share_is_announced_and_no_face_gets_a_result(
    stage: PrivateStage, cheater: int, round_number: int
) -> None:
    """Rounds that send elements: the list's preparation, x - B, the signs, their bits, outputs."""

    listed = stage.listed()
    hand_out(stage, stage.share(0, 3, stage.folder / "made"))
    sent = 0

    def flips(_: int, message: EngineMessage) -> EngineMessage:
        nonlocal sent
        if not isinstance(message, Shares) or not len(message.elements):
            return message
        sent += 1
        content = bytearray(message.elements)
        content[0] ^= sent == round_number + 1
        return replace(message, elements=bytes(content))

    pair: tuple[Change | None, Change | None] = (flips, None) if cheater == 0 else (None, flips)
    found = stage.run((listed, listed), change=pair)
    honest = 1 - cheater
    assert isinstance(found[honest], TamperDetected)
    assert announced(stage, honest) == ["tamper"]
    assert told(stage, honest) == dict.fromkeys(range(3), (Status.BURNED, ()))


def test_another_list_is_named_before_anything_of_it_is_used(
    stage: PrivateStage, tmp_path: Path
) -> None:
    listed = stage.listed()
    other = tmp_path / "other"
    with stage.masks("registry") as masks:
        # As an authority could that signs twice: the same masked entries under other aliases.
        masks._used = 0
        path = write_masked(
            other,
            stage.people["registry"].identity,
            masks,
            PARAMS,
            stage.entries,
            labels=("a", "b", "somebody else"),
        )
    hand_out(stage, stage.share(0, 2, stage.folder / "made"))
    found = stage.run((listed, path))
    assert all(isinstance(one, SecurityError) for one in found)
    assert any(isinstance(one, HeaderMismatch) for one in found)
    assert told(stage, 0) == dict.fromkeys(range(2), (Status.BURNED, ()))


@pytest.mark.parametrize(
    ("note", "error"),
    [
        (b"", FormatError),
        (b"\x09", FormatError),
        (b"\x00" + bytes(31), FormatError),
        (b"\x00" * (1 + 32 * 1025), FormatError),
    ],
)
def test_an_offer_that_is_none_ends_the_session(
    stage: PrivateStage, note: bytes, error: type[Exception]
) -> None:
    listed = stage.listed()
    hand_out(stage, stage.share(0, 2, stage.folder / "made"))
    found = stage.run(
        (listed, listed), change=(None, nth(Told, 1, lambda m: replace(m, note=note)))
    )
    assert isinstance(found[0], error)
    assert announced(stage, 0) == ["violation"]
    assert told(stage, 0) == dict.fromkeys(range(2), (Status.BURNED, ()))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: replace(m, round=m.round + 1),
        lambda m: replace(m, session=bytes(32)),
    ],
)
def test_a_note_of_another_round_or_session_ends_the_session(
    stage: PrivateStage, change: Callable[[Told], Told]
) -> None:
    listed = stage.listed()
    found = stage.run((listed, listed), change=(nth(Told, 1, change), None))
    assert isinstance(found[1], ProtocolViolation)


def test_a_peer_that_offers_what_it_does_not_hold_is_left_waiting_for_its_shares(
    stage: PrivateStage,
) -> None:
    """It then does another round than this party: named in that round, nothing is opened."""
    listed = stage.listed()
    path = stage.share(0, 2, stage.folder / "made")
    hand_out(stage, path, 0)
    digest = next(iter(_digests(stage)))
    found = stage.run(
        (listed, listed),
        change=(None, nth(Told, 1, lambda m: replace(m, note=b"\x00" + digest))),
    )
    assert all(isinstance(one, SecurityError) for one in found)
    assert told(stage, 0) == dict.fromkeys(range(2), (Status.BURNED, ()))


def test_a_peer_that_leaves_is_announced_as_an_outage(stage: PrivateStage) -> None:
    listed = stage.listed()
    hand_out(stage, stage.share(0, 2, stage.folder / "made"))

    def silent(number: int, message: EngineMessage) -> EngineMessage | None:
        return None if number > 8 or isinstance(message, EngineRefused) else message

    found = stage.run((listed, listed), change=(None, silent), deadline=0.5)
    assert isinstance(found[0], PeerVanished)
    assert announced(stage, 0) == ["outage"]
    assert told(stage, 0) == dict.fromkeys(range(2), (Status.BURNED, ()))


def _digests(stage: PrivateStage) -> set[bytes]:
    inbox = stage.inbox(0)
    inbox.scan()
    return set(inbox.files)


def test_entries_that_fill_the_room_of_a_list_match_no_face(stage: PrivateStage) -> None:
    from camera.share import _out_of_reach

    filler = np.zeros(PARAMS.dim, dtype=np.int64)
    filler[0] = _out_of_reach(PARAMS)
    edge = np.zeros((2, PARAMS.dim), dtype=np.int64)
    edge[:, 0] = PARAMS.face_bound, -PARAMS.face_bound
    assert not plaintext_matches(edge, filler[None], PARAMS.threshold).any()
