"""Stored before sent, the same bytes to both and at every resend, and never two on one slot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from camera.agent import CameraAgent, PartyAddress
from camera.journal import CameraJournal
from camera.masking import Masker
from camera.ratchetfile import RatchetState
from camera.sets import SetStore
from shared import errors
from shared.errors import DiskFull, MaterialExhausted, ProtocolViolation, QueueFull, TwokeyError
from shared.messages import BURNED, VERIFIED, CameraMessage, FaceAck, Faces, Outcome
from shared.transport import Transport
from tests.camera.folder_support import (
    CAMERA,
    MODEL,
    PARAMS,
    STATES,
    Answer,
    Folder,
    ShamParty,
    acknowledgement,
    face,
    helpful,
    make_folder,
    refusing,
    sham_parties,
    silent,
    window_now,
)

PATIENCE = 20.0


@dataclass
class Scene:
    """A camera's agent and both parties, all in this thread."""

    folder: Folder
    parties: tuple[ShamParty, ShamParty]
    journal: CameraJournal
    stack: ExitStack
    limit: int
    agent: CameraAgent

    def until(self, reached: Callable[[], object]) -> None:
        """Steps everybody until it is so."""
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, "it did not happen"
            self.agent.step(5)
            for party in self.parties:
                party.serve()

    def for_a_while(self, seconds: float = 0.3) -> None:
        """Steps everybody for so long."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end)

    def restart(self) -> None:
        """The camera's process ends without a word, and a new one starts."""
        self.agent.close()
        self.journal.close()
        self.agent, self.journal = start(self.folder, self.stack, self.limit)


def start(folder: Folder, stack: ExitStack, limit: int) -> tuple[CameraAgent, CameraJournal]:
    journal = stack.enter_context(
        CameraJournal(folder.role.state / "journal.sqlite", limit_bytes=limit)
    )
    store = SetStore(folder.role.state, journal)
    store.adopt_all(folder.material, folder.dealer.public, CAMERA, MODEL, 0)
    (found,) = store.sets.values()
    settings = folder.settings
    addresses = (settings.p0_address, settings.p1_address)
    first, second = (
        PartyAddress(address, party.public.curve_key)
        for address, party in zip(addresses, folder.parties, strict=True)
    )
    agent = CameraAgent(
        found,
        store,
        journal,
        stack.enter_context(Transport(folder.identity.curve_pair())),
        (first, second),
        resend_seconds=0.1,
        faces_per_message=settings.faces_per_message,
    )
    stack.callback(agent.close)
    return agent, journal


Maker = Callable[..., Scene]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Maker]:
    with ExitStack() as stack:

        def maker(
            first: Answer = helpful,
            second: Answer = helpful,
            *,
            slots: int = 1000,
            limit: int = 1 << 20,
        ) -> Scene:
            folder = make_folder(tmp_path)
            folder.hand_out(window_now(), slots)
            parties = stack.enter_context(sham_parties(folder, first, second))
            agent, journal = start(folder, stack, limit)
            return Scene(folder, parties, journal, stack, limit, agent)

        yield maker


def masked(first: int, *coordinates: int) -> bytes:
    """What the faces of these coordinates look like on the wire."""
    masker = Masker(PARAMS, RatchetState(0, b"".join(STATES)))
    return masker.mask(first, face(*coordinates)).astype("<u4").tobytes()


def test_both_parties_get_the_same_bytes_and_they_are_forgotten_afterwards(make: Maker) -> None:
    scene = make()
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([11, 12, 13], face(1, 2, 3))
    assert scene.agent.waiting > 0
    scene.until(lambda: scene.agent.waiting == 0)
    (first,), (second,) = (party.got for party in scene.parties)
    assert first == second
    message = first[0]
    assert (message.first, bytes(message.masked)) == (0, masked(0, 1, 2, 3))
    assert [int.from_bytes(bytes(message.times)[i : i + 8], "little") for i in (0, 8, 16)] == [
        *(11, 12, 13)
    ]
    assert scene.agent.outcomes() == {
        "p0_verified": 3, "p0_burned": 0, "p1_verified": 3, "p1_burned": 0,
    }  # fmt: skip
    assert scene.agent.bytes_sent == 2 * (len(first[1]) - len("||"))


def test_nothing_is_sent_before_both_have_told_their_marks(make: Maker) -> None:
    scene = make(second=lambda *_: None)
    scene.for_a_while()
    assert not scene.agent.ready
    with pytest.raises(ProtocolViolation, match="high-water"):
        scene.agent.submit([1], face(1))
    scene.for_a_while()
    assert scene.parties[0].got == []
    assert scene.agent.waiting == 0


def test_whoever_is_silent_gets_the_stored_bytes_again_and_nobody_else(make: Maker) -> None:
    scene = make(second=silent)
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1], face(4))
    scene.until(lambda: len(scene.parties[1].got) >= 4)
    assert len({content for _, content in scene.parties[1].got}) == 1
    assert len(scene.parties[0].got) == 1
    assert scene.agent.waiting > 0


def test_after_a_restart_the_stored_bytes_come_again_and_new_faces_get_new_slots(
    make: Maker,
) -> None:
    scene = make(first=silent, second=silent)
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1, 2], face(4, 5))
    scene.until(lambda: all(party.got for party in scene.parties))
    before = scene.parties[0].got[0][1]
    for party in scene.parties:
        party.got.clear()
    scene.restart()
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([3], face(6))
    scene.until(lambda: all(len({m.first for m, _ in p.got}) == 2 for p in scene.parties))
    for party in scene.parties:
        by_slot = {message.first: content for message, content in party.got}
        assert by_slot[0] == before
        assert {bytes(m.masked) for m, _ in party.got if m.first == 2} == {masked(2, 6)}
        party.answer = helpful
    scene.until(lambda: scene.agent.waiting == 0)


def test_a_full_queue_takes_nothing_and_later_the_right_masks_are_used(make: Maker) -> None:
    scene = make(first=silent, second=silent, limit=1850)
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([0] * 60, face(*[1] * 60))
    with pytest.raises(QueueFull):
        # Slots 60 to 63: storing them would walk the ratchet to the next block.
        scene.agent.submit([1] * 4, face(2, 3, 4, 5))
    with pytest.raises(QueueFull):
        scene.agent.submit([1] * 6, face(2, 3, 4, 5, 6, 7))
    scene.for_a_while()
    assert {message.first for message, _ in scene.parties[0].got} == {0}
    for party in scene.parties:
        party.answer = helpful
    scene.until(lambda: scene.agent.waiting == 0)
    scene.agent.submit([1] * 6, face(2, 3, 4, 5, 6, 7))
    scene.until(lambda: scene.agent.waiting == 0)
    for party in scene.parties:
        message = party.got[-1][0]
        assert (message.first, bytes(message.masked)) == (60, masked(60, 2, 3, 4, 5, 6, 7))


def test_a_message_that_cannot_be_stored_is_not_sent_and_ends_the_agent(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make()
    scene.until(lambda: scene.agent.ready)

    def full(*_: object, **__: object) -> int:
        raise DiskFull("journal: no space left")

    monkeypatch.setattr(scene.journal, "append", full)
    with pytest.raises(DiskFull):
        scene.agent.submit([1], face(1))
    monkeypatch.undo()
    with pytest.raises(ProtocolViolation):
        scene.agent.submit([1], face(1))
    scene.for_a_while()
    assert [party.got for party in scene.parties] == [[], []]


def test_slots_that_a_party_knows_as_used_are_left_out(
    make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    scene = make()
    scene.parties[1].mark = 70
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1], face(3))
    scene.until(lambda: scene.agent.waiting == 0)
    message = scene.parties[0].got[0][0]
    assert (message.first, bytes(message.masked)) == (70, masked(70, 3))
    assert "restored backup" in caplog.text


def test_used_up_slots_end_it_and_nothing_is_stored(make: Maker) -> None:
    scene = make(slots=3)
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1, 2], face(1, 2))
    scene.until(lambda: scene.agent.waiting == 0)
    with pytest.raises(MaterialExhausted, match="1 slots are left, 2 faces"):
        scene.agent.submit([3, 4], face(3, 4))
    assert scene.agent.waiting == 0
    scene.agent.submit([3], face(3))


def test_a_message_is_kept_until_both_have_answered_for_each_of_its_faces(make: Maker) -> None:
    told: list[tuple[int, int]] = [(0, 2)]

    def piecemeal(party: ShamParty, message: CameraMessage) -> CameraMessage | None:
        if isinstance(message, Faces):
            runs = tuple(Outcome(first, length, BURNED) for first, length in told)
            return FaceAck(message.window, message.camera, message.mint_id, runs)
        return helpful(party, message)

    scene = make(second=piecemeal)
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1, 2, 3], face(1, 2, 3))
    scene.for_a_while()
    assert scene.agent.waiting > 0
    assert scene.agent.outcomes()["p1_burned"] == 2
    told.append((2, 1))
    scene.until(lambda: scene.agent.waiting == 0)
    assert scene.agent.outcomes() == {
        "p0_verified": 3, "p0_burned": 0, "p1_verified": 0, "p1_burned": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("HeaderMismatch", errors.HeaderMismatch),
        ("SlotReused", errors.SlotReused),
        ("AuthenticationFailed", errors.AuthenticationFailed),
        ("WindowClosed", errors.WindowClosed),
        ("FormatError", errors.FormatError),
        ("NoSuchError", ProtocolViolation),
        ("EXIT_OK", ProtocolViolation),
        ("TwokeyError.__init__", ProtocolViolation),
    ],
)
def test_what_a_party_refuses_for_good_ends_it(
    error: str, raised: type[TwokeyError], make: Maker
) -> None:
    scene = make(second=refusing(error, "this and that"))
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1], face(1))
    with pytest.raises(raised, match=r"^P1 refuses: .*this and that$") as caught:
        scene.for_a_while(PATIENCE)
    assert type(caught.value) is raised
    assert scene.agent.waiting > 0


def test_what_a_party_cannot_do_now_is_tried_again(make: Maker) -> None:
    scene = make(first=refusing("ResourceError", "window now is not open here"))
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1], face(1))
    scene.until(lambda: len(scene.parties[0].got) >= 3)
    assert scene.agent.refusals() == ["P0: ResourceError: window now is not open here"]
    scene.parties[0].answer = helpful
    scene.until(lambda: scene.agent.waiting == 0)
    assert scene.agent.refusals() == []


def test_an_outcome_of_a_slot_that_was_never_sent_is_a_violation(make: Maker) -> None:
    def eager(party: ShamParty, message: CameraMessage) -> CameraMessage | None:
        found = helpful(party, message)
        if isinstance(found, FaceAck):
            return FaceAck(found.window, found.camera, found.mint_id, (Outcome(0, 9, VERIFIED),))
        return found

    scene = make(first=eager)
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1], face(1))
    with pytest.raises(ProtocolViolation, match="never sent"):
        scene.for_a_while(PATIENCE)
    assert scene.agent.waiting > 0


def test_an_outcome_of_another_minting_is_ignored(make: Maker) -> None:
    def other(party: ShamParty, message: CameraMessage) -> CameraMessage | None:
        if isinstance(message, Faces):
            found = acknowledgement(message, VERIFIED)
            return FaceAck(found.window, found.camera, bytes(16), found.outcomes)
        return helpful(party, message)

    scene = make(first=other)
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1], face(1))
    scene.until(lambda: len(scene.parties[0].got) >= 2)
    assert scene.agent.outcomes()["p0_verified"] == 0
    assert scene.agent.waiting > 0


def test_a_party_with_another_key_is_never_spoken_to(make: Maker, tmp_path: Path) -> None:
    scene = make()
    folder = scene.folder
    folder.parties = (folder.parties[1], folder.parties[0])  # the camera expects the other one
    scene.restart()
    scene.for_a_while(0.6)
    assert not scene.agent.ready


def test_a_party_that_comes_back_gets_what_it_missed(make: Maker) -> None:
    scene = make(second=silent)
    scene.until(lambda: scene.agent.ready)
    scene.agent.submit([1], face(1))
    scene.until(lambda: scene.parties[1].got)
    gone = scene.parties[1]
    gone.listener.socket.close(linger=0)
    gone.serve = lambda: None  # type: ignore[method-assign]
    scene.agent.submit([2], face(2))
    scene.for_a_while()
    folder = scene.folder
    transport = scene.stack.enter_context(Transport(folder.parties[1].curve_pair()))
    listener = transport.listen(
        folder.settings.p1_address,
        [folder.identity.public.curve_key],
        domain="cameras",
        queue=1000,
        max_message=1 << 20,
    )
    back = ShamParty(1, listener, helpful)
    scene.parties = (scene.parties[0], back)
    scene.until(lambda: scene.agent.waiting == 0)
    assert {message.first for message, _ in back.got} == {0, 1}
    assert {content for _, content in back.got} == {c for _, c in scene.parties[0].got}
